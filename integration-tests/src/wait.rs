//! Waiting for a condition instead of sleeping for luck, and how long that may take.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often a condition is asked.
const POLL: Duration = Duration::from_millis(10);

/// Asks `condition` until it gives `Ok`, and returns what is inside.
///
/// # Panics
/// When `deadline` passes, with the last `Err`, which therefore says what was seen instead.
pub async fn eventually<T, F>(what: &str, deadline: Duration, mut condition: F) -> T
where
    F: AsyncFnMut() -> Result<T, String>,
{
    let end = Instant::now() + deadline;
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(seen) if Instant::now() >= end => {
                panic!("not within {deadline:?}: {what}; last seen: {seen}")
            }
            Err(_) => sleep(POLL).await,
        }
    }
}

/// Whether the long forms of experiments were asked for (`cargo xtask test --long`): they assert their figures.
pub fn long() -> bool {
    std::env::var_os("STATE_REDIS_LONG").is_some_and(|value| value == "1")
}

/// How much later than it is due something may come: a second in the long form, whose tests have the machine to
/// themselves, and ten in any other, where the machine may have stood still for a while.
pub fn margin() -> Duration {
    Duration::from_secs(if long() { 1 } else { 10 })
}
