//! The rate limit: so many calls a second, with a burst. The algorithm is GCRA, as the `governor` crate has it.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU32;
use std::ops::Add;
use std::time::Duration;

use governor::clock::{Clock as GovernorClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::error::{Error, Result, check_duration};
use crate::timer::earlier;

/// How many calls may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimitConfig {
    /// So many a second, evenly; at least 1. Default: 10,000.
    pub per_second: u32,
    /// So many at once after a pause; at least 1. Default: 1,000.
    pub burst: u32,
    /// No one waits longer for his turn, nor past the call's deadline; zero never waits. Default: 100 ms.
    pub max_wait: Duration,
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self { per_second: 10_000, burst: 1_000, max_wait: Duration::from_millis(100) }
    }
}

impl RateLimitConfig {
    /// Sets [`per_second`](Self::per_second) and [`burst`](Self::burst).
    #[must_use]
    pub fn with_rate(mut self, per_second: u32, burst: u32) -> Self {
        self.per_second = per_second;
        self.burst = burst;
        self
    }

    /// Sets [`max_wait`](Self::max_wait).
    #[must_use]
    pub fn with_max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }
}

/// Lets calls start at a bounded rate.
pub struct RateLimit {
    config: RateLimitConfig,
    epoch: Instant,
    limiter: RateLimiter<NotKeyed, InMemoryState, Given, NoOpMiddleware<Moment>>,
}

/// The rate is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimited {
    retry_after: Duration,
}

impl RateLimited {
    /// From when on a call may start.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }
}

impl fmt::Display for RateLimited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the rate limit is reached for {:?}", self.retry_after)
    }
}

impl std::error::Error for RateLimited {}

impl RateLimit {
    /// A limit with its whole burst to give. `now` becomes its epoch: later calls must not pass earlier times.
    ///
    /// # Errors
    /// `InvalidConfig` when `per_second` or `burst` is zero or `max_wait` is above a year.
    pub fn new(config: RateLimitConfig, now: Instant) -> Result<Self> {
        let rate = |field, value| {
            NonZeroU32::new(value).ok_or_else(|| Error::invalid(format!("{field} must be above zero")))
        };
        if !config.max_wait.is_zero() {
            check_duration("max_wait", config.max_wait)?;
        }
        let quota = Quota::per_second(rate("per_second", config.per_second)?)
            .allow_burst(rate("burst", config.burst)?);
        GIVEN.set(0);
        Ok(Self { config, epoch: now, limiter: RateLimiter::direct_with_clock(quota, Given) })
    }

    /// Whether a call may start now.
    ///
    /// # Errors
    /// [`RateLimited`] when the rate is used up.
    #[inline]
    pub fn try_acquire(&self, now: Instant) -> std::result::Result<(), RateLimited> {
        let moment = Moment(now.saturating_duration_since(self.epoch).as_nanos() as u64);
        GIVEN.set(moment.0);
        self.limiter.check().map_err(|until| RateLimited { retry_after: until.wait_time_from(moment) })
    }

    /// Waits until a call may start, at most until `deadline` or for `max_wait`. Dropping the future takes nothing.
    /// Says whether it had to wait.
    ///
    /// # Errors
    /// [`RateLimited`], at once, when its turn would not come in time.
    pub async fn acquire<C: Clock>(
        &self,
        clock: &C,
        mut now: Instant,
        deadline: Option<Instant>,
    ) -> std::result::Result<bool, RateLimited> {
        let last = earlier(deadline, Some(now + self.config.max_wait));
        let mut waited = false;
        loop {
            let Err(limited) = self.try_acquire(now) else { return Ok(waited) };
            let turn = now + limited.retry_after;
            if last.is_some_and(|last| turn > last) {
                return Err(limited);
            }
            clock.sleep_until(turn).await;
            // Another caller may have been quicker, so ask again.
            now = clock.now();
            waited = true;
        }
    }

    /// The settings it was made with.
    #[must_use]
    pub fn config(&self) -> &RateLimitConfig {
        &self.config
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("config", &self.config).finish_non_exhaustive()
    }
}

thread_local! {
    /// What [`Given`] shows. Set right before governor reads it, on the same thread.
    static GIVEN: Cell<u64> = const { Cell::new(0) };
}

/// Governor reads a clock of its own on each check; this one shows the time that our caller has read already.
#[derive(Clone, Copy)]
struct Given;

impl GovernorClock for Given {
    type Instant = Moment;

    #[inline]
    fn now(&self) -> Moment {
        Moment(GIVEN.get())
    }
}

/// Nanoseconds since the limit was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(u64);

impl Add<Nanos> for Moment {
    type Output = Self;

    fn add(self, nanos: Nanos) -> Self {
        Self(self.0.saturating_add(nanos.as_u64()))
    }
}

impl Reference for Moment {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.saturating_sub(duration.as_u64()))
    }
}
