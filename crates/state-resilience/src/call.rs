//! What one call asks of a policy, and what each of its attempts is told.

use std::time::Duration;

use tokio::time::Instant;

use crate::class::Idempotency;

/// What one call asks of a [`Policy`](crate::Policy): what a repeat would do, and by when it wants an answer.
///
/// An [`Idempotency`] alone converts into one.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub(crate) idempotency: Idempotency,
    pub(crate) deadline: Option<Instant>,
    pub(crate) started: Option<Instant>,
}

impl Call {
    /// A call with the policy's deadline.
    #[must_use]
    pub fn new(idempotency: Idempotency) -> Self {
        Self { idempotency, deadline: None, started: None }
    }

    /// A deadline of its own. The earlier of this and the policy's counts.
    #[must_use]
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// When the call began, for a caller that has read the clock already: the policy does not read it again.
    #[must_use]
    pub fn started(mut self, at: Instant) -> Self {
        self.started = Some(at);
        self
    }
}

impl From<Idempotency> for Call {
    fn from(idempotency: Idempotency) -> Self {
        Self::new(idempotency)
    }
}

/// What the operation is told about the attempt it is to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// From 1. A hedge has the number of the attempt that it doubles.
    pub number: u32,
    /// Whether it is the second copy of an attempt, which should take another way (replica, connection).
    pub is_hedge: bool,
    /// When the attempt began.
    pub started: Instant,
    /// By when it has to end. Under [`AttemptTimer::Policy`](crate::AttemptTimer::Policy) it is cut off then; under
    /// [`AttemptTimer::Operation`](crate::AttemptTimer::Operation) it has to see to that itself.
    pub deadline: Option<Instant>,
}

impl Attempt {
    /// The time from its beginning to its deadline.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(self.started))
    }
}
