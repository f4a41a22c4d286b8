//! The task that owns a connection's stream: writes what waits, reads what comes, and says when it is over.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use redis::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::launch::{Apart, Output};
use crate::mux::{Cause, Mux, Owed, Taken};
use crate::outbox::Requests;
use crate::resp::{Decoder, Malformed};
use crate::stream::BoxStream;

#[cfg(test)]
mod tests;

/// Bytes read at a time.
const READ_BUFFER: usize = 64 * 1024;

/// Operations that are answered in one turn of the pump. Where more answers have come, the tasks of the first run, and
/// what they send goes out before the next are told: so the server works on requests of some tasks while others run,
/// instead of waiting for all of them, and they for it.
const TURN: usize = 64;

/// For operations with commands of their own a turn is a quarter of what is in flight, and no less than this: each of them
/// is more work for the server than one that shares a command, so that fewer keep it busy.
const LEAST: usize = 16;

/// Moves the bytes between a [`Mux`] and its stream; completes when the connection is over.
///
/// A task that sends wakes the pump, which tokio then runs before the other tasks that are ready, so that each request
/// would get a system call of its own. While several operations are in flight, a write therefore lets the tasks that
/// are ready go first, once; what they send travels with it.
pub(crate) struct Pump {
    stream: BoxStream,
    mux: Mux,
    /// What was taken from the mux; empty between two turns.
    taken: Requests,
    output: Output,
    is_put_off: bool,
    is_flushed: bool,
    input: Box<[u8]>,
    /// What of the input was not looked at yet.
    unread: Range<usize>,
    /// There is, after a turn.
    has_more: bool,
    decoder: Decoder,
    replies: Replies,
    /// One for all requests, made by the first that has a deadline.
    alarm: Option<Pin<Box<Sleep>>>,
    /// The one the mux knows of.
    waker: Option<Waker>,
}

/// Who waits for what is read.
#[derive(Default)]
struct Replies {
    owed: VecDeque<Owed>,
    apart: Apart,
    was_asked: bool,
    /// An error that came before anything was asked.
    early: Option<Value>,
}

impl Pump {
    pub(crate) fn new(stream: BoxStream, mux: Mux) -> Self {
        Self {
            stream,
            mux,
            taken: Requests::default(),
            output: Output::default(),
            is_put_off: false,
            is_flushed: true,
            input: vec![0; READ_BUFFER].into(),
            unread: 0..0,
            has_more: false,
            decoder: Decoder::default(),
            replies: Replies::default(),
            alarm: None,
            waker: None,
        }
    }

    /// Reads and writes whatever the other of the two can do: a peer may stop reading until it has been read from.
    fn turn(&mut self, context: &mut Context<'_>) -> Result<(), Cause> {
        if self.has_more {
            self.write(context)?;
        }
        self.read(context)?;
        if self.has_more {
            // A task that wakes itself goes to the end of the line.
            context.waker().wake_by_ref();
            return Ok(());
        }
        self.write(context)
    }

    /// Reads what has come, and hands out a turn of it.
    fn read(&mut self, context: &mut Context<'_>) -> Result<(), Cause> {
        let weight = TURN / (self.mux.traffic().in_flight() / 4).clamp(LEAST, TURN);
        let mut answered = 0;
        loop {
            let mut bytes = &self.input[self.unread.clone()];
            while answered < TURN
                && let Some(value) = self.decoder.decode(&mut bytes)?
            {
                let told = self.replies.take(value)?;
                answered += if told == 1 { weight } else { told };
            }
            self.unread.start = self.unread.end - bytes.len();
            self.has_more = !self.unread.is_empty();
            if self.has_more {
                return Ok(());
            }
            self.check()?;
            let mut buffer = ReadBuf::new(&mut self.input);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Pending => return Ok(()),
                Poll::Ready(outcome) => outcome?,
            }
            let filled = buffer.filled().len();
            if filled == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.unread = 0..filled;
            self.mux.traffic().note_read(filled);
        }
    }

    /// Writes what waits.
    fn write(&mut self, context: &mut Context<'_>) -> Result<(), Cause> {
        while self.has_output(context)? {
            self.check()?;
            match Pin::new(&mut self.stream).poll_write(context, self.output.rest()) {
                Poll::Pending => return Ok(()),
                Poll::Ready(outcome) => {
                    let accepted = outcome?;
                    if accepted == 0 {
                        return Err(io::Error::from(io::ErrorKind::WriteZero).into());
                    }
                    self.mux.traffic().note_written(accepted);
                    self.output.note_written(accepted);
                    self.is_flushed = false;
                }
            }
        }
        Ok(())
    }

    /// Whether there is something to write now; if not, the task is woken when there is.
    fn has_output(&mut self, context: &mut Context<'_>) -> Result<bool, Cause> {
        while self.output.rest().is_empty() {
            if !self.is_flushed {
                self.is_flushed = Pin::new(&mut self.stream).poll_flush(context)?.is_ready();
            }
            let may_wait = !self.is_put_off && !self.has_more && self.mux.traffic().is_crowded();
            let taken = self.mux.take(&mut self.taken, may_wait);
            self.is_put_off = taken == Taken::Waits;
            match taken {
                Taken::Nothing => return Ok(false),
                Taken::Waits => {
                    // A task that wakes itself goes to the end of the line.
                    context.waker().wake_by_ref();
                    return Ok(false);
                }
                Taken::Requests => {
                    let Replies { owed, apart, .. } = &mut self.replies;
                    self.output.launch(&mut self.taken, owed, apart, self.mux.terms());
                }
            }
            self.replies.hand_out_early()?;
        }
        Ok(true)
    }

    /// Tells requests that they are late, when the time has come.
    fn keep_deadlines(&mut self, context: &mut Context<'_>) {
        while let Some(due) = self.mux.due() {
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if alarm.deadline() != due {
                alarm.as_mut().reset(due);
            }
            if alarm.as_mut().poll(context).is_pending() {
                return;
            }
            self.mux.expire(&mut self.replies.owed, Instant::now());
        }
    }

    fn register(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.mux.register(waker);
            self.waker = Some(waker.clone());
        }
    }

    fn check(&self) -> Result<(), Cause> {
        if self.mux.traffic().is_severed() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "severed by the supervisor").into());
        }
        Ok(())
    }

    fn end(&mut self, cause: &Cause) {
        self.mux.traffic().close();
        self.mux.end(cause, self.replies.early.take(), self.replies.owed.drain(..));
    }
}

impl Future for Pump {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let pump = &mut *self;
        pump.register(context.waker());
        match pump.turn(context) {
            Ok(()) => {
                pump.keep_deadlines(context);
                Poll::Pending
            }
            Err(cause) => {
                pump.end(&cause);
                Poll::Ready(())
            }
        }
    }
}

/// Ended from outside, it tells those who wait, too.
impl Drop for Pump {
    fn drop(&mut self) {
        self.end(&io::Error::from(io::ErrorKind::ConnectionAborted).into());
    }
}

impl Replies {
    /// Takes a reply; says how many operations it answers.
    fn take(&mut self, value: Value) -> Result<usize, Cause> {
        // Nobody subscribes on this connection; what is pushed all the same is for nobody.
        if matches!(value, Value::Push { .. }) {
            return Ok(0);
        }
        match (self.owed.front_mut(), value) {
            (Some(first), value) => {
                let answered = first.reply(value);
                if first.is_over()
                    && let Some(Owed::Together { flight, .. }) = self.owed.pop_front()
                {
                    self.apart.note(flight.kind(), flight.share_apart());
                }
                Ok(answered)
            }
            // A server that has no place for us says so before it closes the connection.
            (None, error @ Value::ServerError(_)) if !self.was_asked && self.early.is_none() => {
                self.early = Some(error);
                Ok(0)
            }
            (None, _) => Err(Cause::Protocol),
        }
    }

    /// The first to ask gets what was said before.
    fn hand_out_early(&mut self) -> Result<(), Cause> {
        if self.owed.is_empty() {
            return Ok(());
        }
        self.was_asked = true;
        self.early.take().map_or(Ok(()), |early| self.take(early).map(|_answered| ()))
    }
}

impl From<Malformed> for Cause {
    fn from(_: Malformed) -> Self {
        Self::Protocol
    }
}
