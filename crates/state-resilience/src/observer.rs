//! The hooks through which metrics and logs see what happens.

use std::time::Duration;

use crate::breaker::BreakerState;
use crate::class::Class;
use crate::failure::FailureKind;

/// Sees what breakers and policies do. Every method does nothing by default.
///
/// Methods run on the caller's task, outside of any lock, and should be quick and not panic.
pub trait Observer: Send + Sync + 'static {
    /// A breaker changed its state. Two changes in quick succession may be seen out of order;
    /// [`BreakerChange::generation`] tells their order.
    fn breaker_changed(&self, change: &BreakerChange<'_>) {
        let _ = change;
    }

    /// An attempt failed, whether or not it is going to be repeated.
    fn attempt_failed(&self, policy: &str, event: &AttemptFailed) {
        let _ = (policy, event);
    }

    /// A failed attempt is going to be repeated after a delay.
    fn retry_scheduled(&self, policy: &str, event: &RetryScheduled) {
        let _ = (policy, event);
    }

    /// A second copy of a slow read was sent.
    fn hedge_sent(&self, policy: &str) {
        let _ = policy;
    }

    /// The trying is over: the operation gave its value, or the policy stopped. Comes before any fallback.
    fn call_ended(&self, policy: &str, event: &CallEnded) {
        let _ = (policy, event);
    }

    /// A fallback's value took the place of a failure of this kind.
    fn fallback_served(&self, policy: &str, instead_of: FailureKind) {
        let _ = (policy, instead_of);
    }
}

/// The observer that does nothing.
impl Observer for () {}

/// A breaker's transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerChange<'a> {
    /// The breaker's name.
    pub name: &'a str,
    /// The state it left.
    pub from: BreakerState,
    /// The state it is in. From `MetricsOnly` to `MetricsOnly` means that it would have opened.
    pub to: BreakerState,
    /// Why.
    pub cause: ChangeCause,
    /// Counts this breaker's transitions; wraps at 2^21.
    pub generation: u32,
}

/// Why a breaker changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeCause {
    /// The share of failed calls reached its threshold.
    FailureRate,
    /// The share of slow calls reached its threshold.
    SlowCallRate,
    /// So many calls failed in a row.
    ConsecutiveFailures,
    /// The time of the open state was up and a call came: it is the first probe.
    OpenElapsed,
    /// A probe failed or was slow.
    ProbeFailed,
    /// Probes did not report within the time of the half-open state.
    ProbesLost,
    /// Nobody was probing when the time of the half-open state was up: it begins anew.
    ProbesRestarted,
    /// Enough probes succeeded.
    ProbesSucceeded,
    /// Somebody called a method for it.
    Manual,
}

/// One attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptFailed {
    /// Its number, from 1.
    pub attempt: u32,
    /// What the failure means.
    pub class: Class,
    /// Whether this crate's timer cut it off, in place of an error of the operation.
    pub timed_out: bool,
}

/// A repeat that is going to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryScheduled {
    /// The number of the attempt that failed, from 1.
    pub attempt: u32,
    /// What its failure means.
    pub class: Class,
    /// How long from now the next attempt starts.
    pub delay: Duration,
}

/// A call that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallEnded {
    /// Why the operation did not succeed, or `None` if it did.
    pub failure: Option<FailureKind>,
    /// How many attempts were started, hedges apart.
    pub attempts: u32,
    /// How many hedges were sent.
    pub hedges: u32,
    /// How long the call took, waits included.
    pub elapsed: Duration,
}
