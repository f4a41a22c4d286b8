//! What locks tell, handed on to the instruments.

#[cfg(feature = "metrics")]
use std::time::Duration;

#[cfg(feature = "metrics")]
use redlock::LockKind;
#[cfg(feature = "metrics")]
use state_metrics::{Lock, LockMode};

use crate::config::RedisConfig;
use crate::instruments::Instruments;

/// What locks tell the instruments.
pub(crate) struct LockWatcher {
    #[cfg(feature = "metrics")]
    instruments: Instruments,
    #[cfg(feature = "metrics")]
    mode: LockMode,
}

#[cfg(not(feature = "metrics"))]
impl LockWatcher {
    pub(crate) fn new(_config: &RedisConfig, _instruments: &Instruments) -> Self {
        Self {}
    }
}

#[cfg(not(feature = "metrics"))]
impl redlock::Observer for LockWatcher {}

#[cfg(feature = "metrics")]
impl LockWatcher {
    pub(crate) fn new(config: &RedisConfig, instruments: &Instruments) -> Self {
        let is_single = config.redlock_nodes.is_empty();
        let mode = if is_single { LockMode::Single } else { LockMode::Quorum };
        Self { instruments: instruments.clone(), mode }
    }

    fn lock(&self, kind: LockKind) -> Lock {
        use state_metrics::LockKind as Label;
        let label = match kind {
            LockKind::Read => Label::Read,
            LockKind::Write => Label::Write,
            LockKind::Semaphore => Label::Semaphore,
            LockKind::Multi => Label::Multi,
            LockKind::Leader => Label::Leader,
            // Mutexes, and what the metrics have no label for.
            _ => Label::Mutex,
        };
        Lock::new(self.mode, label)
    }
}

#[cfg(feature = "metrics")]
impl redlock::Observer for LockWatcher {
    fn acquired(&self, kind: LockKind, wait: Duration, _attempts: u32) {
        self.instruments.0.lock_attempted(self.lock(kind), state_metrics::LockOutcome::Acquired, wait);
    }

    fn failed(&self, kind: LockKind, error: redlock::ErrorKind, wait: Duration, _attempts: u32) {
        use state_metrics::LockOutcome;
        let outcome = match error {
            redlock::ErrorKind::Held if wait.is_zero() => LockOutcome::Held,
            redlock::ErrorKind::Held => LockOutcome::TimedOut,
            _ => LockOutcome::Failed,
        };
        self.instruments.0.lock_attempted(self.lock(kind), outcome, wait);
    }

    fn released(&self, kind: LockKind, hold: Duration, outcome: redlock::Outcome) {
        use state_metrics::LockEnd;
        let end = match outcome {
            redlock::Outcome::Released => LockEnd::Released,
            redlock::Outcome::AlreadyExpired => LockEnd::AlreadyExpired,
            redlock::Outcome::Stolen => LockEnd::Stolen,
            _ => LockEnd::Unknown,
        };
        self.instruments.0.lock_released(self.lock(kind), end, hold);
    }

    fn lost(&self, kind: LockKind, hold: Duration) {
        self.instruments.0.lock_lost(self.lock(kind), hold);
    }

    fn renewed(&self, kind: LockKind, confirmed: bool) {
        if confirmed {
            self.instruments.0.lock_renewed(self.lock(kind));
        }
    }
}
