//! Metrics: a Prometheus endpoint, figures, the slow log and hot keys.
//!
//! `cargo run -p state-redis --example metrics -- 60` serves `http://127.0.0.1:9464/metrics` for 60 seconds under a
//! little load (for none without a number), on a server on localhost or the one that `REDIS_URL` names. `METRICS_ADDRESS`
//! is another place to listen.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use state_redis::metrics::{Exporter, ExporterConfig, HotKeysConfig};
use state_redis::{RedisBackend, RedisConfig, StateBackend, StateResult};
use tokio::time::{Instant, sleep};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://localhost:6379".to_owned());
    let address = std::env::var("METRICS_ADDRESS").unwrap_or_else(|_| "127.0.0.1:9464".to_owned());
    let seconds = std::env::args().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0.0);

    // The exporter becomes the process's recorder; backends made before or after it publish there.
    let exporter = Exporter::install(&ExporterConfig::new(address.parse::<SocketAddr>()?)).await?;
    println!("http://{}/metrics", exporter.address());
    let config = RedisConfig::builder()
        .url(url)
        .key_prefix("example:metrics:")
        .metrics_label("service", "example")
        .slow_query_log(true, Duration::from_millis(20))
        .hot_keys(HotKeysConfig::default())
        .build()?;
    let state = RedisBackend::new(config).await?;

    let end = Instant::now() + Duration::from_secs_f64(seconds);
    load(&state).await?;
    while Instant::now() < end {
        load(&state).await?;
        sleep(Duration::from_millis(100)).await;
    }
    show(&state).await;
    for line in
        exporter.prometheus().render().lines().filter(|line| line.starts_with("redis_operations_total"))
    {
        println!("scraped: {line}");
    }
    state.clear().await?;
    state.close().await;
    exporter.shutdown().await;
    Ok(())
}

/// Writes, hits and misses; one key is asked for more often than all others.
async fn load(state: &RedisBackend) -> StateResult<()> {
    for n in 0..100_u32 {
        let key = format!("user:{}", n % 10);
        state.put(key.as_bytes(), b"value").await?;
        state.get(key.as_bytes()).await?;
        state.get(b"user:1").await?;
        state.get(b"nobody").await?;
    }
    Ok(())
}

async fn show(state: &RedisBackend) {
    let stats = state.stats().await;
    println!("{} operations, {} failed", stats.operations_total, stats.operations_failed);
    println!("hit ratio {:.2}", stats.hit_ratio().unwrap_or_default());
    println!("latency: p50 {:.0} us, p99 {:.0} us", stats.latency.p50_us, stats.latency.p99_us);
    for slow in state.slow_operations() {
        println!("slow: {slow:?}");
    }
    for hot in state.hot_keys().iter().take(3) {
        println!("hot: {hot:?}");
    }
}
