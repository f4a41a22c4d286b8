//! What a manager tells about itself.

use std::time::Duration;

use crate::{ErrorKind, LockKind, Outcome, Verdict};

/// Receives what happens to locks, for metrics. Every method does nothing by default; all are called inline and
/// must not block. Of locks the kind is passed and the name is not: it is data.
pub trait Observer: Send + Sync + 'static {
    /// A lock was acquired after `wait`, in the `attempts`-th attempt.
    fn acquired(&self, kind: LockKind, wait: Duration, attempts: u32) {
        let _ = (kind, wait, attempts);
    }

    /// An acquisition failed after `wait` and `attempts` attempts. One that was not to wait is told with a `wait` of
    /// zero, whatever its question took: so a lock that was held is told from one that was waited for in vain.
    fn failed(&self, kind: LockKind, error: ErrorKind, wait: Duration, attempts: u32) {
        let _ = (kind, error, wait, attempts);
    }

    /// A lock was released by [`Guard::release`](crate::Guard::release) after `hold`.
    fn released(&self, kind: LockKind, hold: Duration, outcome: Outcome) {
        let _ = (kind, hold, outcome);
    }

    /// A guard was found to have lost its lock `hold` after it was acquired.
    fn lost(&self, kind: LockKind, hold: Duration) {
        let _ = (kind, hold);
    }

    /// A renewal was confirmed (`true`), or not yet (`false`).
    fn renewed(&self, kind: LockKind, confirmed: bool) {
        let _ = (kind, confirmed);
    }

    /// A node answered a request of this kind, or failed to (`verdict`), after `latency`.
    fn node_answered(&self, node: &str, operation: Operation, latency: Duration, fault: Option<&Verdict>) {
        let _ = (node, operation, latency, fault);
    }

    /// A node abstains, for this much longer, because it may have forgotten locks.
    fn quarantined(&self, node: &str, remaining: Duration) {
        let _ = (node, remaining);
    }
}

/// What was asked of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// To identify itself.
    Inspect,
    /// To grant a hold.
    Acquire,
    /// To grant a hold or queue for it.
    Enqueue,
    /// To prolong a hold.
    Extend,
    /// To lift a token counter.
    Raise,
    /// To end a hold.
    Release,
    /// To name the holders.
    Peek,
    /// To end its quarantine.
    Bootstrap,
}

/// The observer of those who want none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Silent;

impl Observer for Silent {}
