//! The circuit breaker: stops calling a service that fails, and probes it before it calls again.

mod config;
mod machine;
mod permit;
mod report;
mod state;
#[cfg(test)]
mod tests;
mod window;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use self::config::{BreakerConfig, SlowCalls, Window};
pub use self::permit::Permit;
pub use self::report::{BreakerSnapshot, Open};
pub use self::state::BreakerState;
use self::state::Word;
use self::window::{Ring, Totals};
use crate::error::Result;
use crate::observer::{ChangeCause, Observer};
use crate::sync::{AtomicU64, Mutex, Ordering, Padded};

/// A circuit breaker for one endpoint.
///
/// Takes the time as an argument and never waits, so it works inside a [`Policy`](crate::Policy), in front of a
/// connection, or with no async code at all. Admitting and recording in the closed state takes no lock: one load
/// and one compare-and-swap (a ring of counts: one addition and one store).
///
/// Transitions: closed → open when a threshold of [`BreakerConfig`] is reached; open → half-open with the first
/// call after the open time, which becomes the first probe; half-open → closed after enough successful probes,
/// → open on a failed one, each time for longer. A half-open state that outlives
/// [`max_half_open`](BreakerConfig::max_half_open) opens again if probes are out and begins anew if not.
///
/// ```
/// use std::time::Duration;
/// use state_resilience::{Breaker, BreakerConfig, BreakerState};
/// use tokio::time::Instant;
///
/// let mut now = Instant::now();
/// let config = BreakerConfig::default().with_consecutive_failures(2).with_half_open_probes(1);
/// let breaker = Breaker::new("db-1", config, now)?;
///
/// for _ in 0..2 {
///     breaker.admit(now)?.failure(now);
/// }
/// let open = breaker.admit(now).unwrap_err();
/// assert_eq!(open.name(), "db-1");
///
/// now += open.retry_after().unwrap();
/// breaker.admit(now)?.success(now);
/// assert_eq!(breaker.state(), BreakerState::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Breaker {
    name: Arc<str>,
    config: BreakerConfig,
    epoch: Instant,
    /// Both are read by every call and written by failures only, hence apart from the ring.
    hot: Padded<Hot>,
    ring: Ring,
    /// Held for each transition and for the bookkeeping of probes; never on the closed path.
    trial: Mutex<Trial>,
    observer: Arc<dyn Observer>,
}

#[derive(Debug)]
struct Hot {
    word: AtomicU64,
    /// `generation:32 | failures in a row:32`.
    streak: AtomicU64,
}

#[derive(Debug, Default)]
struct Trial {
    /// Probes that have not reported.
    out: u32,
    succeeded: u32,
    /// When the half-open state is up, in milliseconds since the epoch.
    expires_ms: u64,
    /// How often the breaker has opened since it was last closed.
    openings: u32,
}

/// The right to make one call.
#[derive(Clone, Copy, Debug)]
struct Grant {
    generation: u32,
    probe: bool,
}

impl Breaker {
    /// A closed breaker. `now` becomes its epoch: later calls must not pass earlier times.
    ///
    /// # Errors
    /// `InvalidConfig` when a setting is out of its range; the context names it.
    pub fn new(name: impl Into<Arc<str>>, config: BreakerConfig, now: Instant) -> Result<Self> {
        Self::with_observer(name, config, now, Arc::new(()))
    }

    /// As [`new`](Self::new), with an observer for its transitions.
    ///
    /// # Errors
    /// `InvalidConfig` when a setting is out of its range; the context names it.
    pub fn with_observer(
        name: impl Into<Arc<str>>,
        config: BreakerConfig,
        now: Instant,
        observer: Arc<dyn Observer>,
    ) -> Result<Self> {
        config.check()?;
        let word = AtomicU64::new(Word::new(BreakerState::Closed, 0, 0).0);
        Ok(Self {
            name: name.into(),
            config,
            epoch: now,
            hot: Padded(Hot { word, streak: AtomicU64::new(0) }),
            ring: Ring::new(config.window),
            trial: Mutex::new(Trial::default()),
            observer,
        })
    }

    /// Asks to make a call. Whoever gets a permit reports through it; dropping it counts nothing.
    ///
    /// # Errors
    /// [`Open`] when the breaker rejects the call.
    #[inline]
    pub fn admit(&self, now: Instant) -> Result<Permit<&Self>, Open> {
        let grant = self.grant(now)?;
        Ok(Permit::new(self, grant, now))
    }

    /// As [`admit`](Self::admit), with a permit that can outlive the borrow.
    ///
    /// # Errors
    /// [`Open`] when the breaker rejects the call.
    pub fn admit_owned(self: &Arc<Self>, now: Instant) -> Result<Permit<Arc<Self>>, Open> {
        let grant = self.grant(now)?;
        Ok(Permit::new(Arc::clone(self), grant, now))
    }

    /// The name it was made with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The settings it was made with.
    #[must_use]
    pub fn config(&self) -> &BreakerConfig {
        &self.config
    }

    /// The state. `Open` stays until a call comes after its time, which makes it `HalfOpen`.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.word().state()
    }

    /// For how long calls are certain to be rejected, or `None` if the next one may be let through. Takes no slot.
    #[must_use]
    pub fn rejects_for(&self, now: Instant) -> Option<Duration> {
        let word = self.word();
        match word.state() {
            BreakerState::ForcedOpen => Some(Duration::MAX),
            BreakerState::Open => {
                let left = word.until_ms().saturating_sub(self.elapsed_ms(now));
                (left > 0).then(|| Duration::from_millis(left))
            }
            _ => None,
        }
    }

    /// What it has counted.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> BreakerSnapshot {
        let word = self.word();
        let Totals { calls, failed, slow } = self.ring.totals(word.generation(), self.elapsed_ns(now));
        let streak = self.hot.0.streak.load(Ordering::Relaxed);
        let current = streak >> 32 == u64::from(word.generation());
        BreakerSnapshot {
            state: word.state(),
            calls,
            failed,
            slow,
            consecutive_failures: if current { streak as u32 } else { 0 },
            rejects_for: self.rejects_for(now),
        }
    }

    /// Opens it for its open time, as if a threshold had been reached.
    pub fn open(&self, now: Instant) {
        let change = {
            let mut trial = self.trial.lock();
            self.reopen(&mut trial, self.elapsed_ns(now), ChangeCause::Manual)
        };
        self.tell(change);
    }

    /// Closes it and forgets all it has counted; also ends each of the states set by hand.
    pub fn close(&self) {
        self.set(BreakerState::Closed);
    }

    /// Rejects everything until [`close`](Self::close) or another of these is called.
    pub fn force_open(&self) {
        self.set(BreakerState::ForcedOpen);
    }

    /// Lets everything through and counts nothing until changed by hand.
    pub fn disable(&self) {
        self.set(BreakerState::Disabled);
    }

    /// Lets everything through until changed by hand, but counts, and reports to the observer whenever it would
    /// have opened.
    pub fn metrics_only(&self) {
        self.set(BreakerState::MetricsOnly);
    }

    #[inline]
    fn word(&self) -> Word {
        Word(self.hot.0.word.load(Ordering::Acquire))
    }

    #[inline]
    fn is_slow(&self, started: Instant, now: Instant) -> bool {
        self.config.slow_calls.is_some_and(|slow| now.saturating_duration_since(started) >= slow.threshold)
    }

    #[inline]
    fn elapsed_ns(&self, now: Instant) -> u64 {
        as_ns(now.saturating_duration_since(self.epoch))
    }

    fn elapsed_ms(&self, now: Instant) -> u64 {
        self.elapsed_ns(now) / 1_000_000
    }

    #[cold]
    fn rejected(&self, retry_after: Option<Duration>) -> Open {
        Open { name: Arc::clone(&self.name), retry_after }
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("name", &self.name)
            .field("state", &self.state())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

#[inline]
fn as_ns(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}
