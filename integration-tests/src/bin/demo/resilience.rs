//! A server that dies, and one that hangs: repeats, a fallback, the breaker, and the way back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use integration_tests::{READY_WITHIN, Server, eventually};
use state_core::{ErrorKind, MemoryBackend, StateBackend};
use state_redis::{RedisBackend, RedisConfig};

use crate::{Result, explain, screen::Screen, table::time};

const MOST_CALLS: usize = 100;

pub(crate) async fn endure(screen: &Screen) -> Result {
    screen.title(
        "resilience: 3 attempts within 100 ms, a breaker that opens after 5 failures, a fallback for reads",
    );
    let server = Server::start().await;
    let backend = connect(&server).await?;
    if backend.get(b"nowhere").await.map_err(explain)?.is_some() {
        return Err("a key that was never stored is there".to_owned());
    }

    server.kill();
    let since = Instant::now();
    let error = backend.put(b"price", b"43").await.err().ok_or("a killed server has stored a value")?;
    screen.say(&format!("  killed; a write failed after {}: {}", time(since.elapsed()), error.context()));
    fall_back(screen, &backend).await?;
    server.launch();
    server.wait_ready(READY_WITHIN).await;
    recover(screen, &backend, "started again").await?;

    server.freeze();
    open_breaker(screen, &backend).await?;
    fall_back(screen, &backend).await?;
    server.thaw();
    recover(screen, &backend, "answers again").await?;
    verify_figures(screen, &backend).await?;
    backend.close().await;
    Ok(())
}

async fn connect(server: &Server) -> Result<RedisBackend> {
    let elsewhere = MemoryBackend::new();
    elsewhere.put(b"price", b"42, as of yesterday").await.map_err(explain)?;
    let config = RedisConfig::builder()
        .url(server.url())
        .command_timeout(Duration::from_millis(100))
        .retry_config(3, Duration::from_millis(5), Duration::from_millis(20), 0.3)
        .circuit_breaker(true, 5, Duration::from_millis(500))
        .fallback(Arc::new(elsewhere) as Arc<dyn StateBackend>)
        .build();
    RedisBackend::new(config.map_err(explain)?).await.map_err(explain)
}

/// Writes to a server that does not answer, until the breaker refuses.
async fn open_breaker(screen: &Screen, backend: &RedisBackend) -> Result {
    for call in 1..=MOST_CALLS {
        let since = Instant::now();
        let error = backend.put(b"price", b"45").await.err().ok_or("a frozen server has stored a value")?;
        let (kind, took) = (error.kind(), time(since.elapsed()));
        if call == 1 || kind == ErrorKind::CircuitOpen {
            screen.say(&format!("  hangs; write {call} failed after {took}: {}", error.context()));
        }
        if kind == ErrorKind::CircuitOpen {
            for (endpoint, breaker) in &backend.health().map_err(explain)?.breakers {
                screen.say(&format!("  breaker of {endpoint}: {:?}", breaker.state));
            }
            return Ok(());
        }
    }
    Err(format!("{MOST_CALLS} failures have not opened the breaker"))
}

async fn fall_back(screen: &Screen, backend: &RedisBackend) -> Result {
    let since = Instant::now();
    let price = backend.get(b"price").await.map_err(explain)?.unwrap_or_default();
    let (price, took) = (String::from_utf8_lossy(&price).into_owned(), time(since.elapsed()));
    screen.say(&format!("  a read was answered by the fallback after {took}: {price}"));
    price.starts_with("42").then_some(()).ok_or_else(|| "the fallback did not answer".to_owned())
}

async fn recover(screen: &Screen, backend: &RedisBackend, how: &str) -> Result {
    let since = Instant::now();
    eventually("writes succeed", Duration::from_secs(30), async || {
        backend.put(b"price", b"44").await.map_err(|error| error.to_string())
    })
    .await;
    screen.say(&format!("  {how}: a write succeeded {} later", time(since.elapsed())));
    Ok(())
}

async fn verify_figures(screen: &Screen, backend: &RedisBackend) -> Result {
    let seen = backend.stats().await.resilience;
    screen.say(&format!(
        "  {} repeats, {} openings of the breaker, {} refusals by it, {} answers of the fallback",
        seen.retries, seen.breaker_openings, seen.breaker_rejections, seen.fallbacks
    ));
    let all =
        seen.retries > 0 && seen.breaker_openings > 0 && seen.breaker_rejections > 0 && seen.fallbacks >= 2;
    all.then_some(()).ok_or_else(|| format!("something was not counted: {seen:?}"))
}
