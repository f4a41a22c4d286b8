//! From a server's reply to what a typed operation returns.

use redis::{Pipeline, Value};

use crate::classify::{SendState, classify, server_error};
use crate::error::{Class, Error, ErrorKind, Result};
use crate::topology::Replies;

/// The value, with error replies, nested ones too, as errors.
pub(crate) fn value(value: Value) -> Result<Value> {
    match value {
        Value::ServerError(error) => Err(server_error(&error)),
        Value::BulkString(_) | Value::Nil | Value::Int(_) | Value::Okay | Value::SimpleString(_) => Ok(value),
        nested => nested.extract_error().map_err(|error| classify(error, SendState::Unknown)),
    }
}

/// A string, or nothing.
pub(crate) fn bytes(value: Value) -> Result<Option<Vec<u8>>> {
    match value {
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::Nil => Ok(None),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        Value::ServerError(error) => Err(server_error(&error)),
        _ => Err(unexpected()),
    }
}

/// `OK`, or nothing where the condition of a `SET` did not hold.
pub(crate) fn written(value: Value) -> Result<bool> {
    match value {
        Value::Okay => Ok(true),
        Value::Nil => Ok(false),
        Value::ServerError(error) => Err(server_error(&error)),
        _ => Err(unexpected()),
    }
}

/// One result per member of a pipeline.
pub(crate) fn members(pipeline: &Pipeline, mut replies: Replies) -> Result<Vec<Result<Value>>> {
    if pipeline.is_transaction() {
        replies = match replies.pop().transpose()? {
            Some(Value::Array(replies)) => replies.into_iter().map(Ok).collect(),
            Some(Value::Nil) => {
                return Err(Error::new(ErrorKind::Aborted, Class::Reply, "a watched key changed"));
            }
            Some(Value::ServerError(error)) => return Err(server_error(&error)),
            _ => return Err(unexpected()),
        };
    }
    if replies.len() != pipeline.len() {
        return Err(unexpected());
    }
    Ok(replies.into_iter().map(|reply| reply.and_then(value)).collect())
}

pub(crate) fn unexpected() -> Error {
    Error::new(ErrorKind::Protocol, Class::Ambiguous, "the reply is of another type than the command has")
}
