//! Compare-and-swap and increment.

use redis::Value;
use state_core::{CasOutcome, MAX_VALUE_LEN, StateResult, check_value};

use crate::backend::Inner;
use crate::exec::Operation;
use crate::script::{CAS, INCREMENT};
use crate::{error, reply};

/// Replaces the value under `key` by `new` if it is `expected`.
pub(crate) async fn compare_and_swap(
    backend: &Inner,
    key: &[u8],
    expected: Option<&[u8]>,
    new: Option<&[u8]>,
) -> StateResult<CasOutcome> {
    let operation = Operation::CompareAndSwap;
    let stored = backend.keyspace.encode(key)?;
    // An older, larger value may still be expected: only what is written keeps to the configured maximum.
    check_value(expected.unwrap_or_default(), MAX_VALUE_LEN)?;
    backend.check_value(new.unwrap_or_default())?;
    let ttl = backend.default_ttl_ms.unwrap_or(0).to_string();
    let arguments =
        [flag(expected), expected.unwrap_or_default(), flag(new), new.unwrap_or_default(), ttl.as_bytes()];
    let call = CAS.call(&stored, &arguments);
    let answer = backend.door.run(operation, |conn, deadline| call.run(conn, deadline)).await?;
    let (swapped, current) = reply::pair(operation, answer)?;
    match swapped {
        Value::Int(1) => Ok(CasOutcome::Swapped),
        Value::Int(0) => Ok(CasOutcome::Mismatch { current: reply::bytes(operation, current)? }),
        _ => Err(error::unexpected_reply(operation)),
    }
}

/// Adds `delta` to the integer under `key`.
pub(crate) async fn increment(backend: &Inner, key: &[u8], delta: i64) -> StateResult<i64> {
    let operation = Operation::Increment;
    let stored = backend.keyspace.encode(key)?;
    let Some(ttl) = backend.default_ttl_ms else {
        let mut command = redis::cmd("INCRBY");
        command.arg(stored).arg(delta);
        return reply::integer(operation, backend.door.command(operation, &command).await?);
    };
    let call = INCREMENT.call(&stored, &[delta.to_string().as_bytes(), ttl.to_string().as_bytes()]);
    let answer = backend.door.run(operation, |conn, deadline| call.run(conn, deadline)).await?;
    reply::decimal(operation, answer)
}

fn flag(value: Option<&[u8]>) -> &'static [u8] {
    if value.is_some() { b"1" } else { b"0" }
}
