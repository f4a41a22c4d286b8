//! The bulkhead: bounds how many operations run at once, and how many wait for a place.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::error::{Result, check_duration, check_range};
use crate::timer::{earlier, until};

/// How many operations run and wait at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BulkheadConfig {
    /// So many run at once; 1 to 1,000,000. Default: 1,024.
    pub max_concurrent: u32,
    /// So many more wait for a place, first come, first served; 0 to 1,000,000. Default: 1,024.
    pub max_queue: u32,
    /// No one waits longer, nor past the call's deadline. Default: 1 s.
    pub max_wait: Duration,
}

impl Default for BulkheadConfig {
    fn default() -> Self {
        Self { max_concurrent: 1_024, max_queue: 1_024, max_wait: Duration::from_secs(1) }
    }
}

impl BulkheadConfig {
    /// Sets [`max_concurrent`](Self::max_concurrent).
    #[must_use]
    pub fn with_max_concurrent(mut self, operations: u32) -> Self {
        self.max_concurrent = operations;
        self
    }

    /// Sets [`max_queue`](Self::max_queue).
    #[must_use]
    pub fn with_max_queue(mut self, operations: u32) -> Self {
        self.max_queue = operations;
        self
    }

    /// Sets [`max_wait`](Self::max_wait).
    #[must_use]
    pub fn with_max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }

    fn check(&self) -> Result<()> {
        check_range("max_concurrent", self.max_concurrent, 1..=1_000_000)?;
        check_range("max_queue", self.max_queue, 0..=1_000_000)?;
        check_duration("max_wait", self.max_wait)
    }
}

/// Places for operations, and a bounded queue for them.
pub struct Bulkhead {
    config: BulkheadConfig,
    places: Semaphore,
    waiting: AtomicU32,
}

/// A place in a [`Bulkhead`], free again when dropped.
#[derive(Debug)]
pub struct Place<'a> {
    _permit: SemaphorePermit<'a>,
}

/// There was no place in time, or no room to wait for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkheadFull(());

impl fmt::Display for BulkheadFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bulkhead is full")
    }
}

impl std::error::Error for BulkheadFull {}

impl Bulkhead {
    /// An empty bulkhead.
    ///
    /// # Errors
    /// `InvalidConfig` when a setting is out of its range; the context names it.
    pub fn new(config: BulkheadConfig) -> Result<Self> {
        config.check()?;
        let places = Semaphore::new(config.max_concurrent as usize);
        Ok(Self { config, places, waiting: AtomicU32::new(0) })
    }

    /// A place at once, ahead of nobody: fails while others wait.
    #[inline]
    #[must_use]
    pub fn try_acquire(&self) -> Option<Place<'_>> {
        self.places.try_acquire().ok().map(|permit| Place { _permit: permit })
    }

    /// A place, waiting in the queue until `deadline` or `max_wait`. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// [`BulkheadFull`] when the queue is full or the wait is over.
    pub async fn acquire<C: Clock>(
        &self,
        clock: &C,
        deadline: Option<Instant>,
    ) -> std::result::Result<Place<'_>, BulkheadFull> {
        if let Some(place) = self.try_acquire() {
            return Ok(place);
        }
        let _waiting = Waiting::enter(&self.waiting, self.config.max_queue).ok_or(BulkheadFull(()))?;
        let deadline = earlier(Some(clock.now() + self.config.max_wait), deadline);
        let wait = pin!(self.places.acquire());
        match until(clock, deadline, wait).await {
            Some(Ok(permit)) => Ok(Place { _permit: permit }),
            // The semaphore is never closed, so only the time can be up.
            Some(Err(_)) | None => Err(BulkheadFull(())),
        }
    }

    /// How many operations run.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.config.max_concurrent.saturating_sub(self.places.available_permits() as u32)
    }

    /// How many operations wait for a place.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The settings it was made with.
    #[must_use]
    pub fn config(&self) -> &BulkheadConfig {
        &self.config
    }
}

impl fmt::Debug for Bulkhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulkhead")
            .field("config", &self.config)
            .field("running", &self.running())
            .field("waiting", &self.waiting())
            .finish()
    }
}

/// A place in the queue, left when dropped.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicU32, max: u32) -> Option<Self> {
        let room = |waiting| (waiting < max).then_some(waiting + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok().map(|_| Self(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
