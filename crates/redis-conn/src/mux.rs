//! One connection that many requests share: what callers put into it, and what they are told.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use parking_lot::Mutex;
use redis::Value;
use tokio::time::Instant;

use crate::classify::{SendState, lost};
use crate::endpoint::Endpoint;
use crate::error::{Class, Error, ErrorKind};
use crate::group::Flight;
use crate::outbox::{Outbox, Over, Requests, Waiting};
use crate::request::Request;
use crate::setup::Setup;
use crate::slot::{Pending, Slot};
use crate::stream::Traffic;
use crate::typed::Typed;

/// Sends requests over a connection that a [`Pump`](crate::pump::Pump) moves the bytes of.
#[derive(Clone)]
pub(crate) struct Mux(Arc<Shared>);

struct Shared {
    outbox: Mutex<Outbox>,
    traffic: Arc<Traffic>,
    terms: OnceLock<Terms>,
}

/// How operations may travel together.
pub(crate) struct Terms {
    pub(crate) setup: Arc<Setup>,
    pub(crate) endpoint: Arc<Endpoint>,
}

/// What ended a connection, or left a request without an answer.
#[derive(Clone)]
pub(crate) enum Cause {
    Io(Arc<io::Error>),
    /// What was read is not RESP, or nothing was asked that it could be the answer to.
    Protocol,
    /// The connection goes on, but the request's deadline has come.
    Late,
    /// The gate let nothing through to the endpoint.
    Rejected,
    /// The command that it shared with others says nothing about it: it has to be sent by itself.
    Apart,
}

/// A request that has no answer.
pub(crate) struct Lost {
    /// Bytes of it may have left this process.
    is_sent: bool,
    cause: Cause,
}

pub(crate) type Answer = Result<Value, Lost>;

/// Who waits for an answer. Dropped, it tells him that there will be none.
pub(crate) struct Caller(Option<Arc<Slot<Answer>>>);

/// What there was to take.
#[derive(PartialEq)]
pub(crate) enum Taken {
    Nothing,
    /// Requests that may wait.
    Waits,
    Requests,
}

/// What was sent and is not answered.
pub(crate) enum Owed {
    /// `start` is the position of its first byte in the stream.
    Alone {
        start: u64,
        waiting: Waiting,
    },
    Together {
        start: u64,
        flight: Flight,
    },
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
        Self(Arc::new(Shared { outbox: Mutex::default(), traffic, terms: OnceLock::new() }))
    }

    pub(crate) fn traffic(&self) -> &Arc<Traffic> {
        &self.0.traffic
    }

    /// From here on operations may travel together.
    pub(crate) fn open(&self, terms: Terms) {
        let _ = self.0.terms.set(terms);
    }

    pub(crate) fn terms(&self) -> Option<&Terms> {
        self.0.terms.get()
    }

    /// Sends a request. The answer comes by `deadline`; given up by its caller, it is sent and answered all the same.
    pub(crate) fn send<R: Request>(&self, request: &R, deadline: Option<Instant>) -> Pending<Answer> {
        self.put(deadline, |requests, caller| requests.push(request, deadline, caller))
    }

    /// Sends an operation together with others. Given up by its caller before that, it is not sent.
    pub(crate) fn join<T: Typed>(&self, operation: &T, limit: usize, deadline: Instant) -> Pending<Answer> {
        self.put(Some(deadline), |requests, caller| requests.join(operation, limit, deadline, caller))
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
    fn put(&self, deadline: Option<Instant>, put: impl FnOnce(&mut Requests, Caller)) -> Pending<Answer> {
        let (caller, answer) = Caller::new();
        let mut outbox = self.0.outbox.lock();
        if let Some(over) = &mut outbox.over {
            let lost = Lost::new(false, over.cause.clone());
            caller.tell(over.farewell.take().ok_or(lost));
            return answer;
        }
        put(&mut outbox.requests, caller);
        let pump = outbox.note(deadline);
        drop(outbox);
        if let Some(pump) = pump {
            pump.wake();
        }
        answer
    }

    /// Whom to wake when there is something for the pump to do.
    pub(crate) fn register(&self, pump: &Waker) {
        self.0.outbox.lock().pump = Some(pump.clone());
    }

    /// Exchanges what waits for `empty` requests, unless it `may_wait`. If there is nothing, the next request wakes the
    /// pump.
    pub(crate) fn take(&self, empty: &mut Requests, may_wait: bool) -> Taken {
        let mut outbox = self.0.outbox.lock();
        outbox.is_idle = outbox.requests.is_empty();
        if outbox.is_idle {
            return Taken::Nothing;
        }
        if may_wait {
            return Taken::Waits;
        }
        std::mem::swap(empty, &mut outbox.requests);
        Taken::Requests
    }

    /// When to look for late requests.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.0.outbox.lock().due
    }

    /// Tells those whose deadline has come. Requests that the pump has not taken are taken back.
    pub(crate) fn expire(&self, owed: &mut VecDeque<Owed>, now: Instant) {
        owed.iter_mut().for_each(|owed| owed.expire(now));
        let mut outbox = self.0.outbox.lock();
        outbox.requests.take_back(now);
        outbox.due = owed.iter().filter_map(Owed::due).chain(outbox.requests.due()).min();
    }

    /// Refuses requests from now on, and tells those that wait, and those that are `owed` an answer, what became of
    /// them.
    pub(crate) fn end(&self, cause: &Cause, farewell: Option<Value>, owed: impl Iterator<Item = Owed>) {
        let waiting = {
            let mut outbox = self.0.outbox.lock();
            // The first word counts: a pump that has ended is dropped after that.
            outbox.over.get_or_insert_with(|| Over { cause: cause.clone(), farewell });
            std::mem::take(&mut outbox.requests)
        };
        let written = self.0.traffic.written();
        owed.for_each(|mut owed| owed.fail(written, cause));
        waiting.fail(cause);
    }
}

impl Owed {
    /// Takes the next reply; says how many operations it answers.
    pub(crate) fn reply(&mut self, reply: Value) -> usize {
        match self {
            Self::Alone { waiting, .. } => waiting.reply(reply),
            Self::Together { flight, .. } => flight.reply(reply),
        }
    }

    /// Whether no more replies are to come.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Alone { waiting, .. } => waiting.is_over(),
            Self::Together { flight, .. } => flight.is_over(),
        }
    }

    fn expire(&mut self, now: Instant) {
        match self {
            Self::Alone { waiting, .. } if waiting.is_late(now) => waiting.fail(true, Cause::Late),
            Self::Alone { .. } => {}
            Self::Together { flight, .. } => flight.expire(now),
        }
    }

    fn due(&self) -> Option<Instant> {
        match self {
            Self::Alone { waiting, .. } => waiting.due(),
            Self::Together { flight, .. } => flight.due(),
        }
    }

    fn fail(&mut self, written: u64, cause: &Cause) {
        match self {
            Self::Alone { start, waiting } => waiting.fail(*start < written, cause.clone()),
            Self::Together { start, flight } => flight.fail(*start < written, cause),
        }
    }
}

impl Caller {
    /// A caller, and the answer that it waits for.
    pub(crate) fn new() -> (Self, Pending<Answer>) {
        let (slot, pending) = Slot::new();
        (Self(Some(slot)), pending)
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.as_ref().is_none_or(|slot| slot.is_over())
    }

    pub(crate) fn tell(mut self, answer: Answer) {
        if let Some(slot) = self.0.take() {
            slot.finish(|_| answer);
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            slot.finish(|_| Err(Lost::unknown()));
        }
    }
}

impl Lost {
    pub(crate) fn new(is_sent: bool, cause: Cause) -> Self {
        Self { is_sent, cause }
    }

    /// Whether it has to be sent by itself; it did not run, or may run again.
    pub(crate) fn is_apart(&self) -> bool {
        matches!(self.cause, Cause::Apart)
    }

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
            Cause::Rejected => {
                Self::not_sent(ErrorKind::Rejected, "the endpoint gate refused; nothing was sent")
            }
            // Whoever is told that sends it by itself.
            Cause::Apart => Self::not_sent(ErrorKind::Protocol, "its group had no answer for it"),
            Cause::Late => Self::not_sent(ErrorKind::Timeout, "waiting to be written; nothing was sent"),
        }
    }
}
