//! The entry point: a manager of locks over one authority or a quorum.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;

use crate::{
    Claim, Election, Error, ErrorKind, Extension, Guard, LockConfig, LockKind, LockNode, LockOptions,
    LockToken, ManagerBuilder, Mode, NodeVerdict, Operation, Result, Semaphore, Verdict,
    acquire::acquire,
    claim::{Resource, fresh_id, owner_of},
    clock::Clock,
    guard::resumed,
    later::Later,
    members::Members,
    releaser::Releaser,
    wakeups::Wakeups,
};

/// The most locks that one call acquires together.
const MAX_TOGETHER: usize = 64;

/// Acquires locks over one authority or over several independent masters. Cheap to clone; clones are the same
/// manager.
#[derive(Clone)]
pub struct LockManager(pub(crate) Arc<Core>);

pub(crate) struct Core {
    pub(crate) members: Arc<Members>,
    pub(crate) config: LockConfig,
    pub(crate) clock: Arc<Clock>,
    pub(crate) releaser: Arc<Releaser>,
    pub(crate) later: Later,
    pub(crate) wakeups: Option<Wakeups>,
    pub(crate) epoch_key: Arc<str>,
    pub(crate) closed: AtomicBool,
}

/// Who holds a lock, as far as a majority says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The owner label of the holder's manager.
    pub owner: String,
    /// For how much longer, unless it is renewed.
    pub remaining: Duration,
}

impl LockManager {
    /// A manager with default settings over one authority.
    ///
    /// # Errors
    /// As [`ManagerBuilder::single`].
    pub async fn single(node: impl LockNode) -> Result<Self> {
        ManagerBuilder::default().single(node).await
    }

    /// A manager with default settings over independent masters.
    ///
    /// # Errors
    /// As [`ManagerBuilder::quorum`].
    pub async fn quorum<N: LockNode>(nodes: impl IntoIterator<Item = N>) -> Result<Self> {
        ManagerBuilder::default().quorum(nodes).await
    }

    /// Settings, observer and subscriber of a manager to be made.
    pub fn builder(config: LockConfig) -> ManagerBuilder {
        ManagerBuilder::new(config)
    }

    /// Acquires the lock of this name for one holder, waiting as long as the options say.
    ///
    /// # Errors
    /// [`Held`](ErrorKind::Held) when others had it until the wait was over;
    /// [`Unavailable`](ErrorKind::Unavailable), [`Quarantined`](ErrorKind::Quarantined) or
    /// [`TooLate`](ErrorKind::TooLate) when that was so in the last attempt; at once
    /// [`WrongType`](ErrorKind::WrongType), [`InvalidInput`](ErrorKind::InvalidInput),
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) and [`Closed`](ErrorKind::Closed).
    pub async fn acquire(&self, name: &str, options: LockOptions) -> Result<Guard> {
        self.exclusive(LockKind::Mutex, name, &options).await
    }

    /// Makes one attempt and never waits for others. In a single authority it does not overtake those who wait.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub async fn try_acquire(&self, name: &str, options: LockOptions) -> Result<Guard> {
        self.acquire(name, options.with_wait(Some(Duration::ZERO))).await
    }

    /// Acquires with default options but this longest wait.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_timeout(&self, name: &str, wait: Duration) -> Result<Guard> {
        self.acquire(name, LockOptions::default().with_wait(Some(wait))).await
    }

    /// Acquires the lock of this name for reading: together with other readers, and not with a holder of
    /// [`write`](Self::write) or [`acquire`](Self::acquire). A waiting writer keeps new readers out.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub async fn read(&self, name: &str, options: LockOptions) -> Result<Guard> {
        acquire(&self.0, LockKind::Read, vec![self.resource(name, Mode::Shared)?], &options).await
    }

    /// Acquires the lock of this name for writing: the same as [`acquire`](Self::acquire), under the name that goes
    /// with [`read`](Self::read). An observer hears of a [`Write`](LockKind::Write).
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub async fn write(&self, name: &str, options: LockOptions) -> Result<Guard> {
        self.exclusive(LockKind::Write, name, &options).await
    }

    /// Acquires several locks, all or none, under one guard with one token that is good for each of them. At most
    /// 64. They do not queue: there are attempts, with pauses. In a cluster the names need a common hash tag.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire); [`InvalidInput`](ErrorKind::InvalidInput) also when there is no name, too
    /// many of them, one twice, or when a cluster keeps them in different slots.
    pub async fn acquire_all<S: AsRef<str>>(&self, names: &[S], options: LockOptions) -> Result<Guard> {
        let distinct: HashSet<_> = names.iter().map(AsRef::as_ref).collect();
        if distinct.len() != names.len() || !(1..=MAX_TOGETHER).contains(&names.len()) {
            let context = format!("1 to {MAX_TOGETHER} different names are acquired together");
            return Err(Error::new(ErrorKind::InvalidInput, context));
        }
        let resources = names.iter().map(|name| self.resource(name.as_ref(), Mode::Exclusive));
        acquire(&self.0, LockKind::Multi, resources.collect::<Result<_>>()?, &options).await
    }

    /// A semaphore with this many permits, each of them held like a lock.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) when the name or the number of permits is out of range.
    pub fn semaphore(&self, name: &str, permits: u32) -> Result<Semaphore> {
        Semaphore::new(self, name, permits)
    }

    /// Acquires the lock of this name, runs the closure while it is held and renewed, and releases it. The closure
    /// gets a [`Lease`](crate::Lease) with the fencing token. When the lock is lost, the closure's future is
    /// dropped at the await it stands at.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), and [`Lost`](ErrorKind::Lost) when the lock was lost before the closure was
    /// done. How the release went never replaces the closure's result.
    pub async fn with_lock<F, T>(
        &self,
        name: &str,
        ttl: Duration,
        work: impl FnOnce(crate::Lease) -> F,
    ) -> Result<T>
    where
        F: Future<Output = T>,
    {
        let guard = self.acquire(name, LockOptions::ttl(ttl)).await?;
        let lost = guard.lost();
        let done = tokio::select! {
            biased;
            done = work(guard.lease().clone()) => Some(done),
            () = lost => None,
        };
        guard.release().await;
        done.ok_or_else(|| Error::new(ErrorKind::Lost, "the work under the lock was stopped"))
    }

    /// Takes over a lock that was [detached](Guard::detach), on this process or another, by prolonging it. Cancelled, it
    /// releases the lock.
    ///
    /// A token shows of the kind what the servers know: several, a reader's, a permit, or a mutex, and as that an
    /// observer hears of it from then on. So a writer's is a mutex now, and so is what
    /// [`acquire_all`](Self::acquire_all) acquired under a single name.
    ///
    /// # Errors
    /// [`Lost`](ErrorKind::Lost) when it is not held any more, [`Unavailable`](ErrorKind::Unavailable) when too few
    /// nodes answered; then the lock is as it was.
    pub async fn resume(&self, token: &LockToken, options: LockOptions) -> Result<Guard> {
        options.validate(&self.0.config)?;
        self.0.check_open()?;
        let claim = self.0.claim(token.id().into(), token.resources().to_vec(), options.ttl);
        let (guard, extension) = resumed(&self.0, claim, token.token(), &options).await;
        match extension {
            Extension::Extended(_) => Ok(guard),
            Extension::Lost => Err(Error::new(ErrorKind::Lost, "resume")),
            Extension::Unknown(_) => {
                guard.detach();
                Err(Error::new(ErrorKind::Unavailable, "resume"))
            }
        }
    }

    /// The holders of a lock that a majority of the nodes name; empty when there is none.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) when too few nodes answered.
    pub async fn holders(&self, name: &str) -> Result<Vec<Holder>> {
        self.holders_of(self.resource(name, Mode::Exclusive)?).await
    }

    /// An election of one leader, who renews the office within this time to live.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) when the name or the time to live is out of range.
    pub fn election(&self, name: &str, ttl: Duration) -> Result<Election> {
        Election::new(self, name, ttl)
    }

    async fn exclusive(&self, kind: LockKind, name: &str, options: &LockOptions) -> Result<Guard> {
        acquire(&self.0, kind, vec![self.resource(name, Mode::Exclusive)?], options).await
    }

    pub(crate) async fn holders_of(&self, resource: Resource) -> Result<Vec<Holder>> {
        let claim =
            Arc::new(self.0.claim(fresh_id(&self.0.config.owner), vec![resource], self.0.config.max_ttl));
        let timeout = self.0.request_timeout(claim.ttl);
        let members = &self.0.members;
        let answers = members.ask(
            Operation::Peek,
            timeout,
            |_| true,
            |_, node| {
                let claim = Arc::clone(&claim);
                async move { node.peek(&claim).await }
            },
        );
        let answers: Vec<_> = answers.filter_map(|(_, answer)| async move { answer.ok() }).collect().await;
        let majority = members.quorum.majority();
        if answers.len() < majority {
            return Err(Error::new(ErrorKind::Unavailable, "look at the holders"));
        }
        Ok(agreed(&answers, majority))
    }

    /// Declares that no lock of this prefix can be held, so that all nodes may vote at once: for a deployment that
    /// never held one. Without it a fresh deployment abstains for the longest time to live. Called while locks are
    /// held, it can give a lock to two holders.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) when a node did not answer; the others may vote.
    pub async fn bootstrap(&self) -> Result<()> {
        let members = &self.0.members;
        let timeout = Duration::from_secs(1);
        let mut answers = members.ask(
            Operation::Bootstrap,
            timeout,
            |_| true,
            |_, node| {
                let key = Arc::clone(&self.0.epoch_key);
                async move { node.bootstrap(&key).await }
            },
        );
        let mut failed = Vec::new();
        while let Some((index, answer)) = answers.next().await {
            if let Err(fault) = answer {
                failed.push(NodeVerdict {
                    node: members.label(index).to_owned(),
                    verdict: Verdict::Fault(fault),
                });
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, "bootstrap").with_verdicts(failed))
    }

    /// Acquires nothing more, and waits until everything that was dropped or cancelled so far is released. Guards
    /// that are still held stay so.
    pub async fn shutdown(&self) {
        self.0.closed.store(true, Ordering::Release);
        if let Some(wakeups) = &self.0.wakeups {
            wakeups.stop();
        }
        self.0.later.hurry();
        self.0.releaser.drain().await;
    }

    pub(crate) fn resource(&self, name: &str, mode: Mode) -> Result<Resource> {
        Resource::new(&self.0.config.prefix, "l", name, mode)
    }
}

/// Holders that are named by a majority, for the shortest time that one of its members gives.
fn agreed(answers: &[Vec<(String, Duration)>], majority: usize) -> Vec<Holder> {
    let ids: HashSet<&str> = answers.iter().flatten().map(|(id, _)| id.as_str()).collect();
    let holder = |id: &str| {
        let times: Vec<_> =
            answers.iter().flatten().filter(|(other, _)| other == id).map(|(_, left)| *left).collect();
        let remaining = times.iter().min().copied()?;
        (times.len() >= majority).then(|| Holder { owner: owner_of(id).to_owned(), remaining })
    };
    ids.into_iter().filter_map(holder).collect()
}

impl Core {
    pub(crate) fn request_timeout(&self, ttl: Duration) -> Duration {
        self.config.request_timeout(self.members.len(), ttl)
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "acquire"));
        }
        Ok(())
    }

    pub(crate) fn claim(&self, id: Arc<str>, resources: impl Into<Arc<[Resource]>>, ttl: Duration) -> Claim {
        let quarantine = self.config.quarantine_span(self.members.len());
        let queued = self.members.len() == 1;
        Claim { quarantine, queued, ..Claim::new(id, resources.into(), ttl, Arc::clone(&self.epoch_key)) }
    }
}

impl fmt::Debug for LockManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<_> = (0..self.0.members.len()).map(|index| self.0.members.label(index)).collect();
        f.debug_struct("LockManager")
            .field("nodes", &nodes)
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}
