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

#[cfg(test)]
mod tests {
    use backoff::ExponentialBackoffBuilder;
    use backoff::backoff::{Constant, Stop};
    use tokio::time::Instant;

    use super::*;
    use crate::{Attempt, Class, FailureKind, Idempotency, Policy, Retry};

    async fn fail_with(retry: Retry) -> (FailureKind, u32, Duration) {
        let policy = Policy::builder("adapter").retry(retry).build().unwrap();
        let start = Instant::now();
        let operation = |_: Attempt| async { Err::<(), _>(()) };
        let failure = policy.run(Idempotency::Safe, |()| Class::NotSent, operation).await.unwrap_err();
        (failure.kind(), failure.attempts(), start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn its_delays_drive_the_loop() {
        let make = || {
            BackoffCrate::new(
                ExponentialBackoffBuilder::new()
                    .with_initial_interval(Duration::from_millis(100))
                    .with_multiplier(2.0)
                    .with_randomization_factor(0.0)
                    .with_max_interval(Duration::from_millis(300))
                    .with_max_elapsed_time(None)
                    .build(),
            )
        };
        let (kind, attempts, elapsed) = fail_with(Retry::scheduled(5, Duration::from_secs(1), make)).await;
        assert_eq!((kind, attempts), (FailureKind::AttemptsExhausted, 5));
        assert_eq!(elapsed, Duration::from_millis(100 + 200 + 300 + 300));
    }

    #[tokio::test(start_paused = true)]
    async fn each_call_begins_with_a_fresh_policy_and_its_stop_is_obeyed() {
        let stop = Retry::scheduled(5, Duration::from_secs(1), || BackoffCrate::new(Stop {}));
        assert_eq!(fail_with(stop).await, (FailureKind::AttemptsExhausted, 1, Duration::ZERO));
        let constant = || BackoffCrate::new(Constant::new(Duration::from_secs(3600)));
        let clamped = Retry::scheduled(2, Duration::from_millis(5), constant);
        assert_eq!(fail_with(clamped).await, (FailureKind::AttemptsExhausted, 2, Duration::from_millis(5)));
    }
}
