//! Operations that wait for a batch, and how their callers get their answers.
//!
//! An operation costs one allocation here and no timer of its own: the deadlines of those that are queued are kept
//! by one task for each queue, and of those that were sent by the loop that sent them.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use parking_lot::Mutex;
use redis::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::error::{Class, Error, ErrorKind, Result};
use crate::slot::{Pending, Slot};

#[cfg(test)]
mod tests;

/// What waits to be sent, in order.
pub(crate) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    filled: Notify,
    /// The earliest deadline has become earlier.
    sooner: Notify,
    limit: usize,
}

struct Waiting<T> {
    members: Vec<Member<T>>,
    /// No deadline of a member is before this; `None` is for ever.
    due: Option<Instant>,
    is_closed: bool,
}

/// One operation. Dropped without an answer, it tells its caller that nobody will send it any more.
pub(crate) struct Member<T> {
    pub(crate) payload: T,
    deadline: Instant,
    slot: Arc<Slot<Result<Value>>>,
}

impl<T> Queue<T> {
    /// A queue for at most `max_wanted` operations whose callers still wait.
    pub(crate) fn new(max_wanted: usize) -> Self {
        Self {
            waiting: Mutex::new(Waiting { members: Vec::new(), due: None, is_closed: false }),
            filled: Notify::new(),
            sooner: Notify::new(),
            // Those whose callers have gone are cleared out in bulk, so that each costs little.
            limit: max_wanted * 2,
        }
    }

    /// Queues an operation.
    pub(crate) fn push(&self, payload: T, deadline: Instant) -> Pending<Result<Value>> {
        let (slot, answer) = Slot::new();
        let member = Member { payload, deadline, slot };
        let mut waiting = self.waiting.lock();
        if waiting.is_closed {
            // Dropping it tells its caller.
            return answer;
        }
        if waiting.members.len() >= self.limit {
            waiting.members.retain(|member| !member.slot.is_over());
        }
        waiting.members.push(member);
        let is_first = waiting.members.len() == 1;
        let is_sooner = waiting.due.is_none_or(|due| deadline < due);
        if is_sooner {
            waiting.due = Some(deadline);
        }
        drop(waiting);
        if is_first {
            self.filled.notify_one();
        }
        if is_sooner {
            self.sooner.notify_one();
        }
        answer
    }

    /// Refuses operations from now on, and tells those that wait.
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.is_closed = true;
        waiting.members.clear();
    }

    /// Waits for members, puts up to `limit` that may still be sent into `batch`, and says when the last of them
    /// is due.
    pub(crate) async fn next(&self, batch: &mut Vec<Member<T>>, limit: usize) -> Instant {
        loop {
            self.filled.notified().await;
            // The first to queue has woken us; others are about to.
            after_ready_tasks().await;
            batch.clear();
            self.take(batch, limit);
            let now = Instant::now();
            batch.retain(|member| member.deadline > now && member.slot.start());
            if let Some(last) = batch.iter().map(|member| member.deadline).max() {
                return last;
            }
        }
    }

    /// Answers members that are still queued at their deadline. To be polled as long as the queue is used.
    pub(crate) async fn keep_deadlines(&self) {
        loop {
            let due = self.waiting.lock().due;
            let sooner = self.sooner.notified();
            match due {
                None => sooner.await,
                Some(due) => {
                    if timeout_at(due, sooner).await.is_err() {
                        let mut waiting = self.waiting.lock();
                        waiting.due = expire(&waiting.members, Instant::now());
                        waiting.members.retain(|member| !member.slot.is_over());
                    }
                }
            }
        }
    }

    fn take(&self, batch: &mut Vec<Member<T>>, limit: usize) {
        let mut waiting = self.waiting.lock();
        if waiting.members.len() <= limit {
            batch.append(&mut waiting.members);
        } else {
            batch.extend(waiting.members.drain(..limit));
            self.filled.notify_one();
        }
    }
}

impl<T> Member<T> {
    /// Hands out the answer; a caller that has gone does not want it.
    pub(crate) fn answer(self, answer: Result<Value>) {
        self.slot.finish(|_| answer);
    }
}

impl<T> Drop for Member<T> {
    fn drop(&mut self) {
        self.slot.finish(|is_sent| {
            let is_late = self.deadline <= Instant::now();
            Err(unanswered(if is_late { ErrorKind::Timeout } else { ErrorKind::Closed }, is_sent))
        });
    }
}

/// Waits for the outcome of a batch. Members whose deadlines come first are answered meanwhile.
pub(crate) async fn in_time<T, O>(members: &[Member<T>], outcome: impl Future<Output = O>) -> O {
    let mut outcome = pin!(outcome);
    let mut due = members.iter().map(|member| member.deadline).min();
    while let Some(until) = due {
        match timeout_at(until, &mut outcome).await {
            Ok(outcome) => return outcome,
            Err(_) => due = expire(members, Instant::now()),
        }
    }
    outcome.await
}

/// Lets the tasks that are ready to run go first, once.
pub(crate) async fn after_ready_tasks() {
    let mut has_waited = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Answers those whose deadline has come, and says when the next one is due.
fn expire<T>(members: &[Member<T>], now: Instant) -> Option<Instant> {
    let (late, others): (Vec<_>, Vec<_>) =
        members.iter().filter(|member| !member.slot.is_over()).partition(|member| member.deadline <= now);
    for member in late {
        member.slot.finish(|is_sent| Err(unanswered(ErrorKind::Timeout, is_sent)));
    }
    others.iter().map(|member| member.deadline).min()
}

fn unanswered(kind: ErrorKind, is_sent: bool) -> Error {
    if is_sent {
        Error::new(kind, Class::Ambiguous, "waiting for the answer; the command may have run")
    } else {
        Error::not_sent(kind, "while queued for a batch; nothing was sent")
    }
}
