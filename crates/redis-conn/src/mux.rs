//! One connection that many requests share: what waits to be written, and who waits for which replies.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;
use redis::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::classify::{SendState, lost};
use crate::error::{Class, Error, ErrorKind};
use crate::request::Request;
use crate::stream::Traffic;

/// A buffer that has grown beyond this is not kept.
const KEPT: usize = 256 * 1024;

/// Sends requests over a connection that a [`Pump`](crate::pump::Pump) moves the bytes of.
#[derive(Clone)]
pub(crate) struct Mux(Arc<Shared>);

struct Shared {
    outbox: Mutex<Outbox>,
    pub(crate) traffic: Arc<Traffic>,
}

/// Requests that the pump has not taken yet.
#[derive(Default)]
struct Outbox {
    bytes: Vec<u8>,
    waiting: Vec<Waiting>,
    /// Bytes of all requests so far: the position of the next one in the stream.
    end: u64,
    pump: Option<Waker>,
    /// The pump has nothing to write, and sleeps until it is woken.
    is_idle: bool,
    /// No deadline of a request that is unanswered is before this; `None` is for ever.
    due: Option<Instant>,
    over: Option<Over>,
}

/// Why nothing is sent any more.
struct Over {
    cause: Cause,
    /// An error that the server closed the connection with, before it was asked anything.
    farewell: Option<Value>,
}

/// What ended a connection.
#[derive(Clone)]
pub(crate) enum Cause {
    Io(Arc<io::Error>),
    /// What was read is not RESP, or nothing was asked that it could be the answer to.
    Protocol,
    /// The connection goes on, but the request's deadline has come.
    Late,
}

/// A request that has no answer.
pub(crate) struct Lost {
    /// Bytes of it may have left this process.
    is_sent: bool,
    cause: Cause,
}

/// Who waits for the replies to one request.
pub(crate) struct Waiting {
    start: u64,
    skip: usize,
    /// `None` is one reply that is the answer itself; otherwise so many are collected.
    keep: Option<usize>,
    collected: Vec<Value>,
    deadline: Option<Instant>,
    /// `None` once it was told that it is late.
    answer: Option<oneshot::Sender<Answer>>,
}

type Answer = Result<Value, Lost>;

/// What there was to take.
pub(crate) enum Taken {
    Nothing,
    /// Requests that may wait.
    Waits,
    Requests,
}

/// What a request expects: replies that say nothing, and then its own.
#[derive(Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) skip: usize,
    pub(crate) keep: Option<usize>,
}

impl Expected {
    pub(crate) const ONE: Self = Self { skip: 0, keep: None };
}

impl Mux {
    pub(crate) fn new(traffic: Arc<Traffic>) -> Self {
        Self(Arc::new(Shared { outbox: Mutex::default(), traffic }))
    }

    pub(crate) fn traffic(&self) -> &Arc<Traffic> {
        &self.0.traffic
    }

    /// Sends a request and waits for its answer, at most until `deadline`. Given up by its caller, it is sent and
    /// answered all the same.
    pub(crate) async fn send<R: Request>(&self, request: &R, deadline: Option<Instant>) -> Answer {
        match self.enqueue(request, deadline) {
            Ok(answer) => answer.await.unwrap_or_else(|_| Err(Lost::unknown())),
            Err(known) => known,
        }
    }

    /// As [`send`](Self::send), for a request that is none of a caller's. Our callers bound the time.
    ///
    /// # Errors
    /// `Unavailable` or `Protocol`. Its class does not say whether it was sent.
    pub(crate) async fn ask<R: Request>(&self, request: R) -> Result<R::Reply, Error> {
        let answer = self.send(&request, None).await.map_err(|lost| Lost { is_sent: false, ..lost })?;
        request.reply(answer)
    }

    /// The answer to come, or what is known already of a connection that is over.
    fn enqueue<R: Request>(
        &self,
        request: &R,
        deadline: Option<Instant>,
    ) -> Result<oneshot::Receiver<Answer>, Answer> {
        let (answer, answered) = oneshot::channel();
        let Expected { skip, keep } = request.expects();
        let mut outbox = self.0.outbox.lock();
        if let Some(over) = &mut outbox.over {
            let lost = Lost { is_sent: false, cause: over.cause.clone() };
            return Err(over.farewell.take().ok_or(lost));
        }
        let before = outbox.bytes.len();
        request.write_to(&mut outbox.bytes);
        let start = outbox.end;
        outbox.end += (outbox.bytes.len() - before) as u64;
        let collected = Vec::with_capacity(keep.unwrap_or(0));
        outbox.waiting.push(Waiting { start, skip, keep, collected, deadline, answer: Some(answer) });
        let is_sooner = deadline.is_some_and(|deadline| outbox.due.is_none_or(|due| deadline < due));
        if is_sooner {
            outbox.due = deadline;
        }
        let wakes = std::mem::take(&mut outbox.is_idle) || is_sooner;
        let pump = if wakes { outbox.pump.clone() } else { None };
        drop(outbox);
        if let Some(pump) = pump {
            pump.wake();
        }
        Ok(answered)
    }

    /// Whom to wake when there is something for the pump to do.
    pub(crate) fn register(&self, pump: &Waker) {
        self.0.outbox.lock().pump = Some(pump.clone());
    }

    /// Moves what waits to `bytes`, which are empty, and to `waiting`, unless it `may_wait`. If there is nothing, the
    /// next request wakes the pump.
    pub(crate) fn take(
        &self,
        bytes: &mut Vec<u8>,
        waiting: &mut impl Extend<Waiting>,
        may_wait: bool,
    ) -> Taken {
        let mut outbox = self.0.outbox.lock();
        outbox.is_idle = outbox.bytes.is_empty();
        if outbox.is_idle {
            return Taken::Nothing;
        }
        if may_wait {
            return Taken::Waits;
        }
        if bytes.capacity() > KEPT {
            *bytes = Vec::new();
        }
        std::mem::swap(bytes, &mut outbox.bytes);
        waiting.extend(outbox.waiting.drain(..));
        Taken::Requests
    }

    /// When to look for late requests.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.0.outbox.lock().due
    }

    /// Tells those whose deadline has come. Requests that have not been `taken` are taken back.
    pub(crate) fn expire(&self, taken: &mut VecDeque<Waiting>, now: Instant) {
        taken.iter_mut().filter(|waiting| waiting.is_late(now)).for_each(|late| late.fail(true, Cause::Late));
        let mut outbox = self.0.outbox.lock();
        if outbox.waiting.iter().any(|waiting| waiting.is_late(now)) {
            outbox.take_back(now);
        }
        let unanswered = taken.iter().chain(&outbox.waiting).filter(|waiting| waiting.answer.is_some());
        outbox.due = unanswered.filter_map(|waiting| waiting.deadline).min();
    }

    /// Refuses requests from now on, and tells those that wait, and those `taken`, what became of them.
    pub(crate) fn end(&self, cause: &Cause, farewell: Option<Value>, taken: impl Iterator<Item = Waiting>) {
        let waiting = {
            let mut outbox = self.0.outbox.lock();
            // The first word counts: a pump that has ended is dropped after that.
            outbox.over.get_or_insert_with(|| Over { cause: cause.clone(), farewell });
            outbox.bytes = Vec::new();
            std::mem::take(&mut outbox.waiting)
        };
        let written = self.0.traffic.written();
        for mut waiting in taken.chain(waiting) {
            waiting.fail(waiting.start < written, cause.clone());
        }
    }
}

impl Outbox {
    /// Takes out requests that are late.
    fn take_back(&mut self, now: Instant) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut start = self.end - bytes.len() as u64;
        let mut rest = &bytes[..];
        let mut waiting = std::mem::take(&mut self.waiting).into_iter().peekable();
        self.end = start;
        while let Some(mut member) = waiting.next() {
            let end = waiting.peek().map_or(start + rest.len() as u64, |next| next.start);
            let (own, others) = rest.split_at((end - start) as usize);
            (rest, start) = (others, end);
            if member.is_late(now) {
                member.fail(false, Cause::Late);
                continue;
            }
            member.start = self.end;
            self.end += own.len() as u64;
            self.bytes.extend_from_slice(own);
            self.waiting.push(member);
        }
    }
}

impl Waiting {
    /// Takes the next reply; gives itself back while more are to come.
    pub(crate) fn reply(mut self, reply: Value) -> Option<Self> {
        if self.skip > 0 {
            self.skip -= 1;
            return Some(self);
        }
        let answer = match self.keep {
            None => reply,
            Some(keep) => {
                self.collected.push(reply);
                if self.collected.len() < keep {
                    return Some(self);
                }
                Value::Array(self.collected)
            }
        };
        // Whoever is late or has gone does not want it.
        let _ = self.answer.take().map(|caller| caller.send(Ok(answer)));
        None
    }

    fn is_late(&self, now: Instant) -> bool {
        self.answer.is_some() && self.deadline.is_some_and(|deadline| deadline <= now)
    }

    fn fail(&mut self, is_sent: bool, cause: Cause) {
        // Whoever is late or has gone does not want to know.
        let _ = self.answer.take().map(|caller| caller.send(Err(Lost { is_sent, cause })));
    }
}

impl Lost {
    /// Whether an answer will come all the same, if the connection lasts.
    pub(crate) fn is_owed(&self) -> bool {
        self.is_sent && matches!(self.cause, Cause::Late)
    }

    /// The pump is gone without a word, which only a panic does.
    fn unknown() -> Self {
        Self { is_sent: true, cause: Cause::from(io::Error::from(io::ErrorKind::ConnectionAborted)) }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl From<Lost> for Error {
    fn from(Lost { is_sent, cause }: Lost) -> Self {
        let state = if is_sent { SendState::Unknown } else { SendState::NotSent };
        match cause {
            Cause::Io(cause) => lost(state).with_source(cause),
            Cause::Protocol if is_sent => {
                Self::new(ErrorKind::Protocol, Class::Ambiguous, "the reply is not valid RESP")
            }
            Cause::Protocol => Self::not_sent(ErrorKind::Protocol, "the server does not speak RESP"),
            Cause::Late if is_sent => {
                let context = "waiting for the answer; the command may have run";
                Self::new(ErrorKind::Timeout, Class::Ambiguous, context)
            }
            Cause::Late => Self::not_sent(ErrorKind::Timeout, "waiting to be written; nothing was sent"),
        }
    }
}
