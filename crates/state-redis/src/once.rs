//! Operations with an id: asked for as often as it takes, done once.

use std::time::Duration;

use redis::Value;
use state_core::{CasOutcome, ErrorKind, StateError, StateResult, Ttl, ttl_millis};

use crate::atomic::{ROUNDS, Seen, Swap, check_numbers, swapped};
use crate::backend::{Inner, RedisBackend};
use crate::exec::Task;
use crate::operation::Operation;
use crate::put::TtlOnServer;
use crate::records::digest;
use crate::script::{CAS_ONCE, INCREMENT_ONCE, LuaScript, PUT_IF_ABSENT_ONCE};
use crate::{error, reply};

/// The longest id of an operation, in bytes.
pub const MAX_ID_LEN: usize = 512;

/// The result of an operation with an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Once<T> {
    /// What came of it when it was done.
    pub result: T,
    /// Whether an earlier request had done it: one of another call with this id, or one of this call whose answer was
    /// lost.
    pub is_repeat: bool,
}

/// Operations that are safe to repeat, since the server remembers their ids.
///
/// An id belongs to one key, has 1 to [`MAX_ID_LEN`] bytes, and is remembered for `window`, together with the result,
/// in one step with the effect: after a crash or a failover both are there or neither. So a request whose answer was
/// lost is repeated by the retry policy as if it were a plain overwrite, and may be repeated by the caller, from
/// another process too, until the window has passed. An error that the operation itself answered with (`WrongType`,
/// `OutOfRange`) is a result like others. `window` is at least `command_timeout`; make it longer than anything that
/// may repeat the id waits.
///
/// A remembered id takes about 200 bytes on the server; that of a swap that found another value, that value too.
impl RedisBackend {
    /// Adds `delta` to the integer under `key` once for `id`.
    ///
    /// # Errors
    /// Those of [`increment`](Self::increment); `Conflict` when the id was used for something else; `InvalidInput` for
    /// an id or a window out of bounds.
    pub async fn increment_once(
        &self,
        key: &[u8],
        delta: i64,
        id: &[u8],
        window: Duration,
    ) -> StateResult<Once<i64>> {
        let task = self.inner.door.begin(Operation::IncrementOnce).on(key);
        let result = increment(&self.inner, &task, Request { key, id, window }, delta).await;
        task.end(result)
    }

    /// Replaces the value under `key` by `new` if it is `expected`, once for `id`. A repeat is told what the value was
    /// at that time.
    ///
    /// # Errors
    /// Those of [`compare_and_swap`](Self::compare_and_swap); `Conflict` when the id was used for something else;
    /// `InvalidInput` for an id or a window out of bounds.
    pub async fn compare_and_swap_once(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
        id: &[u8],
        window: Duration,
    ) -> StateResult<Once<CasOutcome>> {
        let mut task = self.inner.door.begin(Operation::CompareAndSwapOnce).on(key);
        let request = Request { key, id, window };
        let result = compare_and_swap(&self.inner, &task, request, expected, new).await;
        if let Ok(Once { result: CasOutcome::Swapped, is_repeat: false }) = result {
            task.wrote(new.map_or(0, <[u8]>::len));
        }
        task.end(result)
    }

    /// Stores `value` if there is nothing under `key`, once for `id`, and tells whether it did.
    ///
    /// # Errors
    /// Those of [`put_with`](Self::put_with); `Conflict` when the id was used for something else; `InvalidInput` for an
    /// id or a window out of bounds.
    pub async fn put_if_absent_once(
        &self,
        key: &[u8],
        value: &[u8],
        ttl: Ttl,
        id: &[u8],
        window: Duration,
    ) -> StateResult<Once<bool>> {
        let mut task = self.inner.door.begin(Operation::PutIfAbsentOnce).on(key);
        let result = put_if_absent(&self.inner, &task, Request { key, id, window }, value, ttl).await;
        if let Ok(Once { result: true, is_repeat: false }) = result {
            task.wrote(value.len());
        }
        task.end(result)
    }

    /// Runs a Lua script on `key` once for `id`, and returns its answer.
    ///
    /// The script sees the server's key as `KEYS[1]` (the stored bytes there are those of the codec) and `arguments` as
    /// `ARGV`, and may touch no other key. Whatever it answers is remembered: text, integers, `nil` and lists of them
    /// nested up to 14 deep. An error that it raises is remembered too, since what it wrote before is not undone.
    ///
    /// # Errors
    /// `InvalidInput` for a script with a `#!` line, which cannot be part of another; `Conflict` when the id was used
    /// for something else; `InvalidInput` for an id or a window out of bounds; otherwise those of the script.
    pub async fn script_once(
        &self,
        script: &str,
        key: &[u8],
        arguments: &[&[u8]],
        id: &[u8],
        window: Duration,
    ) -> StateResult<Once<Value>> {
        let task = self.inner.door.begin(Operation::ScriptOnce).on(key);
        let result = run_script(&self.inner, &task, Request { key, id, window }, script, arguments).await;
        task.end(result)
    }
}

async fn increment(
    backend: &Inner,
    task: &Task<'_>,
    request: Request<'_>,
    delta: i64,
) -> StateResult<Once<i64>> {
    check_numbers(backend)?;
    let delta = delta.to_string();
    let ttl = backend.default_ttl_ms.unwrap_or(0).to_string();
    let ticket = request.ticket(backend, task, &[delta.as_bytes()])?;
    let answer = ticket.run(task, &INCREMENT_ONCE, &[delta.as_bytes(), ttl.as_bytes()]).await?;
    answer.decided(task)?.try_map(|sum| reply::decimal(task.operation(), sum))
}

async fn compare_and_swap(
    backend: &Inner,
    task: &Task<'_>,
    request: Request<'_>,
    expected: Option<&[u8]>,
    new: Option<&[u8]>,
) -> StateResult<Once<CasOutcome>> {
    let (operation, key) = (task.operation(), request.key);
    let swap = Swap::new(backend, task, key, expected, new)?;
    let ticket = request.ticket(backend, task, &[present(expected), present(new)].concat())?;
    let mut seen = None;
    for _ in 0..ROUNDS {
        let answer = ticket.run(task, &CAS_ONCE, &swap.arguments(seen.as_ref())).await?;
        let Answer::Open(undecided) = answer else {
            let decided = answer.decided(task)?;
            let result = outcome(backend, task, key, decided.result).await?;
            return Ok(Once { result, is_repeat: decided.is_repeat });
        };
        // The value is encrypted: read it, and tell the server what it is.
        let bytes = reply::bytes(operation, reply::pair(operation, undecided)?.1)?;
        seen = match bytes {
            Some(bytes) => {
                let current = backend.values.decode(operation, key, bytes.clone()).await?;
                Some(Seen { bytes, is_expected: Some(current.as_slice()) == expected })
            }
            None => None,
        };
    }
    Err(StateError::new(ErrorKind::Conflict, "compare_and_swap_once: others kept writing the same value"))
}

/// What the answer of `lua/cas.lua` says.
async fn outcome(backend: &Inner, task: &Task<'_>, key: &[u8], answer: Value) -> StateResult<CasOutcome> {
    let current = match swapped(task.operation(), answer)? {
        None => return Ok(CasOutcome::Swapped),
        Some(None) => None,
        Some(Some(bytes)) => Some(backend.values.decode(task.operation(), key, bytes).await?),
    };
    Ok(CasOutcome::Mismatch { current })
}

async fn put_if_absent(
    backend: &Inner,
    task: &Task<'_>,
    request: Request<'_>,
    value: &[u8],
    ttl: Ttl,
) -> StateResult<Once<bool>> {
    backend.check_value(value)?;
    let millis = match TtlOnServer::resolve(ttl, backend.default_ttl_ms)? {
        TtlOnServer::After(millis) | TtlOnServer::KeepOr(millis) => millis,
        TtlOnServer::Never | TtlOnServer::Keep => 0,
    };
    let millis = millis.to_string();
    let ticket = request.ticket(backend, task, &[value])?;
    let bytes = backend.values.encode(task.operation(), request.key, value)?;
    let answer = ticket.run(task, &PUT_IF_ABSENT_ONCE, &[&bytes, millis.as_bytes()]).await?;
    let stored = answer.decided(task)?.try_map(|stored| reply::integer(task.operation(), stored))?;
    stored.try_map(|stored| Ok(stored == 1))
}

async fn run_script(
    backend: &Inner,
    task: &Task<'_>,
    request: Request<'_>,
    script: &str,
    arguments: &[&[u8]],
) -> StateResult<Once<Value>> {
    if script.starts_with("#!") {
        return Err(StateError::new(
            ErrorKind::InvalidInput,
            "script_once: the script begins with a #! line",
        ));
    }
    let ticket = request.ticket(backend, task, &[&[script.as_bytes()], arguments].concat())?;
    ticket.run(task, &LuaScript::once(script), arguments).await?.decided(task)
}

/// What the caller gave beside the operation itself.
#[derive(Clone, Copy)]
struct Request<'a> {
    key: &'a [u8],
    id: &'a [u8],
    window: Duration,
}

impl Request<'_> {
    /// `asked` is all that must be the same when the id comes again.
    fn ticket(self, backend: &Inner, task: &Task<'_>, asked: &[&[u8]]) -> StateResult<Ticket> {
        let name = task.operation().name();
        let invalid = |what: String| StateError::new(ErrorKind::InvalidInput, format!("{name}: {what}"));
        if !(1..=MAX_ID_LEN).contains(&self.id.len()) {
            return Err(invalid(format!(
                "the id has {} bytes, 1 to {MAX_ID_LEN} are allowed",
                self.id.len()
            )));
        }
        if self.window < backend.config.command_timeout {
            return Err(invalid("the window is shorter than command_timeout".to_owned()));
        }
        let stored = backend.keyspace.encode(self.key)?;
        let record = backend.records.key(&stored, self.id);
        let digest = digest(&[&[name.as_bytes()], asked].concat());
        Ok(Ticket { stored, record, digest, window: ttl_millis(self.window)?.to_string() })
    }
}

/// A request with all that the server needs to know of it.
struct Ticket {
    stored: Vec<u8>,
    record: Vec<u8>,
    digest: Vec<u8>,
    window: String,
}

impl Ticket {
    async fn run(&self, task: &Task<'_>, script: &LuaScript, arguments: &[&[u8]]) -> StateResult<Answer> {
        answer(task, task.script(&script.call(&self.keys(), &self.arguments(arguments))).await?)
    }

    fn keys(&self) -> [&[u8]; 2] {
        [&self.stored, &self.record]
    }

    fn arguments<'a>(&'a self, of_operation: &[&'a [u8]]) -> Vec<&'a [u8]> {
        [&[self.digest.as_slice(), self.window.as_bytes()], of_operation].concat()
    }
}

/// The answer of `lua/once.lua`.
enum Answer {
    Decided(Once<Value>),
    /// Nothing was decided or remembered.
    Open(Value),
}

impl Answer {
    fn decided(self, task: &Task<'_>) -> StateResult<Once<Value>> {
        match self {
            Self::Decided(once) => Ok(once),
            Self::Open(_) => Err(error::unexpected_reply(task.operation())),
        }
    }
}

fn answer(task: &Task<'_>, reply: Value) -> StateResult<Answer> {
    let (how, result) = reply::pair(task.operation(), reply)?;
    match how {
        Value::Int(0) => Ok(Answer::Decided(Once { result, is_repeat: false })),
        Value::Int(1) => Ok(Answer::Decided(Once { result, is_repeat: true })),
        Value::Int(2) => Err(StateError::new(
            ErrorKind::Conflict,
            format!("{}: the id was used for something else", task.operation().name()),
        )),
        Value::Int(3) => Ok(Answer::Open(result)),
        _ => Err(error::unexpected_reply(task.operation())),
    }
}

impl<T> Once<T> {
    fn try_map<U>(self, map: impl FnOnce(T) -> StateResult<U>) -> StateResult<Once<U>> {
        Ok(Once { result: map(self.result)?, is_repeat: self.is_repeat })
    }
}

/// Nothing and the empty value are two things.
fn present(value: Option<&[u8]>) -> [&[u8]; 2] {
    match value {
        Some(value) => [b"1", value],
        None => [b"0", b""],
    }
}
