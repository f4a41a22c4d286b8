//! What is known of a held lock: its token, until when it is valid, whether it was lost.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    Error, ErrorKind, Result,
    clock::{Clock, Moment},
};

/// The longest sleep of a timer that waits for a deadline: a timer sleeps through a suspend of the machine, the
/// clock does not, so it looks at the clock in between.
const LOOK: Duration = Duration::from_secs(1);

/// A view of a held lock that can be cloned, kept and sent: it says whether the lock is still held and does not
/// hold it.
#[derive(Clone)]
pub struct Lease(Arc<Inner>);

struct Inner {
    clock: Arc<Clock>,
    token: u64,
    acquired: Moment,
    /// Until when the lock is valid; `None` once it is over.
    until: Mutex<Option<Moment>>,
    over: Notify,
}

impl Lease {
    pub(crate) fn new(clock: Arc<Clock>, token: u64, until: Moment) -> Self {
        let acquired = clock.now();
        Self(Arc::new(Inner { clock, token, acquired, until: Mutex::new(Some(until)), over: Notify::new() }))
    }

    /// The fencing token: higher than that of every earlier grant of the same lock. Give it to the resource with
    /// every write, and let the resource refuse one that is lower than the highest it has seen.
    pub fn token(&self) -> u64 {
        self.0.token
    }

    /// For how much longer the lock is surely held, unless it is renewed; zero when it is not held. The clock is
    /// read in the call.
    pub fn validity(&self) -> Duration {
        let until = *self.0.until.lock();
        until.map_or(Duration::ZERO, |until| until.since(self.0.clock.now()))
    }

    /// Whether the lock is surely held at this moment.
    pub fn is_valid(&self) -> bool {
        !self.validity().is_zero()
    }

    /// The same as a `Result`, to stop with `?` before each step that needs the lock.
    ///
    /// # Errors
    /// [`Lost`](ErrorKind::Lost) when the lock is not held any more.
    pub fn check(&self) -> Result<()> {
        if self.is_valid() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Lost, "check"))
    }

    /// Completes when the lock is not held any more: lost, run out or released. A timer of this process fires at
    /// the end of the validity, so it completes in time even when no server can be reached.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let lease = self.clone();
        async move {
            let mut over = pin!(lease.0.over.notified());
            // Listens before it looks, so that no end falls in between.
            over.as_mut().enable();
            if !lease.is_over() {
                over.await;
            }
        }
    }

    /// Moves the end of the validity, never back, and never for a lock that is over.
    pub(crate) fn prolong(&self, until: Moment) -> bool {
        let now = self.0.clock.now();
        let mut current = self.0.until.lock();
        match *current {
            Some(end) if end > now => {
                *current = Some(end.max(until));
                true
            }
            _ => false,
        }
    }

    /// Whether it was ended, by a release or because it was found to be lost.
    pub(crate) fn is_over(&self) -> bool {
        self.0.until.lock().is_none()
    }

    /// Ends it, and says for how long it was held; `None` when it was over already.
    pub(crate) fn end(&self) -> Option<Duration> {
        let ended = self.0.until.lock().take();
        self.0.over.notify_waiters();
        ended.map(|_| self.held_for())
    }

    pub(crate) fn held_for(&self) -> Duration {
        self.0.clock.now().since(self.0.acquired)
    }

    /// Sleeps until the validity is over, wherever it has been moved to by then.
    pub(crate) async fn run_out(&self) {
        loop {
            let left = self.validity();
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LOOK)).await;
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("token", &self.0.token).field("validity", &self.validity()).finish()
    }
}
