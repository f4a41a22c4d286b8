//! The right to make one call, which reports how it went.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use tokio::time::Instant;

use super::{Breaker, Grant};
use crate::class::Outcome;

/// The right to make one call through a [`Breaker`].
///
/// Report with [`success`](Self::success), [`failure`](Self::failure) or [`record`](Self::record). Dropping it
/// counts nothing and gives a probe's slot back: the state of a cancelled call. A report that comes after the
/// breaker has changed its state is ignored.
#[must_use = "a dropped permit counts nothing"]
pub struct Permit<B: Deref<Target = Breaker> = Arc<Breaker>> {
    breaker: B,
    grant: Grant,
    reported: bool,
    started: Instant,
}

impl<B: Deref<Target = Breaker>> Permit<B> {
    #[inline]
    pub(super) fn new(breaker: B, grant: Grant, started: Instant) -> Self {
        Self { breaker, grant, reported: false, started }
    }

    /// The service worked. Slow if the call took as long as `slow_calls` says.
    // Inlined whatever its size, so that the permit never leaves the registers on the path of a healthy service.
    #[inline(always)]
    pub fn success(mut self, now: Instant) {
        self.reported = true;
        self.breaker.succeed(self.grant, self.started, now);
    }

    /// The service did not work.
    #[inline]
    pub fn failure(self, now: Instant) {
        self.record(Outcome::Failure, now);
    }

    /// Reports `outcome`.
    #[inline]
    pub fn record(mut self, outcome: Outcome, now: Instant) {
        self.reported = true;
        self.breaker.record(self.grant, outcome, self.started, now);
    }

    /// Starts the call's time anew, after a wait that is not the service's fault.
    pub fn restart(&mut self, now: Instant) {
        self.started = now;
    }

    /// Whether the call is a probe of a half-open breaker.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.grant.probe
    }
}

impl<B: Deref<Target = Breaker>> Drop for Permit<B> {
    #[inline]
    fn drop(&mut self) {
        if self.grant.probe && !self.reported {
            self.breaker.forget(self.grant.generation);
        }
    }
}

impl<B: Deref<Target = Breaker>> fmt::Debug for Permit<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("breaker", &self.breaker.name())
            .field("grant", &self.grant)
            .finish_non_exhaustive()
    }
}
