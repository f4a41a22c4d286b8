//! Compare-and-swap, increment, and reading what is removed.

use redis::Value;
use state_core::{CasOutcome, ErrorKind, MAX_VALUE_LEN, StateError, StateResult, check_value};

use crate::backend::Inner;
use crate::exec::Task;
use crate::operation::Operation;
use crate::script::{CAS, INCREMENT};
use crate::values::is_encrypted;
use crate::{error, reply};

// How often other writers of the same encrypted value may come in between.
pub(crate) const ROUNDS: usize = 8;

/// Replaces the value under `key` by `new` if it is `expected`.
pub(crate) async fn compare_and_swap(
    backend: &Inner,
    task: &Task<'_>,
    key: &[u8],
    expected: Option<&[u8]>,
    new: Option<&[u8]>,
) -> StateResult<CasOutcome> {
    let swap = Swap::new(backend, task, key, expected, new)?;
    let mut seen = None;
    for _ in 0..ROUNDS {
        let Some(bytes) = swap.run(task, seen.as_ref()).await? else { return Ok(CasOutcome::Swapped) };
        let Some(bytes) = bytes else { return Ok(CasOutcome::Mismatch { current: None }) };
        let may_be_equal = expected.is_some() && is_encrypted(&bytes);
        let again = may_be_equal.then(|| bytes.clone());
        let current = backend.values.decode(task.operation(), key, bytes).await?;
        if again.is_none() || Some(current.as_slice()) != expected {
            return Ok(CasOutcome::Mismatch { current: Some(current) });
        }
        // The same value under encryption: the bytes that were read are expected now.
        seen = again.map(|bytes| Seen { bytes, is_expected: true });
    }
    Err(StateError::new(ErrorKind::Conflict, "compare_and_swap: others kept writing the same value"))
}

pub(crate) struct Swap<'a> {
    pub(crate) stored: Vec<u8>,
    expected: Option<&'a [u8]>,
    envelope: Vec<u8>,
    new: Option<std::borrow::Cow<'a, [u8]>>,
    ttl: Option<String>,
}

/// Bytes that were read, and whether they stand for the expected value.
pub(crate) struct Seen {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_expected: bool,
}

impl<'a> Swap<'a> {
    pub(crate) fn new(
        backend: &'a Inner,
        task: &Task<'_>,
        key: &[u8],
        expected: Option<&'a [u8]>,
        new: Option<&'a [u8]>,
    ) -> StateResult<Self> {
        let (operation, stored) = (task.operation(), backend.keyspace.encode(key)?);
        // An older, larger value may still be expected: only what is written keeps to the configured maximum.
        check_value(expected.unwrap_or_default(), MAX_VALUE_LEN)?;
        backend.check_value(new.unwrap_or_default())?;
        let envelope = backend.values.envelope(operation, expected.unwrap_or_default())?;
        let new = new.map(|new| backend.values.encode(operation, key, new)).transpose()?;
        let ttl = backend.default_ttl_ms.map(|millis| millis.to_string());
        Ok(Self { stored, expected, envelope, new, ttl })
    }

    /// `None` when swapped, else the bytes that are there.
    async fn run(&self, task: &Task<'_>, seen: Option<&Seen>) -> StateResult<Option<Option<Vec<u8>>>> {
        let answer = task.script(&CAS.call(&[&self.stored], &self.arguments(seen))).await?;
        swapped(task.operation(), answer)
    }

    /// The arguments of `lua/cas.lua`. With `seen`, exactly these bytes count as read.
    pub(crate) fn arguments<'s>(&'s self, seen: Option<&'s Seen>) -> Vec<&'s [u8]> {
        let how: &[u8] =
            match (self.expected.is_some(), self.new.is_some(), seen.map(|seen| seen.is_expected)) {
                (false, false, _) => b"00",
                (false, true, _) => b"01",
                (true, false, None) => b"10",
                (true, true, None) => b"11",
                (true, false, Some(false)) => b"100",
                (true, false, Some(true)) => b"101",
                (true, true, Some(false)) => b"110",
                (true, true, Some(true)) => b"111",
            };
        let expected = seen.map(|seen| seen.bytes.as_slice()).or(self.expected).unwrap_or_default();
        let mut arguments = vec![expected, self.new.as_deref().unwrap_or_default(), how, &self.envelope];
        arguments.extend(self.ttl.as_deref().map(str::as_bytes));
        arguments
    }
}

/// What `lua/cas.lua` answered: `None` when swapped, else the bytes that are there.
pub(crate) fn swapped(operation: Operation, answer: Value) -> StateResult<Option<Option<Vec<u8>>>> {
    if answer == Value::Int(1) {
        return Ok(None);
    }
    match reply::pair(operation, answer)? {
        (Value::Int(0), current) => reply::bytes(operation, current).map(Some),
        _ => Err(error::unexpected_reply(operation)),
    }
}

/// Adds `delta` to the integer under `key`.
pub(crate) async fn increment(backend: &Inner, task: &Task<'_>, key: &[u8], delta: i64) -> StateResult<i64> {
    let stored = backend.keyspace.encode(key)?;
    check_numbers(backend)?;
    let Some(ttl) = backend.default_ttl_ms else {
        let mut command = redis::cmd("INCRBY");
        command.arg(&stored).arg(delta);
        return reply::integer(task.operation(), task.command_on(&stored, &command).await?);
    };
    let (delta, ttl) = (delta.to_string(), ttl.to_string());
    let arguments = [delta.as_bytes(), ttl.as_bytes()];
    reply::decimal(task.operation(), task.script(&INCREMENT.call(&[&stored], &arguments)).await?)
}

/// Checks that the server can add to values.
pub(crate) fn check_numbers(backend: &Inner) -> StateResult<()> {
    if backend.values.keeps_numbers() {
        return Ok(());
    }
    Err(StateError::new(
        ErrorKind::Unsupported,
        "increment: the server cannot add to encrypted values; use update",
    ))
}

/// Reads and removes the value under `key`.
#[cfg(not(feature = "codec"))]
pub(crate) async fn get_and_delete(
    backend: &Inner,
    task: &Task<'_>,
    key: &[u8],
) -> StateResult<Option<Vec<u8>>> {
    let stored = backend.keyspace.encode(key)?;
    let mut command = redis::cmd("GETDEL");
    command.arg(&stored);
    reply::bytes(task.operation(), task.command_on(&stored, &command).await?)
}

/// Reads and removes the value under `key`, an envelope only once it has been decoded.
#[cfg(feature = "codec")]
pub(crate) async fn get_and_delete(
    backend: &Inner,
    task: &Task<'_>,
    key: &[u8],
) -> StateResult<Option<Vec<u8>>> {
    let stored = backend.keyspace.encode(key)?;
    // The envelope that was read, and the value in it.
    let mut read: Option<(Vec<u8>, Vec<u8>)> = None;
    for _ in 0..ROUNDS {
        let envelope = read.as_ref().map_or(&b""[..], |(envelope, _)| envelope);
        let arguments = [backend.values.magic(), envelope];
        let keys = [stored.as_slice()];
        let call = crate::script::TAKE.call(&keys, &arguments);
        let (taken, bytes) = reply::pair(task.operation(), task.script(&call).await?)?;
        let bytes = reply::bytes(task.operation(), bytes)?;
        match (taken, bytes) {
            (Value::Int(1), None) => return Ok(None),
            (Value::Int(1), Some(bytes)) => match read.take_if(|(envelope, _)| *envelope == bytes) {
                Some((_, value)) => return Ok(Some(value)),
                None => return backend.values.decode(task.operation(), key, bytes).await.map(Some),
            },
            (Value::Int(0), Some(bytes)) => {
                let value = backend.values.decode(task.operation(), key, bytes.clone()).await?;
                read = Some((bytes, value));
            }
            _ => return Err(error::unexpected_reply(task.operation())),
        }
    }
    Err(StateError::new(ErrorKind::Conflict, "get_and_delete: others kept writing in between"))
}
