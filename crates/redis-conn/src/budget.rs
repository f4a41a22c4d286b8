//! Backpressure: how many commands, and how many bytes of them, may be unanswered at a time.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, timeout_at};

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};

/// Commands in the upper 24 bits, bytes in the lower 40: one atomic operation takes or returns both.
const ONE: u64 = 1 << 40;
const BYTES: u64 = ONE - 1;

/// A share of the budget: commands and bytes in the packing above. Whoever holds it has to give it back.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge(u64);

impl Charge {
    pub(crate) const NONE: Self = Self(0);

    /// One command that is counted but takes no bytes.
    pub(crate) const COUNT_ONLY: Self = Self(ONE);

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// The in-flight budget of one connection. Free room is taken without a lock; waiters queue in order.
pub(crate) struct Budget {
    used: AtomicU64,
    max_count: u64,
    max_bytes: u64,
    max_queued: usize,
    queued: AtomicUsize,
    /// Held by the first in the queue while it waits for room.
    turn: Mutex<()>,
    freed: Notify,
}

impl Budget {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            used: AtomicU64::new(0),
            max_count: config.max_in_flight as u64,
            max_bytes: config.max_in_flight_bytes as u64,
            max_queued: config.max_queued,
            queued: AtomicUsize::new(0),
            turn: Mutex::new(()),
            freed: Notify::new(),
        }
    }

    /// Commands in flight.
    pub(crate) fn count(&self) -> usize {
        (self.used.load(Ordering::Relaxed) >> 40) as usize
    }

    /// Bytes of commands in flight.
    pub(crate) fn bytes(&self) -> u64 {
        self.used.load(Ordering::Relaxed) & BYTES
    }

    /// Takes room for one command without waiting; `None` when there is none or others are waiting for it.
    #[inline]
    pub(crate) fn try_take(&self, bytes: usize) -> Option<Charge> {
        if self.queued.load(Ordering::SeqCst) > 0 { None } else { self.take_free(bytes) }
    }

    /// Takes room for one command, waiting in line for it.
    ///
    /// # Errors
    /// `Overloaded` when the line is full, `Timeout` at the deadline; nothing was sent in either case.
    pub(crate) async fn wait(&self, bytes: usize, deadline: Instant) -> Result<Charge> {
        let _place = Place::take(&self.queued, self.max_queued)?;
        let turn = async {
            let _turn = self.turn.lock().await;
            loop {
                let freed = self.freed.notified();
                tokio::pin!(freed);
                freed.as_mut().enable();
                if let Some(charge) = self.take_free(bytes) {
                    return charge;
                }
                freed.await;
            }
        };
        timeout_at(deadline, turn).await.map_err(|_| {
            Error::not_sent(ErrorKind::Timeout, "while waiting for the in-flight budget; nothing was sent")
        })
    }

    /// Counts a request that is not subject to the limits: its members have been charged, or it is our own.
    pub(crate) fn count_always(&self) -> Charge {
        self.used.fetch_add(Charge::COUNT_ONLY.0, Ordering::SeqCst);
        Charge::COUNT_ONLY
    }

    pub(crate) fn give_back(&self, charge: Charge) {
        self.used.fetch_sub(charge.0, Ordering::SeqCst);
        if self.queued.load(Ordering::SeqCst) > 0 {
            self.freed.notify_one();
        }
    }

    fn take_free(&self, bytes: usize) -> Option<Charge> {
        let charge = Charge(ONE | (bytes as u64).min(BYTES >> 4));
        let fits = |used: u64| {
            let used_bytes = used & BYTES;
            let room = used_bytes == 0 || used_bytes + (charge.0 & BYTES) <= self.max_bytes;
            (used >> 40 < self.max_count && room).then(|| used + charge.0)
        };
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).ok().map(|_| charge)
    }
}

/// A place in the line, given up on drop.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(queued: &'a AtomicUsize, max: usize) -> Result<Self> {
        let place = Self(queued);
        if queued.fetch_add(1, Ordering::SeqCst) >= max {
            return Err(Error::not_sent(
                ErrorKind::Overloaded,
                "the in-flight budget is used up and max_queued commands wait for it; nothing was sent",
            ));
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
