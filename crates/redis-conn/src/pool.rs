//! Dedicated connections, for what must not travel over a shared one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::ServerError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, interval, timeout};

use crate::dedicated::{Dedicated, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::link::Link;
use crate::reauth::Rotations;

/// The dedicated connections of one node. Callers are served in the order in which they came.
pub(crate) struct Pool {
    link: Arc<Link>,
    idle: Mutex<Vec<Session>>,
    room: Arc<Semaphore>,
    counts: Counts,
    upkeep: Mutex<Option<AbortHandle>>,
}

#[derive(Default)]
struct Counts {
    opened: AtomicU64,
    discarded: AtomicU64,
    acquired: AtomicU64,
    timed_out: AtomicU64,
    waiting: AtomicU64,
}

/// The state of the pool of dedicated connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Most connections at a time.
    pub max: usize,
    /// Connections lent out.
    pub in_use: usize,
    /// Connections open and free.
    pub idle: usize,
    /// Callers waiting for a connection.
    pub waiting: u64,
    /// Connections lent out since the start.
    pub acquired: u64,
    /// Callers that gave up after `wait_timeout`.
    pub timed_out: u64,
    /// Connections opened since the start.
    pub opened: u64,
    /// Connections closed since the start: broken, poisoned, outdated, idle for too long or too old.
    pub discarded: u64,
}

/// All pools of a cluster's nodes together.
impl std::iter::Sum for PoolStats {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, each| Self {
            max: sum.max + each.max,
            in_use: sum.in_use + each.in_use,
            idle: sum.idle + each.idle,
            waiting: sum.waiting + each.waiting,
            acquired: sum.acquired + each.acquired,
            timed_out: sum.timed_out + each.timed_out,
            opened: sum.opened + each.opened,
            discarded: sum.discarded + each.discarded,
        })
    }
}

impl Pool {
    /// An empty pool; [`warm`](Self::warm) opens the minimum.
    pub(crate) fn start(link: &Arc<Link>) -> Arc<Self> {
        let settings = &link.setup.config.pool;
        let every = (settings.idle_timeout.min(settings.max_lifetime) / 4).max(Duration::from_millis(50));
        let pool = Arc::new(Self {
            link: Arc::clone(link),
            idle: Mutex::default(),
            room: Arc::new(Semaphore::new(settings.max)),
            counts: Counts::default(),
            upkeep: Mutex::default(),
        });
        let upkeep = tokio::spawn(upkeep(Arc::downgrade(&pool), every));
        *pool.upkeep.lock() = Some(upkeep.abort_handle());
        pool
    }

    /// Opens connections until the minimum is idle or lent out.
    ///
    /// # Errors
    /// Why one could not be opened.
    pub(crate) async fn warm(&self) -> Result<()> {
        while self.idle.lock().len() + self.in_use() < self.link.setup.config.pool.min {
            let session = self.open().await?;
            self.idle.lock().push(session);
        }
        Ok(())
    }

    /// Lends out a connection: an idle one that is fit, or a new one.
    ///
    /// # Errors
    /// `Overloaded` when none became free within `wait_timeout`, `Closed`, or why none could be opened.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Result<Dedicated> {
        let began = Instant::now();
        let permit = self.wait_for_room().await?;
        self.link.setup.observe(|observer| observer.pool_waited(began.elapsed()));
        let fit = self.take_fit();
        let session = match fit {
            Some(session) => session,
            None => self.open().await?,
        };
        self.counts.acquired.fetch_add(1, Ordering::Relaxed);
        Ok(Dedicated::new(session, Arc::clone(self), permit))
    }

    /// Takes a connection back; it is closed when it cannot be used again.
    pub(crate) fn give_back(&self, mut session: Session, permit: OwnedSemaphorePermit) {
        session.idle_since = Instant::now();
        if self.is_fit(&session) && session.is_reusable() && !self.room.is_closed() {
            self.idle.lock().push(session);
        } else {
            self.discard(session);
        }
        drop(permit);
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Draws the conclusions from error replies over a lent connection.
    pub(crate) fn inspect<'e>(&self, epoch: u64, errors: impl Iterator<Item = &'e ServerError>) {
        let errors: Vec<_> = errors.collect();
        if errors.iter().any(|error| error.code() == "MOVED") {
            self.link.setup.source.misled();
        }
        self.link.inspect(epoch, errors.into_iter());
    }

    pub(crate) fn stats(&self) -> PoolStats {
        PoolStats {
            max: self.link.setup.config.pool.max,
            in_use: self.in_use(),
            idle: self.idle.lock().len(),
            waiting: self.counts.waiting.load(Ordering::Relaxed),
            acquired: self.counts.acquired.load(Ordering::Relaxed),
            timed_out: self.counts.timed_out.load(Ordering::Relaxed),
            opened: self.counts.opened.load(Ordering::Relaxed),
            discarded: self.counts.discarded.load(Ordering::Relaxed),
        }
    }

    /// Closes the idle connections, and those lent out as they come back.
    pub(crate) fn close(&self) {
        self.room.close();
        let idle = std::mem::take(&mut *self.idle.lock());
        idle.into_iter().for_each(|session| self.discard(session));
    }

    fn in_use(&self) -> usize {
        self.link.setup.config.pool.max - self.room.available_permits()
    }

    async fn wait_for_room(&self) -> Result<OwnedSemaphorePermit> {
        let _waiting = Waiting::count(&self.counts.waiting);
        let room = Arc::clone(&self.room).acquire_owned();
        match timeout(self.link.setup.config.pool.wait_timeout, room).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(Error::not_sent(ErrorKind::Closed, "nothing was sent")),
            Err(_) => {
                self.counts.timed_out.fetch_add(1, Ordering::Relaxed);
                let context = "no dedicated connection became free within pool.wait_timeout";
                Err(Error::not_sent(ErrorKind::Overloaded, context))
            }
        }
    }

    /// The idle connection used last that is still fit; the unfit ones before it are closed.
    fn take_fit(&self) -> Option<Session> {
        loop {
            let session = self.idle.lock().pop()?;
            if self.is_fit(&session) {
                return Some(session);
            }
            self.discard(session);
        }
    }

    /// Judged without a round trip: by epoch, by the driver, and by age.
    fn is_fit(&self, session: &Session) -> bool {
        let settings = &self.link.setup.config.pool;
        session.epoch == self.link.setup.epoch()
            && session.is_open()
            && session.opened.elapsed() < settings.max_lifetime
            && session.idle_since.elapsed() < settings.idle_timeout
    }

    fn discard(&self, session: Session) {
        self.counts.discarded.fetch_add(1, Ordering::Relaxed);
        drop(session);
    }

    async fn open(&self) -> Result<Session> {
        // While the shared connection is down there is nothing to dial.
        drop(self.link.live()?);
        let setup = &self.link.setup;
        let epoch = setup.epoch();
        let endpoint = setup.locate().await?;
        let rotations = Rotations::from_now_on(setup);
        let dialed = setup.dialer.dial(&endpoint).await?;
        setup.source.verify(&endpoint, &dialed.server)?;
        self.counts.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Session::new(dialed, endpoint, rotations, epoch))
    }

    /// Closes what is unfit and, above the minimum, what has been idle for long; reopens the minimum.
    async fn tend(&self) {
        let unfit: Vec<Session> = self.idle.lock().extract_if(.., |session| !self.is_fit(session)).collect();
        unfit.into_iter().for_each(|session| self.discard(session));
        // The next round tries again.
        let _ = self.warm().await;
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(upkeep) = self.upkeep.lock().take() {
            upkeep.abort();
        }
    }
}

/// One caller in the line, counted until drop.
struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn count(waiting: &'a AtomicU64) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn upkeep(pool: std::sync::Weak<Pool>, every: Duration) {
    let mut tick = interval(every);
    tick.tick().await;
    loop {
        tick.tick().await;
        match pool.upgrade() {
            Some(pool) if !pool.room.is_closed() => pool.tend().await,
            _ => return,
        }
    }
}
