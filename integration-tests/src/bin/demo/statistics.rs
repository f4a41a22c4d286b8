//! Figures that the backend keeps about itself, exact to the last operation.

use state_core::StateBackend;
use state_redis::{RedisBackend, RedisConfig};

use crate::{Result, explain, screen::Screen};

const PUTS: u64 = 100;
const HITS: u64 = 50;
const MISSES: u64 = 10;

pub(crate) async fn count(screen: &Screen, url: &str) -> Result {
    screen.title("statistics: 100 puts, 50 hits, 10 misses");
    let config = RedisConfig::builder().url(url).key_prefix("demo:statistics:").build().map_err(explain)?;
    let backend = RedisBackend::new(config).await.map_err(explain)?;
    for n in 0..PUTS {
        backend.put(format!("key:{n}").as_bytes(), b"0123456789").await.map_err(explain)?;
    }
    for n in 0..HITS + MISSES {
        let key = if n < HITS { format!("key:{n}") } else { format!("nowhere:{n}") };
        backend.get(key.as_bytes()).await.map_err(explain)?;
    }
    let stats = backend.stats().await;
    let (total, failed) = (stats.operations_total, stats.operations_failed);
    let counted =
        (total, failed, stats.cache_hits, stats.cache_misses, stats.bytes_written, stats.bytes_read);
    if counted != (PUTS + HITS + MISSES, 0, HITS, MISSES, 10 * PUTS, 10 * HITS) {
        return Err(format!("the statistics say {counted:?}"));
    }
    let latency = &stats.latency;
    screen.say(&format!(
        "  {total} operations, {failed} failed, {} hits, {} misses, {} B written, {} B read",
        stats.cache_hits, stats.cache_misses, stats.bytes_written, stats.bytes_read
    ));
    screen.say(&format!(
        "  latency: mean {:.0} us, p50 {:.0} us, p99 {:.0} us; {} slow",
        latency.mean_us, latency.p50_us, latency.p99_us, stats.slow_queries
    ));
    let is_healthy = backend.health_check().await.map_err(explain)?;
    backend.clear().await.map_err(explain)?;
    backend.close().await;
    screen.say(&format!("  healthy: {is_healthy}"));
    is_healthy.then_some(()).ok_or_else(|| "a server that serves is not healthy".to_owned())
}
