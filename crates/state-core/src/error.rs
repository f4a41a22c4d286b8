//! The one error of the contract: what kind, in which context, from which cause.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The result of every operation of the contract.
pub type StateResult<T, E = StateError> = Result<T, E>;

/// Why a state operation failed.
///
/// Cloning is cheap and keeps the cause: one failed request may answer many items of a batch.
/// `Display` prints this level only; the cause is in [`Error::source`].
#[derive(Clone)]
pub struct StateError(Arc<Inner>);

/// What a failed operation means for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is wrong; the context names it.
    InvalidConfig,
    /// An argument is wrong (an empty key, a zero TTL); nothing was written.
    InvalidInput,
    /// A key or value is longer than allowed; nothing was written.
    TooLarge,
    /// The backend cannot be reached now.
    Unavailable,
    /// The deadline passed before the answer came.
    Timeout,
    /// A circuit breaker refused the call without trying.
    CircuitOpen,
    /// A limit on concurrency, queue or rate refused the call.
    Overloaded,
    /// The backend answers but accepts no writes, as during a failover.
    ReadOnly,
    /// The credentials were refused, or they lack a permission.
    Auth,
    /// The lock is held by someone else.
    LockHeld,
    /// The lock was held and is not any more.
    LockLost,
    /// Concurrent writers kept winning; read again and decide anew.
    Conflict,
    /// Something else than the operation works on stands under the key: another data type, or no integer.
    WrongType,
    /// The result does not fit in a signed 64-bit integer; the stored value is unchanged.
    OutOfRange,
    /// Stored bytes cannot be read back: truncated, altered, or of an unknown format.
    Corrupt,
    /// This backend, or its configuration, does not offer the operation.
    Unsupported,
    /// A snapshot file cannot be read or written; the cause is the operating system's error.
    Io,
    /// The backend was closed by its owner.
    Closed,
    /// A fault that none of the other kinds describes.
    Internal,
}

impl StateError {
    /// An error of `kind`; `context` says what happened, without key, value or secret.
    pub fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner { kind, context: context.into(), ambiguous: false, source: None }))
    }

    /// Adds the cause that [`Error::source`] returns.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::new(Inner { source: Some(Arc::from(source.into())), ..self.into_inner() }))
    }

    /// Marks that the write may have happened although it was not confirmed.
    #[must_use]
    pub fn with_ambiguity(self) -> Self {
        Self(Arc::new(Inner { ambiguous: true, ..self.into_inner() }))
    }

    /// What the failure means for the caller.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What happened, in words.
    pub fn context(&self) -> &str {
        &self.0.context
    }

    /// Whether the same call may succeed later.
    ///
    /// When [`is_ambiguous`](Self::is_ambiguous) holds too, repeating is safe only for a call that may run twice.
    pub fn is_retryable(&self) -> bool {
        use ErrorKind::{CircuitOpen, LockHeld, Overloaded, ReadOnly, Timeout, Unavailable};
        matches!(self.kind(), Unavailable | Timeout | CircuitOpen | Overloaded | ReadOnly | LockHeld)
    }

    /// Whether the write may have happened although it failed here.
    pub fn is_ambiguous(&self) -> bool {
        self.0.ambiguous
    }

    fn into_inner(self) -> Inner {
        Arc::unwrap_or_clone(self.0)
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind().sentence(), self.context())
    }
}

impl fmt::Debug for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateError")
            .field("kind", &self.0.kind)
            .field("context", &self.0.context)
            .field("ambiguous", &self.0.ambiguous)
            .field("source", &self.0.source)
            .finish()
    }
}

impl Error for StateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

impl ErrorKind {
    fn sentence(self) -> &'static str {
        match self {
            Self::InvalidConfig => "invalid configuration",
            Self::InvalidInput => "invalid input",
            Self::TooLarge => "too large",
            Self::Unavailable => "backend unavailable",
            Self::Timeout => "deadline passed",
            Self::CircuitOpen => "circuit breaker open",
            Self::Overloaded => "overloaded",
            Self::ReadOnly => "backend is read-only",
            Self::Auth => "not authorized",
            Self::LockHeld => "lock held by another owner",
            Self::LockLost => "lock lost",
            Self::Conflict => "conflicting writes",
            Self::WrongType => "wrong type under the key",
            Self::OutOfRange => "integer out of range",
            Self::Corrupt => "corrupt data",
            Self::Unsupported => "not supported",
            Self::Io => "input or output failed",
            Self::Closed => "backend closed",
            Self::Internal => "internal error",
        }
    }
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    context: Cow<'static, str>,
    ambiguous: bool,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_prints_one_level_and_the_cause_stays_in_source() {
        let error = StateError::new(ErrorKind::Unavailable, "the socket was closed")
            .with_source(std::io::Error::other("broken pipe"))
            .with_ambiguity();
        assert_eq!(error.to_string(), "backend unavailable: the socket was closed");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("broken pipe"));
        assert!(error.is_ambiguous() && error.is_retryable());
        let copy = error.clone();
        assert!(copy.source().is_some(), "a clone keeps the cause");
    }

    #[test]
    fn input_errors_are_final() {
        for kind in [ErrorKind::InvalidInput, ErrorKind::WrongType, ErrorKind::Corrupt, ErrorKind::Closed] {
            assert!(!StateError::new(kind, "x").is_retryable());
        }
    }
}
