//! Lets any `backoff::Backoff` drive the retry loop (feature `backoff`).

use std::fmt;
use std::time::Duration;

use backoff::backoff::Backoff;

use crate::backoff::Schedule;

/// A policy of the `backoff` crate as a [`Schedule`].
///
/// `None` from it stops the loop, as does each of the loop's own limits. That crate is unmaintained
/// (RUSTSEC-2025-0012), reads `std`'s clock for its `max_elapsed_time` (set it to `None` and let the policy's
/// deadline decide) and adds its jitter after its maximum (the loop clamps once more).
///
/// ```
/// use std::time::Duration;
/// use backoff::ExponentialBackoffBuilder;
/// use state_resilience::{BackoffCrate, Policy, Retry};
///
/// let retry = Retry::scheduled(4, Duration::from_secs(2), || {
///     BackoffCrate::new(ExponentialBackoffBuilder::new().with_max_elapsed_time(None).build())
/// });
/// let policy = Policy::builder("legacy").retry(retry).build()?;
/// # Ok::<(), state_resilience::Error>(())
/// ```
pub struct BackoffCrate<B> {
    inner: B,
}

impl<B: Backoff> BackoffCrate<B> {
    /// Wraps a policy that is at its start.
    pub fn new(inner: B) -> Self {
        Self { inner }
    }
}

impl<B: Backoff + Send> Schedule for BackoffCrate<B> {
    fn next_delay(&mut self, _attempt: u32) -> Option<Duration> {
        self.inner.next_backoff()
    }
}

impl<B> fmt::Debug for BackoffCrate<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackoffCrate").finish_non_exhaustive()
    }
}
