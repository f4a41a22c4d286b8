//! One connection that many requests share: what waits to be written, and who waits for which replies.

use std::io;
use std::sync::Arc;
use std::task::{Context, Waker};

use parking_lot::Mutex;
use redis::Value;
use tokio::sync::oneshot;

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
    /// Wakes the pump, while it is idle.
    idle: Option<Waker>,
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
}

/// A request whose connection ended before the answer.
pub(crate) struct Lost {
    /// Bytes of it may have left this process.
    pub(crate) is_sent: bool,
    cause: Cause,
}

/// Who waits for the replies to one request.
pub(crate) struct Waiting {
    start: u64,
    skip: usize,
    /// `None` is one reply that is the answer itself; otherwise so many are collected.
    keep: Option<usize>,
    collected: Vec<Value>,
    answer: oneshot::Sender<Result<Value, Lost>>,
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

    /// Sends a request and waits for its answer, for as long as the connection lasts. Given up by its caller, it is
    /// sent and answered all the same.
    pub(crate) async fn send<R: Request>(&self, request: &R) -> Result<Value, Lost> {
        match self.enqueue(request) {
            Ok(answer) => answer.await.unwrap_or_else(|_| Err(Lost::unknown())),
            Err(known) => known,
        }
    }

    /// As [`send`](Self::send), for a request that is none of a caller's.
    ///
    /// # Errors
    /// `Unavailable` or `Protocol`. Its class does not say whether it was sent.
    pub(crate) async fn ask<R: Request>(&self, request: R) -> Result<R::Reply, Error> {
        let answer = self.send(&request).await.map_err(|lost| Lost { is_sent: false, ..lost })?;
        request.reply(answer)
    }

    /// The answer to come, or what is known already of a connection that is over.
    fn enqueue<R: Request>(&self, request: &R) -> Result<oneshot::Receiver<Result<Value, Lost>>, Result<Value, Lost>> {
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
        outbox.waiting.push(Waiting { start, skip, keep, collected, answer });
        let idle = outbox.idle.take();
        drop(outbox);
        if let Some(pump) = idle {
            pump.wake();
        }
        Ok(answered)
    }

    /// Moves what waits to `bytes`, which are empty, and to `waiting`. If there is nothing, the task of `context` is
    /// woken by the next request.
    pub(crate) fn take(
        &self,
        bytes: &mut Vec<u8>,
        waiting: &mut impl Extend<Waiting>,
        context: &Context<'_>,
    ) -> bool {
        let mut outbox = self.0.outbox.lock();
        if outbox.bytes.is_empty() {
            match &mut outbox.idle {
                Some(idle) => idle.clone_from(context.waker()),
                idle => *idle = Some(context.waker().clone()),
            }
            return false;
        }
        if bytes.capacity() > KEPT {
            *bytes = Vec::new();
        }
        std::mem::swap(bytes, &mut outbox.bytes);
        waiting.extend(outbox.waiting.drain(..));
        true
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.0.outbox.lock().bytes.is_empty()
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
        for waiting in taken.chain(waiting) {
            let lost = Lost { is_sent: waiting.start < written, cause: cause.clone() };
            // Whoever has gone does not want to know.
            let _ = waiting.answer.send(Err(lost));
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
        // Whoever has gone does not want it.
        let _ = self.answer.send(Ok(answer));
        None
    }
}

impl Lost {
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
        }
    }
}
