//! How fast the original promised to be, and how much faster this is.

use std::time::{Duration, Instant};

use integration_tests::{Server, long};
use state_redis::{RedisBackend, RedisConfig, StateResult};

use crate::support::{backend, borrowed, pairs};

const ROUNDS: usize = 5;

/// A thousand calls one by one, and the same in a batch: the best of some rounds, taken in turns.
#[tokio::test]
async fn a_batch_of_a_thousand_outruns_a_thousand_calls() -> StateResult<()> {
    let server = Server::start().await;
    let backend = backend(RedisConfig::builder().url(server.url())).await;
    let pairs = pairs(1_000);
    let pairs = borrowed(&pairs);
    let mut best = [Duration::MAX; 4];
    for _ in 0..ROUNDS {
        for (best, time) in best.iter_mut().zip(round(&backend, &pairs).await?) {
            *best = time.min(*best);
        }
    }
    let [puts, batch_put, gets, batch_get] = best;
    for (name, single, batch) in [("put", puts, batch_put), ("get", gets, batch_get)] {
        let ratio = single.as_secs_f64() / batch.as_secs_f64();
        println!("{name}: 1,000 calls {single:?}, a batch of 1,000 {batch:?}: {ratio:.1} times as fast");
        // A busy machine slows both down.
        assert!(ratio > 2.0, "{name}: {ratio}");
        if long() {
            // The original's floors, and then what is reached here.
            assert!(single < Duration::from_secs(2), "{name}: {single:?}");
            assert!(batch < Duration::from_millis(20), "{name}: {batch:?}");
            assert!(ratio >= 20.0 || cfg!(debug_assertions), "{name}: {ratio}");
        }
    }
    Ok(())
}

/// How long puts, a batch of puts, gets, and a batch of gets take.
async fn round(backend: &RedisBackend, pairs: &[(&[u8], &[u8])]) -> StateResult<[Duration; 4]> {
    let keys: Vec<&[u8]> = pairs.iter().map(|(key, _)| *key).collect();
    let since = Instant::now();
    for (key, value) in pairs {
        backend.put(key, value).await?;
    }
    let puts = since.elapsed();
    let since = Instant::now();
    backend.batch_put_optimized(pairs).await?;
    let batch_put = since.elapsed();
    let since = Instant::now();
    for key in &keys {
        assert!(backend.get(key).await?.is_some());
    }
    let gets = since.elapsed();
    let since = Instant::now();
    let values = backend.batch_get_optimized(&keys).await?;
    let batch_get = since.elapsed();
    assert!(values.iter().all(Option::is_some));
    Ok([puts, batch_put, gets, batch_get])
}
