//! Locks: held by one, refused to others, given back, taken again; and twenty tasks that need one.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use state_core::StateBackend;
use state_redis::{RedisBackend, RedisConfig};

use crate::{Result, explain, screen::Screen, table::time};

const TTL: Duration = Duration::from_secs(30);
const TASKS: u64 = 20;

pub(crate) async fn contend(screen: &Screen, url: &str) -> Result {
    screen.title("locks");
    let config = RedisConfig::builder().url(url).key_prefix("demo:locks:").build().map_err(explain)?;
    let backend = RedisBackend::new(config).await.map_err(explain)?;
    let first = held_by_one(screen, &backend).await?;
    queue(screen, &backend, first).await?;
    backend.clear().await.map_err(explain)?;
    backend.close().await;
    Ok(())
}

/// Holds a lock, is refused it meanwhile, gives it back, and takes it again. Returns the last token.
async fn held_by_one(screen: &Screen, backend: &RedisBackend) -> Result<u64> {
    let since = Instant::now();
    let guard = backend.acquire_lock("ledger", TTL).await.map_err(explain)?;
    screen.say(&format!("  taken in {}, token {}", time(since.elapsed()), guard.token()));
    let since = Instant::now();
    if backend.try_acquire_lock("ledger", TTL).await.map_err(explain)?.is_some() {
        return Err("a lock has two holders".to_owned());
    }
    screen.say(&format!("  a second holder was refused in {}", time(since.elapsed())));
    let token = guard.token();
    let ended = guard.release().await;
    let again = backend.acquire_lock("ledger", TTL).await.map_err(explain)?;
    if again.token() <= token {
        return Err(format!("token {} came after {token}", again.token()));
    }
    screen.say(&format!("  {ended:?}, and taken again with the higher token {}", again.token()));
    let token = again.token();
    again.release().await;
    Ok(token)
}

/// Tasks that read and write a number under a lock: without one they would lose most of their changes.
async fn queue(screen: &Screen, backend: &RedisBackend, first: u64) -> Result {
    let (since, last) = (Instant::now(), AtomicU64::new(first));
    try_join_all((0..TASKS).map(async |_| {
        let guard = backend.acquire_lock("ledger", TTL).await.map_err(explain)?;
        if last.swap(guard.token(), Relaxed) >= guard.token() {
            return Err("a later holder has a lower token".to_owned());
        }
        let before = backend.get(b"number").await.map_err(explain)?;
        let number: u64 =
            before.map_or(Ok(0), |text| String::from_utf8_lossy(&text).parse()).map_err(|_| "no number")?;
        backend.put(b"number", (number + 1).to_string().as_bytes()).await.map_err(explain)?;
        guard.release().await;
        Ok(())
    }))
    .await?;
    let took = time(since.elapsed());
    match backend.get(b"number").await.map_err(explain)? {
        Some(number) if number == TASKS.to_string().as_bytes() => {
            screen.say(&format!(
                "  {TASKS} tasks read and wrote a number in turns, in {took}: no change was lost"
            ));
            Ok(())
        }
        other => Err(format!("{TASKS} changes under a lock left {other:?}")),
    }
}
