//! What locks tell, handed on to the instruments.

#[cfg(feature = "metrics")]
use std::time::Duration;

use crate::config::RedisConfig;
use crate::instruments::Instruments;
use crate::lock_kinds::Kind;

/// What locks of one kind tell the instruments.
pub(crate) struct LockWatcher {
    #[cfg(feature = "metrics")]
    instruments: Instruments,
    #[cfg(feature = "metrics")]
    lock: state_metrics::Lock,
}

#[cfg(not(feature = "metrics"))]
impl LockWatcher {
    pub(crate) fn new(_config: &RedisConfig, _instruments: &Instruments, _kind: Kind) -> Self {
        Self {}
    }
}

#[cfg(not(feature = "metrics"))]
impl redlock::Observer for LockWatcher {}

#[cfg(feature = "metrics")]
impl LockWatcher {
    pub(crate) fn new(config: &RedisConfig, instruments: &Instruments, kind: Kind) -> Self {
        use state_metrics::{LockKind, LockMode};
        let is_single = config.redlock_nodes.is_empty();
        let mode = if is_single { LockMode::Single } else { LockMode::Quorum };
        let kind = match kind {
            Kind::Mutex => LockKind::Mutex,
            Kind::Read => LockKind::Read,
            Kind::Write => LockKind::Write,
            Kind::Semaphore => LockKind::Semaphore,
            Kind::Multi => LockKind::Multi,
            Kind::Leader => LockKind::Leader,
        };
        Self { instruments: instruments.clone(), lock: state_metrics::Lock::new(mode, kind) }
    }
}

#[cfg(feature = "metrics")]
impl redlock::Observer for LockWatcher {
    fn acquired(&self, wait: Duration, _attempts: u32) {
        self.instruments.0.lock_attempted(self.lock, state_metrics::LockOutcome::Acquired, wait);
    }

    fn failed(&self, kind: redlock::ErrorKind, wait: Duration, _attempts: u32) {
        use state_metrics::LockOutcome;
        let outcome = match kind {
            redlock::ErrorKind::Held if wait.is_zero() => LockOutcome::Held,
            redlock::ErrorKind::Held => LockOutcome::TimedOut,
            _ => LockOutcome::Failed,
        };
        self.instruments.0.lock_attempted(self.lock, outcome, wait);
    }

    fn released(&self, hold: Duration, outcome: redlock::Outcome) {
        use state_metrics::LockEnd;
        let end = match outcome {
            redlock::Outcome::Released => LockEnd::Released,
            redlock::Outcome::AlreadyExpired => LockEnd::AlreadyExpired,
            redlock::Outcome::Stolen => LockEnd::Stolen,
            _ => LockEnd::Unknown,
        };
        self.instruments.0.lock_released(self.lock, end, hold);
    }

    fn lost(&self, hold: Duration) {
        self.instruments.0.lock_lost(self.lock, hold);
    }

    fn renewed(&self, confirmed: bool) {
        if confirmed {
            self.instruments.0.lock_renewed(self.lock);
        }
    }
}
