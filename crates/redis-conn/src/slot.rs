//! Where the answer to one operation is put: shared by its caller and by whoever sends it.
//!
//! One allocation and one lock, held for a few instructions; a channel would do more than is needed here.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// What the caller and the sender share.
pub(crate) struct Slot<T>(Mutex<Progress<T>>);

struct Progress<T> {
    stage: Stage,
    waker: Option<Waker>,
    answer: Option<T>,
}

#[derive(PartialEq)]
enum Stage {
    Queued,
    Sent,
    /// Answered, or its caller has gone.
    Over,
}

/// The answer to come. Dropping it takes back an operation that has not been sent yet.
///
/// `None` once it has come: nothing is left to be done then.
pub(crate) struct Pending<T>(Option<Arc<Slot<T>>>);

impl<T> Slot<T> {
    /// A slot and the answer to come.
    pub(crate) fn new() -> (Arc<Self>, Pending<T>) {
        let progress = Progress { stage: Stage::Queued, waker: None, answer: None };
        let slot = Arc::new(Self(Mutex::new(progress)));
        let pending = Pending(Some(Arc::clone(&slot)));
        (slot, pending)
    }

    /// Whether it is to be sent now: its caller can take it back no more.
    pub(crate) fn start(&self) -> bool {
        let mut progress = self.0.lock();
        let is_queued = progress.stage == Stage::Queued;
        if is_queued {
            progress.stage = Stage::Sent;
        }
        is_queued
    }

    /// Whether it was answered, or nobody waits any more.
    pub(crate) fn is_over(&self) -> bool {
        self.0.lock().stage == Stage::Over
    }

    /// Sets the answer, unless it is over already; `answer` is told whether the operation was sent.
    pub(crate) fn finish(&self, answer: impl FnOnce(bool) -> T) {
        let mut progress = self.0.lock();
        if progress.stage == Stage::Over {
            return;
        }
        progress.answer = Some(answer(progress.stage == Stage::Sent));
        progress.stage = Stage::Over;
        let waker = progress.waker.take();
        drop(progress);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Pending<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let slot = self.0.as_ref().expect("not polled after it was ready");
        let mut progress = slot.0.lock();
        let Some(answer) = progress.answer.take() else {
            match &mut progress.waker {
                Some(waker) => waker.clone_from(context.waker()),
                waker => *waker = Some(context.waker().clone()),
            }
            return Poll::Pending;
        };
        drop(progress);
        self.0 = None;
        Poll::Ready(answer)
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        if let Some(slot) = &self.0 {
            slot.0.lock().stage = Stage::Over;
        }
    }
}
