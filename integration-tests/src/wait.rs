//! Waiting for a condition instead of sleeping for luck.

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
