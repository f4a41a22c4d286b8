//! When and how often a failed attempt is repeated.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::backoff::{Backoff, Schedule};
use crate::error::{Result, check_duration, check_range};

/// How often a call is attempted, and with which delays.
///
/// The default makes three attempts with [`Backoff::default`].
#[derive(Clone)]
pub struct Retry {
    max_attempts: u32,
    max_delay: Duration,
    max_hint: Duration,
    source: Source,
    /// Numbers the calls that repeat, so that each draws its own sequence from a seed.
    calls: Arc<AtomicU64>,
}

#[derive(Clone)]
enum Source {
    Backoff(Backoff),
    Custom(Arc<dyn Fn() -> Box<dyn Schedule> + Send + Sync>),
}

impl Retry {
    /// `max_attempts` attempts in all, the first included (1 to 1,000), with the delays of `backoff`.
    #[must_use]
    pub fn new(max_attempts: u32, backoff: Backoff) -> Self {
        Self::from_source(max_attempts, backoff.max_delay, Source::Backoff(backoff))
    }

    /// `max_attempts` attempts in all, the first included, with the delays of a schedule of your own, each clamped
    /// to `max_delay`. `make` is called for each call that has to repeat.
    #[must_use]
    pub fn scheduled<S, M>(max_attempts: u32, max_delay: Duration, make: M) -> Self
    where
        S: Schedule + 'static,
        M: Fn() -> S + Send + Sync + 'static,
    {
        let make = Arc::new(move || Box::new(make()) as Box<dyn Schedule>);
        Self::from_source(max_attempts, max_delay, Source::Custom(make))
    }

    /// How long a wait asked for by the service is obeyed: who asks for more gets no repeat. Default: 5 s.
    #[must_use]
    pub fn with_max_hint(mut self, wait: Duration) -> Self {
        self.max_hint = wait;
        self
    }

    /// How many attempts a call makes at most, the first included.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    fn from_source(max_attempts: u32, max_delay: Duration, source: Source) -> Self {
        let max_hint = Duration::from_secs(5);
        Self { max_attempts, max_delay, max_hint, source, calls: Arc::default() }
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_range("max_attempts", self.max_attempts, 1..=1_000)?;
        check_duration("max_delay", self.max_delay)?;
        check_duration("max_hint", self.max_hint)?;
        match &self.source {
            Source::Backoff(backoff) => backoff.check(),
            Source::Custom(_) => Ok(()),
        }
    }

    /// The delays of one call.
    pub(crate) fn start(&self) -> Box<dyn Schedule> {
        match &self.source {
            Source::Backoff(backoff) => Box::new(backoff.start(self.calls.fetch_add(1, Ordering::Relaxed))),
            Source::Custom(make) => make(),
        }
    }

    /// What a scheduled delay becomes: at most `max_delay`, and at least what the service asked for. `None` if it
    /// asked for too much.
    pub(crate) fn clamp(&self, delay: Duration, hint: Option<Duration>) -> Option<Duration> {
        let hint = hint.unwrap_or_default();
        (hint <= self.max_hint).then(|| delay.min(self.max_delay).max(hint))
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::new(3, Backoff::default())
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Retry");
        debug.field("max_attempts", &self.max_attempts);
        match &self.source {
            Source::Backoff(backoff) => debug.field("backoff", backoff),
            Source::Custom(_) => debug.field("max_delay", &self.max_delay).field("backoff", &"custom"),
        };
        debug.field("max_hint", &self.max_hint).finish()
    }
}
