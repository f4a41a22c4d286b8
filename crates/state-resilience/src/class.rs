//! What a failure means: whether a repeat is safe, and what it says about the service.

use std::time::Duration;

/// What a repeat of an operation does, declared by its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Idempotency {
    /// Changes nothing: a read. May be repeated and hedged.
    Safe,
    /// Running it twice leaves what running it once leaves: an unconditional overwrite, a delete. May be
    /// repeated, is not hedged.
    Idempotent,
    /// Running it twice differs from once: a counter, an append, and every conditional write, whose repeat would
    /// find its own first run. Repeated only when the failed attempt certainly did not run.
    Unsafe,
}

/// What one failed attempt means, as told by the caller's classifier.
///
/// | class | repeated for | breaker counts | may have run |
/// |---|---|---|---|
/// | [`NotSent`](Self::NotSent) | all | failure | no |
/// | [`Unavailable`](Self::Unavailable) | all, after the hint | failure | no |
/// | [`Deferred`](Self::Deferred) | all, after the hint | nothing | no |
/// | [`Misdirected`](Self::Misdirected) | all | nothing | no |
/// | [`Ambiguous`](Self::Ambiguous) | `Safe`, `Idempotent` | failure | **yes** |
/// | [`Rejected`](Self::Rejected) | none | success | no |
/// | [`Fatal`](Self::Fatal) | none | nothing | no |
/// | [`Shed`](Self::Shed) | none | nothing | no |
///
/// An attempt that this crate's own timer cuts off is `Ambiguous`. An error that fits nowhere should be
/// `Ambiguous` if it may have come after the request was sent, else `Fatal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// The request never left: connection refused, no pooled connection in time, cancelled while queued.
    NotSent,
    /// The service said that it cannot serve anything now and did not run the request (Redis `LOADING`,
    /// `MASTERDOWN`, `CLUSTERDOWN`; HTTP 503).
    Unavailable {
        /// How long the service asked to be left alone. The repeat waits at least as long.
        wait: Option<Duration>,
    },
    /// The service works but did not run this request now (Redis `TRYAGAIN`, `BUSY`; HTTP 429).
    Deferred {
        /// How long the service asked to be left alone. The repeat waits at least as long.
        wait: Option<Duration>,
    },
    /// The request reached a node that is not in charge and did not run there (Redis `READONLY`, `MOVED`;
    /// HTTP 421). The operation is expected to find the right one on its next attempt.
    Misdirected,
    /// The request was sent and its fate is unknown: a timeout, a reset while waiting for the reply.
    Ambiguous,
    /// The service answered, and the answer is that this request is wrong (Redis `WRONGTYPE`; HTTP 400).
    /// A repeat would be answered the same, and a service that answers is healthy.
    Rejected,
    /// No repeat can help and nothing is said about the service's health: bad credentials, bad configuration,
    /// cancelled by the caller.
    Fatal,
    /// A guard below this policy refused it before it was sent: an open breaker per endpoint, a full queue.
    /// A repeat would only press on.
    Shed,
}

/// What the breaker makes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The service works.
    Success,
    /// The service does not work.
    Failure,
    /// Says nothing about the service: not counted, and a probe's slot is given back.
    Neutral,
}

impl Class {
    /// Whether an attempt that ended so may be repeated.
    #[must_use]
    pub const fn repeats(self, idempotency: Idempotency) -> bool {
        match self {
            Self::NotSent | Self::Unavailable { .. } | Self::Deferred { .. } | Self::Misdirected => true,
            Self::Ambiguous => !matches!(idempotency, Idempotency::Unsafe),
            Self::Rejected | Self::Fatal | Self::Shed => false,
        }
    }

    /// What a breaker counts for an attempt that ended so.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::NotSent | Self::Unavailable { .. } | Self::Ambiguous => Outcome::Failure,
            Self::Deferred { .. } | Self::Misdirected | Self::Fatal | Self::Shed => Outcome::Neutral,
            Self::Rejected => Outcome::Success,
        }
    }

    /// Whether the operation may have taken effect although the attempt failed.
    #[must_use]
    pub const fn is_ambiguous(self) -> bool {
        matches!(self, Self::Ambiguous)
    }

    /// How long the service asked to be left alone.
    #[must_use]
    pub const fn wait(self) -> Option<Duration> {
        match self {
            Self::Unavailable { wait } | Self::Deferred { wait } => wait,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_ambiguous_failure_depends_on_the_idempotency() {
        use Idempotency::{Idempotent, Safe, Unsafe};
        let wait = None;
        let always =
            [Class::NotSent, Class::Unavailable { wait }, Class::Deferred { wait }, Class::Misdirected];
        let never = [Class::Rejected, Class::Fatal, Class::Shed];
        for idempotency in [Safe, Idempotent, Unsafe] {
            assert!(always.iter().all(|class| class.repeats(idempotency)));
            assert!(!never.iter().any(|class| class.repeats(idempotency)));
        }
        assert!(Class::Ambiguous.repeats(Safe) && Class::Ambiguous.repeats(Idempotent));
        assert!(!Class::Ambiguous.repeats(Unsafe));
    }
}
