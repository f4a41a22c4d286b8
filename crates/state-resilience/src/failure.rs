//! What a call ends with: a value and how it was come by, or the reason why there is none.

use std::fmt;
use std::time::Duration;

use crate::class::{Class, Idempotency};

/// A value, and how it was come by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completed<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
    /// How many attempts were started, hedges apart; 0 if the fallback served without one.
    pub attempts: u32,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The operation.
    Operation,
    /// The second copy of the operation, which was faster than the first.
    Hedge,
    /// The fallback, in place of a failure of this kind.
    Fallback(FailureKind),
}

impl<T> Completed<T> {
    /// The value alone.
    #[must_use]
    pub fn into_value(self) -> T {
        self.value
    }
}

/// Why a call gave no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The operation failed in a way that must not or cannot be repeated.
    Final,
    /// The attempt ran out of its time and must not be repeated.
    Timeout,
    /// Every attempt failed.
    AttemptsExhausted,
    /// The service asked for a longer wait than [`Retry::with_max_hint`](crate::Retry::with_max_hint) allows.
    AskedToWait,
    /// Repeating would have exceeded the retry budget.
    BudgetExhausted,
    /// The deadline of the call passed, or the next attempt would have come after it.
    DeadlineExceeded,
    /// The breaker rejected the call, before the first attempt or before a repeat.
    CircuitOpen,
    /// The rate limit had no room in time.
    RateLimited,
    /// The bulkhead had no room in time.
    BulkheadFull,
    /// A guard below the policy rejected the call ([`Class::Shed`]).
    Shed,
}

impl FailureKind {
    /// Whether the service could not be used, as opposed to having answered that the request is wrong: the kinds
    /// that a fallback may stand in for.
    #[must_use]
    pub const fn is_unavailability(self) -> bool {
        !matches!(self, Self::Final)
    }
}

/// Why a call gave no value, after how much trying.
///
/// `Display` tells the reason, attempts and time; the operation's last error is the [`source`](std::error::Error::source).
pub struct Failure<E>(Box<Inner<E>>);

pub(crate) struct Inner<E> {
    pub(crate) kind: FailureKind,
    pub(crate) attempts: u32,
    pub(crate) hedges: u32,
    pub(crate) elapsed: Duration,
    pub(crate) ambiguous: bool,
    pub(crate) idempotency: Idempotency,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) last: Option<(Class, Option<E>)>,
    pub(crate) fallback: Option<E>,
}

impl<E> Failure<E> {
    pub(crate) fn new(inner: Inner<E>) -> Self {
        Self(Box::new(inner))
    }

    pub(crate) fn with_fallback_error(mut self, error: E) -> Self {
        self.0.fallback = Some(error);
        self
    }

    /// Why the policy stopped.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.0.kind
    }

    /// How many attempts were started, hedges apart.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// How many hedges were sent.
    #[must_use]
    pub fn hedges(&self) -> u32 {
        self.0.hedges
    }

    /// How long the call took, waits included.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// Whether a write may have taken effect although the call failed. Never for `Safe` operations.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        self.0.ambiguous
    }

    /// What the caller said a repeat would do.
    #[must_use]
    pub fn idempotency(&self) -> Idempotency {
        self.0.idempotency
    }

    /// From when on a call has a chance again, where somebody said so: an open breaker, or the service.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What the last attempt's failure meant; `None` if there was no attempt.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        self.0.last.as_ref().map(|(class, _)| *class)
    }

    /// The operation's last error; `None` if there was no attempt or it was cut off by this crate's timer.
    #[must_use]
    pub fn last(&self) -> Option<&E> {
        self.0.last.as_ref().and_then(|(_, error)| error.as_ref())
    }

    /// As [`last`](Self::last), by value.
    #[must_use]
    pub fn into_last(self) -> Option<E> {
        self.0.last.and_then(|(_, error)| error)
    }

    /// The error of the fallback, if that was tried as well.
    #[must_use]
    pub fn fallback_error(&self) -> Option<&E> {
        self.0.fallback.as_ref()
    }

    /// Whether a fallback may stand in: the service could not be used, and no `Unsafe` operation may have run.
    #[must_use]
    pub fn allows_fallback(&self) -> bool {
        self.0.kind.is_unavailability() && !(self.0.ambiguous && self.0.idempotency == Idempotency::Unsafe)
    }
}

impl<E> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.0.kind {
            FailureKind::Final => "the operation failed",
            FailureKind::Timeout => "the attempt timed out",
            FailureKind::AttemptsExhausted => "every attempt failed",
            FailureKind::AskedToWait => "the service asked for a longer wait than allowed",
            FailureKind::BudgetExhausted => "the retry budget is exhausted",
            FailureKind::DeadlineExceeded => "the deadline is exceeded",
            FailureKind::CircuitOpen => "the circuit breaker is open",
            FailureKind::RateLimited => "the rate limit is reached",
            FailureKind::BulkheadFull => "the bulkhead is full",
            FailureKind::Shed => "the call was rejected before it was sent",
        };
        write!(f, "{reason}: {} attempts in {:?}", self.0.attempts, self.0.elapsed)?;
        if self.0.ambiguous {
            f.write_str(", the write may have happened")?;
        }
        Ok(())
    }
}

impl<E: fmt::Debug> fmt::Debug for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("kind", &self.0.kind)
            .field("attempts", &self.0.attempts)
            .field("hedges", &self.0.hedges)
            .field("elapsed", &self.0.elapsed)
            .field("ambiguous", &self.0.ambiguous)
            .field("idempotency", &self.0.idempotency)
            .field("retry_after", &self.0.retry_after)
            .field("last", &self.0.last)
            .field("fallback", &self.0.fallback)
            .finish()
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Failure<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.last().map(|error| error as _)
    }
}
