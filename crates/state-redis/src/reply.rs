//! From the server's answers to what operations return.

use redis::Value;
use state_core::StateResult;

use crate::error::unexpected_reply;
use crate::operation::Operation;

/// A string or nothing.
pub(crate) fn bytes(operation: Operation, value: Value) -> StateResult<Option<Vec<u8>>> {
    match value {
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::Nil => Ok(None),
        _ => Err(unexpected_reply(operation)),
    }
}

/// `OK`, or nothing where the condition of a `SET` did not hold.
pub(crate) fn written(operation: Operation, value: Value) -> StateResult<bool> {
    match value {
        Value::Okay => Ok(true),
        Value::Nil => Ok(false),
        _ => Err(unexpected_reply(operation)),
    }
}

/// An integer.
pub(crate) fn integer(operation: Operation, value: Value) -> StateResult<i64> {
    match value {
        Value::Int(number) => Ok(number),
        _ => Err(unexpected_reply(operation)),
    }
}

/// An integer written as text.
pub(crate) fn decimal(operation: Operation, value: Value) -> StateResult<i64> {
    let text = bytes(operation, value)?.and_then(|text| String::from_utf8(text).ok());
    text.and_then(|text| text.parse().ok()).ok_or_else(|| unexpected_reply(operation))
}

/// Two values.
pub(crate) fn pair(operation: Operation, value: Value) -> StateResult<(Value, Value)> {
    let Value::Array(values) = value else { return Err(unexpected_reply(operation)) };
    let values: Result<[Value; 2], _> = values.try_into();
    values.map(|[first, second]| (first, second)).map_err(|_| unexpected_reply(operation))
}
