//! Sentinels replace a master that was killed, while a task writes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use integration_tests::{SentinelGroup, eventually};
use state_redis::{RedisBackend, RedisConfig, WriteConcern};

use crate::{Result, explain, screen::Screen, table::time};

/// Kills the master under a writer, and verifies that every acknowledged write is on the next one.
pub(crate) async fn survive(screen: &Screen, group: &SentinelGroup) -> Result {
    screen.title("failover: a master, 2 replicas, 3 sentinels; each write is confirmed by a replica");
    let config = RedisConfig::builder()
        .url(group.url())
        // Repeated for as long as a failover takes: the writer sees a slow call and no error. A breaker would end the
        // repeating, as it should where callers are better told at once.
        .enable_circuit_breaker(false)
        .retry_config(1_000, Duration::from_millis(20), Duration::from_millis(50), 0.3)
        .retry_budget(None)
        .command_timeout(Duration::from_secs(30))
        .write_concern(WriteConcern::Wait { replicas: 1, timeout: Duration::from_secs(1) })
        .build();
    let backend = RedisBackend::new(config.map_err(explain)?).await.map_err(explain)?;
    let writer = Arc::new(Writer::default());
    let writing = tokio::spawn(Arc::clone(&writer).run(backend.clone()));
    writer.wait_for(100).await;

    let old = group.master().await;
    old.kill();
    let since = Instant::now();
    screen.say(&format!("  master {} killed under a writer", old.address()));
    let new = group.successor_of(old).await;
    screen.say(&format!("  {}: the sentinels made {} the master", time(since.elapsed()), new.address()));
    writer.wait_for(100).await;
    screen.say(&format!("  {}: 100 more writes are done", time(since.elapsed())));

    writer.stop.store(true, Relaxed);
    let (longest, failed) = writing.await.map_err(|error| error.to_string())?;
    let written = writer.written.load(Relaxed);
    verify(&backend, written).await?;
    backend.close().await;
    screen.say(&format!(
        "  {written} writes acknowledged, {failed} failed, the longest took {}; none is lost",
        time(longest)
    ));
    Ok(())
}

async fn verify(backend: &RedisBackend, written: usize) -> Result {
    let keys: Vec<Vec<u8>> = (0..written).map(key).collect();
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let found = backend.batch_get_optimized(&keys).await.map_err(explain)?;
    match found.iter().filter(|value| value.is_none()).count() {
        0 => Ok(()),
        lost => Err(format!("{lost} of {written} acknowledged writes are lost")),
    }
}

fn key(n: usize) -> Vec<u8> {
    format!("write:{n}").into_bytes()
}

#[derive(Default)]
struct Writer {
    written: AtomicUsize,
    stop: AtomicBool,
}

impl Writer {
    /// Writes one key after the other until told to stop. Returns how long the longest call took, and how many failed;
    /// those are written again.
    async fn run(self: Arc<Self>, backend: RedisBackend) -> (Duration, usize) {
        let (mut longest, mut failed) = (Duration::ZERO, 0);
        while !self.stop.load(Relaxed) {
            let since = Instant::now();
            match backend.put(&key(self.written.load(Relaxed)), b"written").await {
                Ok(()) => _ = self.written.fetch_add(1, Relaxed),
                Err(_) => failed += 1,
            }
            longest = longest.max(since.elapsed());
        }
        (longest, failed)
    }

    async fn wait_for(&self, more: usize) {
        let goal = self.written.load(Relaxed) + more;
        eventually("writes succeed", Duration::from_secs(60), async || {
            let now = self.written.load(Relaxed);
            if now >= goal { Ok(()) } else { Err(format!("{now} of {goal}")) }
        })
        .await;
    }
}
