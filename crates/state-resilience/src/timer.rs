//! The one way in which this crate waits with a limit.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::time::Instant;

use crate::clock::Clock;

/// Waits for `future` until `deadline`; `None` when that comes first.
///
/// The future is polled first, and the timer is made when that leaves it pending: an operation that is ready at
/// once costs no timer and is served even after its deadline.
pub(crate) async fn until<C: Clock, F: Future>(
    clock: &C,
    deadline: Option<Instant>,
    mut future: Pin<&mut F>,
) -> Option<F::Output> {
    let Some(deadline) = deadline else {
        return Some(future.await);
    };
    let mut sleep = pin!(None);
    poll_fn(move |context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        if sleep.is_none() {
            sleep.set(Some(clock.sleep_until(deadline)));
        }
        match sleep.as_mut().as_pin_mut() {
            Some(sleep) => sleep.poll(context).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}

/// The earlier of two optional deadlines.
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
