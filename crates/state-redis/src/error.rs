//! The one place where errors of the layers become errors of the contract.

use redis_conn::{Class, ErrorKind as ConnKind};
use state_core::{ErrorKind, StateError};

use crate::operation::Operation;
use crate::policy::Failure;

/// The contract's error for `cause`, which ended `operation`.
pub(crate) fn from_conn(operation: Operation, cause: redis_conn::Error) -> StateError {
    let (kind, advice) = judge(&cause);
    let is_ambiguous = cause.class() == Class::Ambiguous && operation.writes();
    let error = StateError::new(kind, format!("{}: {advice}", operation.name())).with_source(cause);
    if is_ambiguous { error.with_ambiguity() } else { error }
}

/// The contract's error for a failure of the policy, which ended `operation`.
#[cfg(feature = "resilience")]
pub(crate) fn from_policy(operation: Operation, failure: Failure) -> StateError {
    let (kind, advice) = judge_failure(&failure);
    let is_ambiguous = failure.is_ambiguous() && operation.writes();
    let context = match failure.attempts() {
        0 | 1 => format!("{}: {advice}", operation.name()),
        attempts => format!("{}: {advice} ({attempts} attempts)", operation.name()),
    };
    let error = StateError::new(kind, context);
    let error = match failure.into_last() {
        Some(cause) => error.with_source(cause),
        None => error,
    };
    if is_ambiguous { error.with_ambiguity() } else { error }
}

/// The contract's error for the failure of the one attempt, which ended `operation`.
#[cfg(not(feature = "resilience"))]
pub(crate) fn from_policy(operation: Operation, failure: Failure) -> StateError {
    from_conn(operation, failure.0)
}

/// What made the policy stop: its own guards, or the last attempt's error.
#[cfg(feature = "resilience")]
fn judge_failure(failure: &Failure) -> (ErrorKind, &'static str) {
    use state_resilience::FailureKind;
    match (failure.kind(), failure.last()) {
        (FailureKind::RateLimited, _) => (ErrorKind::Overloaded, "the rate limit is reached"),
        (FailureKind::BulkheadFull, _) => (ErrorKind::Overloaded, "too many operations run already"),
        (_, Some(cause)) => judge(cause),
        (_, None) => (ErrorKind::Timeout, "the deadline passed"),
    }
}

/// The contract's error for `cause`, an error of the codec in `operation`.
#[cfg(feature = "codec")]
pub(crate) fn from_codec(operation: Operation, cause: state_codec::Error) -> StateError {
    let (kind, advice) = judge_codec(cause.kind());
    StateError::new(kind, format!("{}: {advice}", operation.name())).with_source(cause)
}

/// The contract's error for `cause`, a wrong setting of the codec.
#[cfg(feature = "codec")]
pub(crate) fn in_codec(cause: state_codec::Error) -> StateError {
    let (kind, advice) = judge_codec(cause.kind());
    StateError::new(kind, format!("{advice}: {}", cause.context())).with_source(cause)
}

/// The contract's error for `cause`, which keeps the typed value under `key` from being written or read.
#[cfg(feature = "typed")]
pub(crate) fn in_typed(key: &[u8], cause: state_codec::Error) -> StateError {
    let (kind, advice) = judge_codec(cause.kind());
    StateError::new(kind, format!("{advice}, {}", state_core::KeyDigest::of(key))).with_source(cause)
}

/// The contract's error for `cause`, a failure of the dictionary store.
#[cfg(feature = "codec")]
pub(crate) fn in_dictionary_store(context: &str, cause: state_codec::DictionaryStoreError) -> StateError {
    StateError::new(ErrorKind::Unavailable, format!("{context}: the dictionary store failed"))
        .with_source(cause)
}

#[cfg(feature = "codec")]
fn judge_codec(kind: state_codec::ErrorKind) -> (ErrorKind, &'static str) {
    use state_codec::ErrorKind as CodecKind;
    match kind {
        CodecKind::InvalidConfig => (ErrorKind::InvalidConfig, "correct the setting"),
        CodecKind::Corrupt => (ErrorKind::Corrupt, "the stored bytes are damaged or of another program"),
        CodecKind::TooLarge => (ErrorKind::TooLarge, "the value is above max_value_len"),
        CodecKind::Unsupported => (ErrorKind::Unsupported, "a feature of this build is off"),
        CodecKind::MissingDictionary => {
            (ErrorKind::Corrupt, "the dictionary of the value is nowhere to be found")
        }
        CodecKind::DictionaryStore => (ErrorKind::Unavailable, "the dictionary store failed"),
        CodecKind::MissingKey => (ErrorKind::Unsupported, "the key ring lacks the value's encryption key"),
        CodecKind::KeyExhausted => (ErrorKind::Unsupported, "the encryption key is used up; rotate it"),
        CodecKind::PlaintextRefused => (ErrorKind::Corrupt, "the value is not encrypted, and has to be"),
        CodecKind::Malformed => (ErrorKind::Corrupt, "the value is not of the type that was asked for"),
        CodecKind::Unencodable => (ErrorKind::InvalidInput, "the value cannot be expressed in the format"),
        CodecKind::NewerSchema => {
            (ErrorKind::Unsupported, "the value is of a newer schema; update this program")
        }
        CodecKind::OlderSchema => (ErrorKind::Unsupported, "the value is of a schema that is no longer read"),
        _ => (ErrorKind::Internal, "the codec failed"),
    }
}

/// The contract's error for `cause`, which kept a connection from being made.
pub(crate) fn in_connect(cause: redis_conn::Error) -> StateError {
    let (kind, advice) = judge(&cause);
    let says = match cause.kind() {
        // What was wrong, and where, is all that helps; and nothing is tried again once this has failed.
        ConnKind::InvalidConfig
        | ConnKind::Unsupported
        | ConnKind::Unavailable
        | ConnKind::Timeout
        | ConnKind::Tls
        | ConnKind::Protocol => cause.context(),
        _ => advice,
    };
    StateError::new(kind, format!("connect: {says}")).with_source(cause)
}

/// The contract's error for `cause`, a wrong value of `field`.
pub(crate) fn in_config(field: &str, cause: redis_conn::Error) -> StateError {
    let (kind, _) = judge(&cause);
    StateError::new(kind, format!("{field}: {}", cause.context())).with_source(cause)
}

/// The error for an answer that the command cannot have.
pub(crate) fn unexpected_reply(operation: Operation) -> StateError {
    let error = StateError::new(
        ErrorKind::Internal,
        format!("{}: the server's answer is of another type than the command has", operation.name()),
    );
    if operation.writes() { error.with_ambiguity() } else { error }
}

/// What `cause` means to the caller, and what to do about it.
pub(crate) fn judge(cause: &redis_conn::Error) -> (ErrorKind, &'static str) {
    match cause.kind() {
        ConnKind::InvalidConfig => (ErrorKind::InvalidConfig, "correct the setting"),
        ConnKind::InvalidInput => (ErrorKind::InvalidInput, "an argument is out of range"),
        ConnKind::Unsupported => (ErrorKind::Unsupported, "not offered by this server or connection"),
        ConnKind::Unavailable => {
            (ErrorKind::Unavailable, "no connection to the server; it is tried again all the time")
        }
        ConnKind::Disconnected => (ErrorKind::Unavailable, "the connection broke before the answer came"),
        ConnKind::Timeout => (ErrorKind::Timeout, "no answer before the deadline"),
        ConnKind::Overloaded => {
            (ErrorKind::Overloaded, "too many commands wait for answers; send less or raise the limits")
        }
        ConnKind::Rejected => {
            (ErrorKind::CircuitOpen, "the endpoint failed too often and is left alone for now")
        }
        ConnKind::Auth => (ErrorKind::Auth, "the server refuses the credentials; correct or rotate them"),
        ConnKind::Tls => (ErrorKind::Auth, "no trusted TLS connection to the server; check the certificates"),
        ConnKind::NotReplicated => {
            (ErrorKind::Unavailable, "written, but not confirmed by as many replicas as asked for")
        }
        ConnKind::Denied => (ErrorKind::Auth, "the user lacks a permission; extend its ACL rules"),
        ConnKind::NotReady => (ErrorKind::Unavailable, "the server answers that it cannot serve yet"),
        ConnKind::Redirected => (ErrorKind::Unavailable, "another node serves the key by now"),
        ConnKind::ReadOnly => (ErrorKind::ReadOnly, "the server is a replica"),
        ConnKind::ServerFull => {
            (ErrorKind::ReadOnly, "the server is out of memory or cannot persist; an operator has to act")
        }
        ConnKind::WrongType => (ErrorKind::WrongType, "the key holds another data type than a string"),
        ConnKind::Aborted => (ErrorKind::Conflict, "the transaction was aborted"),
        ConnKind::CrossSlot => (ErrorKind::Unsupported, "the keys live in different slots of the cluster"),
        ConnKind::Closed => (ErrorKind::Closed, "the backend was closed"),
        ConnKind::Reply => judge_reply(cause.context()),
        _ => (ErrorKind::Internal, "the server's answer makes no sense"),
    }
}

/// Error replies that only their text tells apart.
fn judge_reply(text: &str) -> (ErrorKind, &'static str) {
    if text.contains("value is not an integer or out of range") {
        (ErrorKind::WrongType, "the value is no integer of 64 bits")
    } else if text.contains("increment or decrement would overflow") {
        (ErrorKind::OutOfRange, "the sum does not fit in 64 bits")
    } else if text.contains("string exceeds maximum allowed size") {
        (ErrorKind::TooLarge, "the server refuses a value of this size")
    } else {
        (ErrorKind::Internal, "the server refuses the command")
    }
}

/// The contract's error for `cause`, which kept a lock from being had.
#[cfg(feature = "locks")]
pub(crate) fn from_lock(cause: redlock::Error) -> StateError {
    use redlock::ErrorKind as Cause;
    let (kind, advice) = match cause.kind() {
        Cause::Held => (ErrorKind::LockHeld, "others hold the lock"),
        Cause::Unavailable => (ErrorKind::Unavailable, "too few servers answered to decide on the lock"),
        Cause::Quarantined => (
            ErrorKind::Unavailable,
            "too few servers may grant locks yet, being new or restarted lately; see LockManager::bootstrap",
        ),
        Cause::TooLate => (ErrorKind::Timeout, "the servers agreed too late; use a longer TTL"),
        Cause::Lost => (ErrorKind::LockLost, "the lock is not held any more"),
        Cause::InvalidInput => (ErrorKind::InvalidInput, "an argument is out of range"),
        Cause::InvalidConfig => (ErrorKind::InvalidConfig, "the servers or settings do not allow locking"),
        Cause::WrongType => (ErrorKind::WrongType, "a key of the lock holds other data"),
        Cause::Closed => (ErrorKind::Closed, "the backend was closed"),
        _ => (ErrorKind::Internal, "the lock failed"),
    };
    StateError::new(kind, format!("lock: {advice}")).with_source(cause)
}
