//! The one place where errors of the layers become errors of the contract.

use redis_conn::{Class, ErrorKind as ConnKind};
use state_core::{ErrorKind, StateError};

use crate::exec::Operation;

/// The contract's error for `cause`, which ended `operation`.
pub(crate) fn from_conn(operation: Operation, cause: redis_conn::Error) -> StateError {
    let (kind, advice) = judge(&cause);
    let is_ambiguous = cause.class() == Class::Ambiguous && operation.writes();
    let error = StateError::new(kind, format!("{}: {advice}", operation.name())).with_source(cause);
    if is_ambiguous { error.with_ambiguity() } else { error }
}

/// The contract's error for `cause`, which kept a connection from being made.
pub(crate) fn in_connect(cause: redis_conn::Error) -> StateError {
    let (kind, advice) = judge(&cause);
    StateError::new(kind, format!("connect: {advice}")).with_source(cause)
}

/// The contract's error for `cause`, a wrong value of `field`.
pub(crate) fn in_config(field: &str, cause: redis_conn::Error) -> StateError {
    let (kind, advice) = judge(&cause);
    StateError::new(kind, format!("{field}: {advice}")).with_source(cause)
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
fn judge(cause: &redis_conn::Error) -> (ErrorKind, &'static str) {
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
