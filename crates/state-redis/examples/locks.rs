//! Locks: held by one at a time, with a fencing token, a way to notice their loss, and further kinds.
//!
//! `cargo run -p state-redis --example locks`, with a server on localhost or the one that `REDIS_URL` names. With three
//! or more independent servers in `REDLOCK_URLS`, separated by commas, a majority of them grants the locks; say
//! `-- bootstrap` the first time, for servers that never granted any.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use state_redis::redlock::{self, LockConfig, LockOptions};
use state_redis::{RedisBackend, RedisConfig};

const TTL: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://localhost:6379".to_owned());
    let nodes = std::env::var("REDLOCK_URLS").unwrap_or_default();
    let nodes = nodes.split(',').filter(|url| !url.is_empty());
    // Servers that share one busy machine may need longer than the 50 ms that each of a quorum has by default.
    let locks = LockConfig::default().with_node_timeout(Duration::from_secs(1));
    let config =
        RedisConfig::builder().url(url).redlock_nodes(nodes).locks(locks).key_prefix("example:locks:");
    let state = RedisBackend::new(config.build()?).await?;

    if std::env::args().nth(1).as_deref() == Some("bootstrap") {
        // Otherwise servers that do not know of any lock wait for the longest time to live: one may have been granted
        // before they lost their memory.
        state.locks().await?.bootstrap().await?;
    }
    exclusive(&state).await?;
    under_a_lock(&state).await?;
    other_kinds(&state).await?;
    state.close().await;
    Ok(())
}

/// One holder at a time, who shows the token to whatever the lock protects.
async fn exclusive(state: &RedisBackend) -> Result<(), Box<dyn Error>> {
    let guard = state.acquire_lock("invoices", TTL).await?;
    println!("held with token {}, for {:?} at least", guard.token(), guard.validity());
    let second = state.try_acquire_lock("invoices", TTL).await?;
    println!("a second one at the same time: {}", if second.is_some() { "held" } else { "refused" });
    println!("prolonged: {:?}", guard.extend(TTL * 2).await?);
    println!("given back: {:?}", guard.release().await);

    let next = state.acquire_lock("invoices", TTL).await?;
    // A store that remembers the highest token it has seen refuses a holder that slept past its lock's end.
    println!("the next holder has a higher token: {}", next.token());
    // Dropped, it is released in the background.
    drop(next);
    Ok(())
}

/// Work that is stopped when the lock is lost; meanwhile the lock is renewed.
async fn under_a_lock(state: &RedisBackend) -> Result<(), Box<dyn Error>> {
    let locks = state.locks().await?;
    let sum = locks
        .with_lock("sum", Duration::from_secs(2), |lease| async move {
            // Longer than the lock's time to live: it is renewed.
            tokio::time::sleep(Duration::from_secs(3)).await;
            lease.check().map(|()| (1..=100).sum::<u32>())
        })
        .await??;
    println!("work of 3 s under a lock of 2 s, renewed: {sum}");
    Ok(())
}

/// Readers beside readers, a bounded number of holders, several resources at once.
async fn other_kinds(state: &RedisBackend) -> Result<(), Box<dyn Error>> {
    let locks = state.locks().await?;
    let options = LockOptions::ttl(TTL).with_wait(Some(Duration::ZERO));
    let readers = [locks.read("table", options).await?, locks.read("table", options).await?];
    println!("{} readers at a time; a writer: {}", readers.len(), told(locks.write("table", options).await));

    let seats = locks.semaphore("seats", 2)?;
    let taken = [seats.acquire(options).await?, seats.acquire(options).await?];
    println!("{} seats of 2 taken; a third: {}", taken.len(), told(seats.acquire(options).await));

    let both = locks.acquire_all(&["account:1", "account:2"], options).await?;
    println!(
        "two accounts at once, without a deadlock; one of them: {}",
        told(locks.acquire("account:2", options).await)
    );
    both.release().await;
    for guard in readers.into_iter().chain(taken) {
        guard.release().await;
    }
    Ok(())
}

fn told<T>(result: redlock::Result<T>) -> String {
    result.map_or_else(|error| format!("refused ({:?})", error.kind()), |_guard| "held".to_owned())
}
