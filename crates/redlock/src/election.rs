//! Leader election: a lock that is held as long as its holder lives.

use std::{future::Future, time::Duration};

use futures_util::stream::{self, Stream};

use crate::{
    Guard, Lease, LockKind, LockManager, LockOptions, Mode, Outcome, Renewal, Result, acquire::acquire,
    claim::Resource, config::check_ttl,
};

/// An office that one candidate at a time holds, made by [`LockManager::election`]. Candidates are known by their
/// manager's `owner` label, so give each process one of its own.
#[derive(Clone, Debug)]
pub struct Election {
    manager: LockManager,
    office: Resource,
    ttl: Duration,
}

/// The office, held. Dropped, it is given up in the background.
#[derive(Debug)]
#[must_use = "a leader resigns when this is dropped"]
pub struct Leadership {
    guard: Guard,
}

impl Election {
    pub(crate) fn new(manager: &LockManager, name: &str, ttl: Duration) -> Result<Self> {
        check_ttl(ttl, &manager.0.config)?;
        let office = Resource::new(&manager.0.config.prefix, "e", name, Mode::Exclusive)?;
        Ok(Self { manager: manager.clone(), office, ttl })
    }

    /// Waits, for ever, until this candidate is the leader. Failures of servers are waited out.
    ///
    /// # Errors
    /// [`WrongType`](crate::ErrorKind::WrongType), [`InvalidConfig`](crate::ErrorKind::InvalidConfig) and
    /// [`Closed`](crate::ErrorKind::Closed), which waiting does not mend.
    pub async fn campaign(&self) -> Result<Leadership> {
        // Renewed without end: a leader steps down when it cannot renew, not because of its age.
        let renewal = Renewal::UpTo { max_hold: Duration::MAX };
        let options = LockOptions::ttl(self.ttl).with_wait(None).with_renewal(renewal);
        let guard = acquire(&self.manager.0, LockKind::Leader, vec![self.office.clone()], &options).await?;
        Ok(Leadership { guard })
    }

    /// Campaigns, does the leader's work, and resigns when it is done. When the office is lost meanwhile, the work's
    /// future is dropped at the await it stands at, and the campaign begins again.
    ///
    /// # Errors
    /// As [`campaign`](Self::campaign).
    pub async fn lead<F, T>(&self, mut work: impl FnMut(Lease) -> F) -> Result<T>
    where
        F: Future<Output = T>,
    {
        loop {
            let leadership = self.campaign().await?;
            let done = tokio::select! {
                biased;
                done = work(leadership.lease().clone()) => Some(done),
                () = leadership.lost() => None,
            };
            leadership.resign().await;
            if let Some(done) = done {
                return Ok(done);
            }
        }
    }

    /// The label of the present leader, if there is one.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when too few nodes answered.
    pub async fn leader(&self) -> Result<Option<String>> {
        let holders = self.manager.holders_of(self.office.clone()).await?;
        Ok(holders.into_iter().next().map(|holder| holder.owner))
    }

    /// The leader's label now and whenever it is another, seen at most a quarter of the time to live late. A failed
    /// look is an item too, and the stream goes on.
    pub fn observe(&self) -> impl Stream<Item = Result<Option<String>>> + Send + use<> {
        let election = self.clone();
        stream::unfold((election, None), |(election, mut last)| async move {
            loop {
                if last.is_some() {
                    tokio::time::sleep(election.ttl / 4).await;
                }
                match election.leader().await {
                    Ok(leader) if last == Some(Some(leader.clone())) => {}
                    Ok(leader) => {
                        last = Some(Some(leader.clone()));
                        return Some((Ok(leader), (election, last)));
                    }
                    // Whoever leads after a failed look is news again.
                    Err(error) => return Some((Err(error), (election, Some(None)))),
                }
            }
        })
    }
}

impl Leadership {
    /// The number of the term: the fencing token, higher than that of every earlier leader.
    pub fn term(&self) -> u64 {
        self.guard.token()
    }

    /// A view of the office for other tasks, which does not hold it.
    pub fn lease(&self) -> &Lease {
        self.guard.lease()
    }

    /// Completes when this candidate is not the leader any more.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.guard.lost()
    }

    /// Stops the caller when this candidate is not the leader any more.
    ///
    /// # Errors
    /// [`Lost`](crate::ErrorKind::Lost).
    pub fn check(&self) -> Result<()> {
        self.guard.check()
    }

    /// Gives the office up, so that the next candidate has it at once.
    pub async fn resign(self) -> Outcome {
        self.guard.release().await
    }
}
