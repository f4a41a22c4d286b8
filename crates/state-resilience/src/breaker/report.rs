//! What a breaker tells: why it rejects a call, and what it has counted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::state::BreakerState;

/// A call was rejected because a breaker is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    pub(super) name: Arc<str>,
    pub(super) retry_after: Option<Duration>,
}

impl Open {
    /// The name of the breaker.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// From when on a call has a chance again; `None` if the breaker was opened by hand.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "circuit breaker {:?} is open", self.name)
    }
}

impl std::error::Error for Open {}

/// What a breaker has counted, for gauges.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BreakerSnapshot {
    /// The state. `Open` stays until a call comes after its time, which makes it `HalfOpen`.
    pub state: BreakerState,
    /// Calls in the window; counts of a slice above 15,358 are halved, so this is a lower bound under heavy load.
    pub calls: u32,
    /// Failed calls among them.
    pub failed: u32,
    /// Slow calls among them.
    pub slow: u32,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// For how long calls are certain to be rejected; `Duration::MAX` if opened by hand.
    pub rejects_for: Option<Duration>,
}
