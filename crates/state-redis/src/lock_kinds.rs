//! Locks of every kind, each kind under a manager of its own, so that the instruments can tell them apart.

use std::time::Duration;

use futures_util::future::try_join_all;
use redlock::{Election, Guard, Holder, Lease, LockManager, LockOptions, LockToken, Result, Semaphore};

/// Distributed locks of every kind on the backend's servers, or on its quorum; from
/// [`RedisBackend::locks`](crate::RedisBackend::locks). Clones are the same locks.
///
/// The methods are those of redlock's [`LockManager`], and errors are redlock's. The metrics tell kinds apart.
#[derive(Clone, Debug)]
pub struct RedisLocks {
    /// One for each of [`Kind::ALL`], over the same connections and keys.
    managers: std::sync::Arc<[LockManager]>,
}

/// The kinds of locks that metrics tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Mutex,
    Read,
    Write,
    Semaphore,
    Multi,
    Leader,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Mutex, Self::Read, Self::Write, Self::Semaphore, Self::Multi, Self::Leader];
}

impl RedisLocks {
    /// Locks whose managers are made by `make`, all at once.
    pub(crate) async fn open<F>(make: impl Fn(Kind) -> F) -> Result<Self>
    where
        F: Future<Output = Result<LockManager>>,
    {
        Ok(Self { managers: try_join_all(Kind::ALL.map(make)).await?.into() })
    }

    /// Acquires the lock of this name for one holder, waiting as long as the options say.
    ///
    /// # Errors
    /// Those of [`LockManager::acquire`].
    pub async fn acquire(&self, name: &str, options: LockOptions) -> Result<Guard> {
        self.of(Kind::Mutex).acquire(name, options).await
    }

    /// Makes one attempt and never waits for others.
    ///
    /// # Errors
    /// Those of [`LockManager::try_acquire`].
    pub async fn try_acquire(&self, name: &str, options: LockOptions) -> Result<Guard> {
        self.of(Kind::Mutex).try_acquire(name, options).await
    }

    /// Acquires with default options but this longest wait.
    ///
    /// # Errors
    /// Those of [`LockManager::acquire_timeout`].
    pub async fn acquire_timeout(&self, name: &str, wait: Duration) -> Result<Guard> {
        self.of(Kind::Mutex).acquire_timeout(name, wait).await
    }

    /// Acquires the lock of this name for reading, together with other readers.
    ///
    /// # Errors
    /// Those of [`LockManager::read`].
    pub async fn read(&self, name: &str, options: LockOptions) -> Result<Guard> {
        self.of(Kind::Read).read(name, options).await
    }

    /// Acquires the lock of this name for writing: the same as [`acquire`](Self::acquire), under the name that goes
    /// with [`read`](Self::read), in metrics too.
    ///
    /// # Errors
    /// Those of [`LockManager::acquire`].
    pub async fn write(&self, name: &str, options: LockOptions) -> Result<Guard> {
        self.of(Kind::Write).acquire(name, options).await
    }

    /// Acquires several locks, all or none, under one guard.
    ///
    /// # Errors
    /// Those of [`LockManager::acquire_all`].
    pub async fn acquire_all<S: AsRef<str>>(&self, names: &[S], options: LockOptions) -> Result<Guard> {
        self.of(Kind::Multi).acquire_all(names, options).await
    }

    /// A semaphore with this many permits, each of them held like a lock.
    ///
    /// # Errors
    /// Those of [`LockManager::semaphore`].
    pub fn semaphore(&self, name: &str, permits: u32) -> Result<Semaphore> {
        self.of(Kind::Semaphore).semaphore(name, permits)
    }

    /// An election of one leader, who renews the office within this time to live.
    ///
    /// # Errors
    /// Those of [`LockManager::election`].
    pub fn election(&self, name: &str, ttl: Duration) -> Result<Election> {
        self.of(Kind::Leader).election(name, ttl)
    }

    /// Acquires the lock of this name, runs the closure while it is held and renewed, and releases it.
    ///
    /// # Errors
    /// Those of [`LockManager::with_lock`].
    pub async fn with_lock<F, T>(&self, name: &str, ttl: Duration, work: impl FnOnce(Lease) -> F) -> Result<T>
    where
        F: Future<Output = T>,
    {
        self.of(Kind::Mutex).with_lock(name, ttl, work).await
    }

    /// Takes over a lock that was detached. A token does not tell its kind: metrics count it as a mutex.
    ///
    /// # Errors
    /// Those of [`LockManager::resume`].
    pub async fn resume(&self, token: &LockToken, options: LockOptions) -> Result<Guard> {
        self.of(Kind::Mutex).resume(token, options).await
    }

    /// The holders of a lock that a majority of the servers name.
    ///
    /// # Errors
    /// Those of [`LockManager::holders`].
    pub async fn holders(&self, name: &str) -> Result<Vec<Holder>> {
        self.of(Kind::Mutex).holders(name).await
    }

    /// Declares that no lock of this prefix can be held, so that all servers of a quorum may vote at once: for a
    /// deployment that never held one.
    ///
    /// # Errors
    /// Those of [`LockManager::bootstrap`].
    pub async fn bootstrap(&self) -> Result<()> {
        self.of(Kind::Mutex).bootstrap().await
    }

    /// redlock's own manager, for what takes one; metrics count what it acquires as mutexes.
    pub fn manager(&self) -> &LockManager {
        self.of(Kind::Mutex)
    }

    /// Acquires nothing more, and waits until everything that was dropped or cancelled so far is released.
    pub async fn shutdown(&self) {
        futures_util::future::join_all(self.managers.iter().map(LockManager::shutdown)).await;
    }

    fn of(&self, kind: Kind) -> &LockManager {
        &self.managers[kind as usize]
    }
}
