//! The one door: every operation on the servers goes through here, and nowhere else.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, Pipeline, Value};
use redis_conn::{Class, Conn, Dedicated, Scan, ScanOptions, Servers, WriteConcern};
use state_core::{StateError, StateResult};
use tokio::sync::Mutex;
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::config::RedisConfig;
use crate::error;
use crate::instruments::Instruments;
use crate::operation::Operation;
use crate::policy::Policy;
use crate::reply;
use crate::script::ScriptCall;

/// The door: reads the clock, asks the policy, lends the connection, translates errors, and records.
pub(crate) struct Door {
    conn: Conn,
    policy: Policy,
    pub(crate) instruments: Instruments,
    command_timeout: Duration,
    /// Writes wait for replicas.
    is_durable: bool,
}

impl Door {
    pub(crate) fn new(conn: Conn, policy: Policy, instruments: Instruments, config: &RedisConfig) -> Self {
        let is_durable = config.write_concern != WriteConcern::Fast;
        Self { conn, policy, instruments, command_timeout: config.command_timeout, is_durable }
    }

    /// Begins an operation; what becomes of it is recorded when the task ends or is dropped.
    #[inline]
    pub(crate) fn begin(&self, operation: Operation) -> Task<'_> {
        Task {
            door: self,
            operation,
            key: None,
            started: Instant::now(),
            is_fresh: AtomicBool::new(true),
            attempts: AtomicU32::new(0),
            moved: Moved::default(),
            is_over: false,
        }
    }

    /// A walk over the servers' keys; [`Task::page`] turns its pages.
    pub(crate) fn scan(&self, options: ScanOptions) -> Scan {
        self.conn.scan(options)
    }

    /// Whether all keys are on one server.
    pub(crate) fn is_one_server(&self) -> bool {
        !matches!(self.conn.config().servers, Servers::Cluster { .. })
    }

    /// The connection, for what is no operation of the backend's: health, events, subscriptions.
    pub(crate) fn conn(&self) -> &Conn {
        &self.conn
    }
}

/// An operation under way.
pub(crate) struct Task<'a> {
    door: &'a Door,
    operation: Operation,
    key: Option<&'a [u8]>,
    started: Instant,
    /// Nothing was sent yet: the first step has the clock reading of the beginning.
    is_fresh: AtomicBool,
    attempts: AtomicU32,
    moved: Moved,
    is_over: bool,
}

/// What an operation moved.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code))]
pub(crate) struct Moved {
    pub(crate) read: u64,
    pub(crate) written: u64,
    pub(crate) hits: u32,
    pub(crate) misses: u32,
}

/// A finished operation, as the instruments see it.
#[cfg_attr(not(feature = "metrics"), allow(dead_code))]
pub(crate) struct Finished<'a> {
    pub(crate) operation: Operation,
    /// The error, if it failed; `None` when the caller dropped it.
    pub(crate) outcome: Option<Option<&'a StateError>>,
    pub(crate) started: Instant,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) attempts: u32,
    pub(crate) moved: Moved,
}

impl<'a> Task<'a> {
    /// The key it is about.
    pub(crate) fn on(mut self, key: &'a [u8]) -> Self {
        self.key = Some(key);
        self
    }

    pub(crate) fn operation(&self) -> Operation {
        self.operation
    }

    /// Runs a step: `attempt` gets the connection, the deadline to keep, and whether it is a second copy of a read.
    pub(crate) async fn run<'t, T, F>(
        &'t self,
        attempt: impl Fn(&'t Conn, Instant, bool) -> F,
    ) -> StateResult<T>
    where
        F: Future<Output = redis_conn::Result<T>>,
    {
        let door = self.door;
        let started = self.step();
        let deadline = started + door.command_timeout;
        let attempt = |deadline, is_copy| attempt(&door.conn, deadline, is_copy);
        let done = door.policy.run(self.operation, &door.instruments, started, deadline, attempt).await;
        let (attempts, result) = match done {
            Ok((value, attempts)) => (attempts, Ok(value)),
            Err(failure) => {
                // A refusal waits for nothing. A caller that tries again at once would keep its runtime from everything
                // else, the connection's way back among it.
                yield_now().await;
                (failure.attempts(), Err(error::from_policy(self.operation, failure)))
            }
        };
        self.attempts.fetch_add(attempts, Ordering::Relaxed);
        result
    }

    /// Reads a string. A second copy takes the master, where reads go to replicas.
    pub(crate) async fn get(&self, stored: &[u8]) -> StateResult<Option<Vec<u8>>> {
        let value = self
            .run(|conn, deadline, is_copy| async move {
                if is_copy {
                    return conn.run(redis::cmd("GET").arg(stored), deadline).await;
                }
                Ok(conn.get(stored, deadline).await?.map_or(Value::Nil, Value::BulkString))
            })
            .await?;
        reply::bytes(self.operation, value)
    }

    /// Runs one command.
    pub(crate) async fn command(&self, command: &Cmd) -> StateResult<Value> {
        if self.is_durable() {
            return self.run(|conn, deadline, _| conn.write(command, deadline)).await;
        }
        self.run(|conn, deadline, _| conn.run(command, deadline)).await
    }

    /// Runs one command on the server's key `stored`.
    pub(crate) async fn command_on(&self, stored: &[u8], command: &Cmd) -> StateResult<Value> {
        if self.is_durable() {
            return self.run(|conn, deadline, _| conn.write(command, deadline)).await;
        }
        self.run(|conn, deadline, _| conn.call(stored, command, deadline)).await
    }

    /// Runs a script.
    pub(crate) async fn script(&self, call: &ScriptCall<'_>) -> StateResult<Value> {
        let is_durable = self.is_durable();
        self.run(|conn, deadline, _| call.run(conn, is_durable, deadline)).await
    }

    /// Runs several commands as one request, and returns a result for each.
    pub(crate) async fn pipeline(&self, pipeline: &Pipeline) -> StateResult<Vec<StateResult<Value>>> {
        let replies = if self.is_durable() {
            self.run(|conn, deadline, _| write_each(conn, pipeline, deadline)).await?
        } else {
            self.run(|conn, deadline, _| send_all(conn, pipeline, deadline)).await?
        };
        Ok(replies.into_iter().map(|reply| self.translate(reply)).collect())
    }

    /// Runs several commands as one request, past the policy: for a question about the servers as they are now.
    pub(crate) async fn ask_once(&self, pipeline: &Pipeline) -> StateResult<Vec<StateResult<Value>>> {
        let deadline = self.step() + self.door.command_timeout;
        let replies = self.door.conn.run_pipeline(pipeline, deadline).await;
        let replies = replies.map_err(|cause| error::from_conn(self.operation, cause))?;
        Ok(replies.into_iter().map(|reply| self.translate(reply)).collect())
    }

    /// The next page of a walk, `None` after the last. A page is a step: it has the time and the attempts of one, and
    /// the walk goes on where it was.
    pub(crate) async fn page(&self, scan: &mut Scan) -> StateResult<Option<Vec<Vec<u8>>>> {
        // Attempts come one after the other, so that nobody ever waits for the lock.
        let scan = &Mutex::new(scan);
        self.run(|_, deadline, _| async move { scan.lock().await.next(deadline).await }).await
    }

    /// A dedicated connection, on a cluster one to the master of `key`, waited for as long as the pool's settings say.
    pub(crate) async fn dedicated(&self, key: Option<&[u8]>) -> StateResult<Dedicated> {
        let conn = &self.door.conn;
        let lent = match key {
            Some(key) => conn.dedicated_for(key).await,
            None => conn.dedicated().await,
        };
        if lent.as_ref().is_err_and(|cause| cause.kind() == redis_conn::ErrorKind::Overloaded) {
            self.door.instruments.pool_timed_out(self.started.elapsed());
        }
        lent.map_err(|cause| error::from_conn(self.operation, cause))
    }

    /// Notes what a read found.
    pub(crate) fn found(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => {
                self.moved.hits += 1;
                self.moved.read += value.len() as u64;
            }
            None => self.moved.misses += 1,
        }
    }

    /// Notes bytes handed in to be written.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.moved.written += bytes as u64;
    }

    /// Ends it with its result.
    pub(crate) fn end<T>(mut self, result: StateResult<T>) -> StateResult<T> {
        self.record(Some(result.as_ref().err()));
        result
    }

    /// Ends it with the results of its items: it failed if one of them did.
    pub(crate) fn end_batch<T>(mut self, results: Vec<StateResult<T>>) -> Vec<StateResult<T>> {
        self.record(Some(results.iter().find_map(|result| result.as_ref().err())));
        results
    }

    fn translate(&self, reply: redis_conn::Result<Value>) -> StateResult<Value> {
        reply.map_err(|cause| error::from_conn(self.operation, cause))
    }

    /// When the next step begins.
    fn step(&self) -> Instant {
        if self.is_fresh.swap(false, Ordering::Relaxed) { self.started } else { Instant::now() }
    }

    fn is_durable(&self) -> bool {
        self.door.is_durable && self.operation.writes()
    }

    /// Tells the instruments; `None` when the caller dropped it.
    fn record(&mut self, outcome: Option<Option<&StateError>>) {
        self.is_over = true;
        self.door.instruments.record(&Finished {
            operation: self.operation,
            outcome,
            started: self.started,
            key: self.key,
            attempts: self.attempts.load(Ordering::Relaxed),
            moved: self.moved,
        });
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.record(None);
        }
    }
}

/// Sends a pipeline. Where no member ran, and all may do so later, the request as a whole counts as failed, so that it
/// can be repeated.
async fn send_all(conn: &Conn, pipeline: &Pipeline, deadline: Instant) -> redis_conn::Result<Replies> {
    let mut replies = conn.run_pipeline(pipeline, deadline).await?;
    let did_not_run = |reply: &redis_conn::Result<Value>| {
        reply.as_ref().is_err_and(|error| matches!(error.class(), Class::Refused | Class::WrongRole))
    };
    if replies.iter().all(did_not_run)
        && let Some(Err(first)) = replies.pop()
    {
        return Err(first);
    }
    Ok(replies)
}

/// Sends the commands of a pipeline one by one, so that they share the confirmation by the replicas.
async fn write_each(conn: &Conn, pipeline: &Pipeline, deadline: Instant) -> redis_conn::Result<Replies> {
    Ok(join_all(pipeline.cmd_iter().map(|command| conn.write(command, deadline))).await)
}

type Replies = Vec<redis_conn::Result<Value>>;
