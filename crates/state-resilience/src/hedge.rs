//! Hedging: a second copy of a read that is slow, and the first answer of the two.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::error::{Result, check_duration};

/// After which time a second copy of a `Safe` operation is sent.
///
/// Worth it where the copies take different ways: two replicas, two connections. On one multiplexed connection the
/// second waits behind the first. A good delay is the 95th to 99th percentile of the latency; it may be changed while
/// calls run.
#[derive(Debug)]
pub struct Hedge {
    delay_ns: AtomicU64,
}

impl Hedge {
    /// Hedges after `delay`.
    ///
    /// # Errors
    /// `InvalidConfig` when the delay is zero or above a year.
    pub fn new(delay: Duration) -> Result<Self> {
        let hedge = Self { delay_ns: AtomicU64::new(0) };
        hedge.set_delay(delay)?;
        Ok(hedge)
    }

    /// Changes the delay for the attempts to come.
    ///
    /// # Errors
    /// `InvalidConfig` when the delay is zero or above a year.
    pub fn set_delay(&self, delay: Duration) -> Result<()> {
        check_duration("delay", delay)?;
        self.delay_ns.store(delay.as_nanos() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// The delay.
    #[must_use]
    pub fn delay(&self) -> Duration {
        Duration::from_nanos(self.delay_ns.load(Ordering::Relaxed))
    }
}

/// Which of two copies answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Winner {
    First,
    Second,
}

/// The first success of two copies of an operation, or the later of two errors.
pub(crate) struct Race<'a, F, T, E> {
    first: Option<Pin<&'a mut F>>,
    second: Option<Pin<Box<F>>>,
    result: std::marker::PhantomData<fn() -> Result<T, E>>,
}

impl<'a, F, T, E> Race<'a, F, T, E> {
    pub(crate) fn new(first: Pin<&'a mut F>, second: Pin<Box<F>>) -> Self {
        Self { first: Some(first), second: Some(second), result: std::marker::PhantomData }
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Future for Race<'_, F, T, E> {
    type Output = (Result<T, E>, Winner);

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Both fields are pointers, so the race itself may be moved.
        let race = self.get_mut();
        if let Some(Poll::Ready(result)) = race.first.as_mut().map(|first| first.as_mut().poll(context)) {
            race.first = None;
            if result.is_ok() || race.second.is_none() {
                return Poll::Ready((result, Winner::First));
            }
        }
        if let Some(Poll::Ready(result)) = race.second.as_mut().map(|second| second.as_mut().poll(context)) {
            race.second = None;
            if result.is_ok() || race.first.is_none() {
                return Poll::Ready((result, Winner::Second));
            }
        }
        Poll::Pending
    }
}
