//! Where time comes from: tokio's clock, or one that a test moves by hand.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

/// A source of the current time and of timers.
///
/// Everything in this crate that waits takes its time from here; parts that only compute (the breaker, the
/// budget) take the time as an argument. A clock never runs backwards.
pub trait Clock: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Instant;

    /// A future that ends once [`now`](Self::now) has reached `deadline`; at once if it has already.
    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + Send + use<Self>;
}

/// Tokio's clock and timers, paused time included. The default.
///
/// `now` works anywhere; a sleep needs a runtime with time enabled and panics without one, as tokio's own do.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + Send + use<> {
        // Without this, an operation that eats the task's whole cooperative budget on each poll would keep its
        // own timeout from ever being seen.
        unconstrained(tokio::time::sleep_until(deadline))
    }
}

/// A clock that stands still until [`advance`](Self::advance) moves it. Clones share one time.
///
/// For tests of code that must not pause tokio's time, for instance because sockets are involved.
#[derive(Clone)]
pub struct ManualClock {
    time: Arc<watch::Sender<Instant>>,
}

impl ManualClock {
    /// A clock that shows the moment of its creation.
    #[must_use]
    pub fn new() -> Self {
        Self { time: Arc::new(watch::Sender::new(Instant::now())) }
    }

    /// Moves the time forward and wakes every sleeper whose deadline has come.
    pub fn advance(&self, by: Duration) {
        self.time.send_modify(|now| *now += by);
    }

    /// How many sleeps are under way: what a test waits for before it moves the time.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.time.receiver_count()
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").field("now", &self.now()).finish_non_exhaustive()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        *self.time.borrow()
    }

    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + Send + use<> {
        let mut time = self.time.subscribe();
        async move {
            // The sender outlives the wait in practice; without it the time can never come, so wait for ever.
            if time.wait_for(|now| *now >= deadline).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_sleep_ends_when_the_time_reaches_its_deadline_and_not_before() {
        let clock = ManualClock::new();
        let sleep = tokio::spawn(clock.sleep_until(clock.now() + Duration::from_secs(3600)));
        clock.advance(Duration::from_secs(3599));
        tokio::task::yield_now().await;
        assert!(!sleep.is_finished());
        clock.advance(Duration::from_secs(1));
        sleep.await.unwrap();
    }

    #[tokio::test]
    async fn a_manual_sleep_into_the_past_ends_at_once() {
        let clock = ManualClock::new();
        clock.sleep_until(clock.now()).await;
    }
}
