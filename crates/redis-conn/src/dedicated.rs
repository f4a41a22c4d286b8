//! One connection lent to one caller.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Arg, Cmd, Pipeline, RedisError, RedisFuture, Value};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::dial::Dialed;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::guard::{alters_connection, refuse_subscribing};
use crate::handshake::auth;
use crate::mux::Lost;
use crate::pool::Pool;
use crate::reauth::Rotations;
use crate::reply;
use crate::request::{Piped, Request, submit};
use crate::setup::Setup;

/// A wait without end, as the server means it by a timeout of 0.
const FOR_EVER: Duration = Duration::from_secs(86_400 * 365 * 30);

/// A connection of the pool, with what is known about its state.
pub(crate) struct Session {
    dialed: Dialed,
    endpoint: Arc<Endpoint>,
    rotations: Rotations,
    pub(crate) epoch: u64,
    pub(crate) opened: Instant,
    pub(crate) idle_since: Instant,
    /// A request is under way, or was given up unanswered.
    is_owed: bool,
    is_watching: bool,
    is_in_multi: bool,
    /// Something was changed on the connection that only closing it undoes.
    is_altered: bool,
}

impl Session {
    pub(crate) fn new(dialed: Dialed, endpoint: Arc<Endpoint>, rotations: Rotations, epoch: u64) -> Self {
        let now = Instant::now();
        Self {
            dialed,
            endpoint,
            rotations,
            epoch,
            opened: now,
            idle_since: now,
            is_owed: false,
            is_watching: false,
            is_in_multi: false,
            is_altered: false,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.dialed.traffic.is_closed() && !self.dialed.driver.is_finished()
    }

    /// Whether the next caller finds it as the first one did.
    pub(crate) fn is_reusable(&self) -> bool {
        !(self.is_owed || self.is_watching || self.is_in_multi || self.is_altered)
    }

    fn note(&mut self, command: &Cmd) {
        let mut arguments = command.args_iter();
        let Some(Arg::Simple(name)) = arguments.next() else { return };
        match name.to_ascii_uppercase().as_slice() {
            b"WATCH" => self.is_watching = true,
            b"UNWATCH" => self.is_watching = false,
            b"MULTI" => self.is_in_multi = true,
            b"EXEC" | b"DISCARD" => (self.is_watching, self.is_in_multi) = (false, false),
            _ => self.is_altered |= alters_connection(command),
        }
    }

    /// Presents rotated credentials before the next command; refused, the connection goes on as it was. Within
    /// `MULTI` it has to wait, because commands are only queued there.
    async fn renew(&mut self, setup: &Setup, deadline: Instant) {
        if self.is_in_multi || !self.rotations.are_due() {
            return;
        }
        let outcome = self.authenticate(setup, deadline).await;
        self.rotations.settle(&outcome);
        if outcome.is_ok() {
            setup.publish(Event::Reauthenticated { endpoint: Arc::clone(&self.endpoint) });
        }
    }

    async fn authenticate(&mut self, setup: &Setup, deadline: Instant) -> Result<()> {
        let asking = timeout_at(deadline, setup.dialer.ask_credentials()).await;
        let late = || Error::not_sent(ErrorKind::Timeout, "asking for rotated credentials");
        let Some(credentials) = asking.map_err(|_| late())?? else { return Ok(()) };
        reply::value(self.exchange(&auth(&credentials), deadline).await?).map(drop)
    }

    async fn exchange<R: Request>(&mut self, request: R, deadline: Instant) -> Result<R::Reply> {
        let answer = submit(&self.dialed.mux, &request, deadline)?;
        self.is_owed = true;
        let answer = answer.await;
        self.is_owed = answer.as_ref().is_err_and(Lost::is_owed);
        request.reply(answer?)
    }
}

/// A connection of its own, for blocking commands, `WATCH` and other exclusive work; from
/// [`Conn::dedicated`](crate::Conn::dedicated).
///
/// It goes back to the pool on drop, and is closed instead when a use was cancelled or timed out, a `WATCH` or
/// `MULTI` is open, or the connection was altered (`SELECT`, `CLIENT`, `RESET` ...).
pub struct Dedicated {
    /// Both are taken by drop only.
    lent: Option<(Session, OwnedSemaphorePermit)>,
    pool: Arc<Pool>,
}

impl Dedicated {
    pub(crate) fn new(session: Session, pool: Arc<Pool>, permit: OwnedSemaphorePermit) -> Self {
        Self { lent: Some((session, permit)), pool }
    }

    /// Sends a command and waits for its answer, at most until `deadline`; allow a blocking command for as long
    /// as it may block.
    ///
    /// # Errors
    /// As [`Conn::run`](crate::Conn::run); of the commands refused there, only those that subscribe (use
    /// [`Conn::subscribe`](crate::Conn::subscribe)), `MONITOR` and `SYNC` are.
    pub async fn run(&mut self, command: &Cmd, deadline: Instant) -> Result<Value> {
        reply::value(self.send(command, deadline).await?)
    }

    /// Sends a pipeline and returns one result per member. An atomic one ends a `WATCH`.
    ///
    /// # Errors
    /// As [`Conn::run_pipeline`](crate::Conn::run_pipeline); `Aborted` when a watched key changed.
    pub async fn run_pipeline(
        &mut self,
        pipeline: &Pipeline,
        deadline: Instant,
    ) -> Result<Vec<Result<Value>>> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let replies = self.send_pipeline(Piped::new(pipeline), deadline).await?;
        reply::members(pipeline, replies.into_iter().map(Ok).collect())
    }

    /// Whether the connection is still there; a use finds out for sure.
    pub fn is_open(&self) -> bool {
        self.lent.as_ref().is_some_and(|(session, _)| session.is_open())
    }

    async fn send(&mut self, command: &Cmd, deadline: Instant) -> Result<Value> {
        refuse_subscribing(command)?;
        let setup = Arc::clone(&self.pool.link().setup);
        let session = self.session();
        session.renew(&setup, deadline).await;
        session.note(command);
        let reply = session.exchange(command, deadline).await?;
        let epoch = session.epoch;
        self.pool.inspect(epoch, <&Cmd as Request>::errors(&reply));
        Ok(reply)
    }

    async fn send_pipeline(&mut self, pipeline: Piped<'_>, deadline: Instant) -> Result<Vec<Value>> {
        pipeline.pipeline.cmd_iter().try_for_each(refuse_subscribing)?;
        let setup = Arc::clone(&self.pool.link().setup);
        let session = self.session();
        session.renew(&setup, deadline).await;
        pipeline.pipeline.cmd_iter().for_each(|command| session.note(command));
        let ends_watch = pipeline.pipeline.is_transaction();
        let replies = session.exchange(pipeline, deadline).await?;
        if ends_watch {
            session.is_watching = false;
        }
        let epoch = session.epoch;
        self.pool.inspect(epoch, <Piped<'_> as Request>::errors(&replies));
        Ok(replies)
    }

    fn session(&mut self) -> &mut Session {
        let (session, _) = self.lent.as_mut().expect("only drop takes the session away");
        session
    }

    fn deadline_of<'c>(&self, commands: impl Iterator<Item = &'c Cmd>) -> Instant {
        let blocking =
            commands.map(blocking_time).fold(Duration::ZERO, |sum, each| (sum + each).min(FOR_EVER));
        Instant::now() + self.pool.link().setup.config.command_timeout + blocking
    }
}

impl Drop for Dedicated {
    fn drop(&mut self) {
        if let Some((session, permit)) = self.lent.take() {
            self.pool.give_back(session, permit);
        }
    }
}

/// Each command within `command_timeout`, to which a blocking command's own timeout is added.
impl redis::aio::ConnectionLike for Dedicated {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let deadline = self.deadline_of(std::iter::once(cmd));
        Box::pin(async move { self.send(cmd, deadline).await.map_err(RedisError::from) })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let deadline = self.deadline_of(pipeline.cmd_iter());
        let piped = Piped { pipeline, offset, count };
        Box::pin(async move { self.send_pipeline(piped, deadline).await.map_err(RedisError::from) })
    }

    fn get_db(&self) -> i64 {
        i64::from(self.pool.link().setup.config.db)
    }
}

impl fmt::Debug for Dedicated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dedicated").field("is_open", &self.is_open()).finish_non_exhaustive()
    }
}

/// How long a command may block by its own timeout argument; zero for one that does not block.
fn blocking_time(command: &Cmd) -> Duration {
    let arguments: Vec<&[u8]> = command
        .args_iter()
        .filter_map(|argument| if let Arg::Simple(bytes) = argument { Some(bytes) } else { None })
        .collect();
    let Some(name) = arguments.first() else { return Duration::ZERO };
    let (argument, unit) = match name.to_ascii_uppercase().as_slice() {
        b"BLPOP" | b"BRPOP" | b"BRPOPLPUSH" | b"BLMOVE" | b"BZPOPMIN" | b"BZPOPMAX" => {
            (arguments.last(), 1.0)
        }
        b"BLMPOP" | b"BZMPOP" => (arguments.get(1), 1.0),
        b"WAIT" | b"WAITAOF" => (arguments.last(), 0.001),
        b"XREAD" | b"XREADGROUP" => {
            let at = arguments.iter().position(|argument| argument.eq_ignore_ascii_case(b"BLOCK"));
            (at.and_then(|at| arguments.get(at + 1)), 0.001)
        }
        _ => (None, 0.0),
    };
    let number = argument.and_then(|text| std::str::from_utf8(text).ok()?.parse::<f64>().ok());
    match number {
        Some(0.0) => FOR_EVER,
        Some(number) => Duration::try_from_secs_f64(number * unit).unwrap_or(Duration::ZERO).min(FOR_EVER),
        None => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_of_a_blocking_command_is_read_from_its_arguments() {
        let time = |line: &str| {
            let mut words = line.split(' ');
            let mut command = redis::cmd(words.next().expect("name"));
            words.for_each(|word| {
                command.arg(word);
            });
            blocking_time(&command)
        };
        assert_eq!(time("BLPOP a b 1.5"), Duration::from_millis(1500));
        assert_eq!(time("blmpop 2 1 k LEFT"), Duration::from_secs(2));
        assert_eq!(time("XREAD BLOCK 250 STREAMS s $"), Duration::from_millis(250));
        assert_eq!(time("WAIT 1 300"), Duration::from_millis(300));
        assert_eq!(time("BLPOP k 0"), FOR_EVER);
        for line in ["GET k", "XREAD STREAMS s 0", "BLPOP k nonsense", "BLPOP k -1"] {
            assert_eq!(time(line), Duration::ZERO, "{line}");
        }
    }
}
