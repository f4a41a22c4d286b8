//! Which address the sentinels together name as the master. Pure state: no input or output, time comes in.
//!
//! One sentinel can be wrong: cut off and stale, restored from an old file, or of another group. So addresses are
//! voted on, and the configuration epoch decides a tie. Waiting for a majority before *leaving* a master would
//! keep writing to a demoted one, though. A sentinel that named our master and now names another is therefore
//! an alarm: we leave at once and go where the majority says as soon as there is one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::endpoint::Endpoint;

/// How long an alarm may wait for other sentinels to agree before it counts as false.
const ALARM: Duration = Duration::from_secs(2);
/// How long a sentinel that raised a false alarm raises no further one.
const DISTRUST: Duration = Duration::from_secs(60);
/// For how long a node that said it is no master comes last among candidates without a majority.
const REJECTION: Duration = Duration::from_secs(2);

/// The sentinels' votes, and what we made of them.
#[derive(Default)]
pub(super) struct Ballot {
    voters: HashMap<String, Voter>,
    master: Option<Arc<Endpoint>>,
    alarm: Option<Alarm>,
    rejected: Option<(Arc<Endpoint>, Instant)>,
}

#[derive(Default)]
struct Voter {
    vote: Option<Vote>,
    /// Answered when last asked.
    live: bool,
    /// Answered or failed at least once.
    heard: bool,
    distrusted: Option<Instant>,
}

/// What one sentinel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vote {
    pub(super) master: Arc<Endpoint>,
    /// Grows with every failover; `None` where the ACL does not let us ask.
    pub(super) epoch: Option<u64>,
}

struct Alarm {
    raised_by: String,
    left: Arc<Endpoint>,
    until: Instant,
}

/// What to do after a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing changed for us.
    Keep,
    /// Close all connections to the master of so far.
    Leave,
}

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Master(Arc<Endpoint>),
    /// Not decided; ask again when a vote comes in, or then.
    Undecided(Instant),
    /// No sentinel named a master.
    Unknown,
}

impl Ballot {
    /// Adds a sentinel that may vote.
    pub(super) fn enrol(&mut self, voter: &str) {
        self.voters.entry(voter.to_owned()).or_default();
    }

    /// Removes a sentinel and its vote.
    pub(super) fn strike(&mut self, voter: &str) {
        self.voters.remove(voter);
    }

    /// A sentinel did not answer. Its last vote goes on counting for staying where we are.
    pub(super) fn lost(&mut self, voter: &str) {
        let voter = self.voters.entry(voter.to_owned()).or_default();
        (voter.live, voter.heard) = (false, true);
    }

    /// A sentinel answered, without naming a master when `vote` is `None`.
    pub(super) fn vote(&mut self, name: &str, vote: Option<Vote>, now: Instant) -> Effect {
        let voter = self.voters.entry(name.to_owned()).or_default();
        let before = voter.vote.take();
        (voter.live, voter.heard) = (true, true);
        voter.vote.clone_from(&vote);
        let trusted = voter.distrusted.is_none_or(|until| until <= now);
        let (Some(master), Some(vote)) = (self.master.clone(), vote) else { return Effect::Keep };
        if vote.master == master || self.alarm.is_some() {
            return Effect::Keep;
        }
        let changed = before.is_some_and(|before| before.master == master && !is_older(&vote, &before));
        if changed && trusted {
            self.alarm = Some(Alarm { raised_by: name.to_owned(), left: master, until: now + ALARM });
            return Effect::Leave;
        }
        match self.majority(|_| true).filter(|winner| *winner != master) {
            Some(winner) => {
                self.master = Some(winner);
                Effect::Leave
            }
            None => Effect::Keep,
        }
    }

    /// The node at `endpoint` said that it is no master.
    pub(super) fn reject(&mut self, endpoint: Arc<Endpoint>, now: Instant) {
        self.rejected = Some((endpoint, now + REJECTION));
    }

    /// Where to connect now. Before the first decision, sentinels that have not answered are waited for until
    /// `patience`.
    pub(super) fn choose(&mut self, patience: Instant, now: Instant) -> Choice {
        if let Some(until) = self.pending_alarm(now) {
            return Choice::Undecided(until);
        }
        if let Some(master) = &self.master
            && self.majority(|_| true).is_some_and(|winner| winner == *master)
        {
            return Choice::Master(Arc::clone(master));
        }
        if self.master.is_none() && now < patience && !self.is_conclusive() {
            return Choice::Undecided(patience);
        }
        match self.best(now).or_else(|| self.master.clone()) {
            Some(master) => {
                self.master = Some(Arc::clone(&master));
                Choice::Master(master)
            }
            None => Choice::Unknown,
        }
    }

    /// Settles the alarm if that can be done now, else says until when it stays open.
    fn pending_alarm(&mut self, now: Instant) -> Option<Instant> {
        let alarm = self.alarm.as_ref()?;
        let agreed = self.majority(|voter| voter.live).filter(|winner| *winner != alarm.left);
        if agreed.is_none() && now < alarm.until {
            return Some(alarm.until);
        }
        let alarm = self.alarm.take()?;
        if agreed.is_some() {
            self.master = agreed;
            self.forget_the_dead();
        } else if let Some(voter) = self.voters.get_mut(&alarm.raised_by) {
            voter.distrusted = Some(now + DISTRUST);
        }
        None
    }

    /// After a switch, votes of sentinels that do not answer are out of date.
    fn forget_the_dead(&mut self) {
        self.voters.values_mut().filter(|voter| !voter.live).for_each(|voter| voter.vote = None);
    }

    /// Whether waiting for further sentinels cannot change the outcome.
    fn is_conclusive(&self) -> bool {
        let most = self.tally(|_| true).into_values().map(|score| score.votes).max().unwrap_or(0);
        most * 2 > self.voters.len() || self.voters.values().all(|voter| voter.heard)
    }

    /// The address that more than half of the votes name.
    fn majority(&self, counts: impl Fn(&Voter) -> bool) -> Option<Arc<Endpoint>> {
        let tally = self.tally(counts);
        let votes: usize = tally.values().map(|score| score.votes).sum();
        tally.into_iter().find(|(_, score)| score.votes * 2 > votes).map(|(master, _)| master)
    }

    /// Without a majority: the latest configuration. Where that is a tie, too, we stay; where there is nothing to
    /// stay with, the number of sentinels that answer comes first.
    fn best(&self, now: Instant) -> Option<Arc<Endpoint>> {
        if let Some(winner) = self.majority(|_| true) {
            return Some(winner);
        }
        let rejected = |node: &Arc<Endpoint>| {
            self.rejected.as_ref().is_some_and(|(rejected, until)| rejected == node && now < *until)
        };
        let rank = |node: &Arc<Endpoint>, score: &Score| {
            let head_count = if self.master.is_none() { score.live } else { 0 };
            (!rejected(node), head_count, score.epoch, self.master.as_ref() == Some(node), score.live)
        };
        let candidates = self.tally(|_| true).into_iter();
        candidates.max_by_key(|(node, score)| rank(node, score)).map(|(node, _)| node)
    }

    fn tally(&self, counts: impl Fn(&Voter) -> bool) -> HashMap<Arc<Endpoint>, Score> {
        let mut tally = HashMap::<_, Score>::new();
        for voter in self.voters.values().filter(|voter| counts(voter)) {
            let Some(vote) = &voter.vote else { continue };
            let score = tally.entry(Arc::clone(&vote.master)).or_default();
            score.votes += 1;
            score.live += usize::from(voter.live);
            score.epoch = score.epoch.max(vote.epoch);
        }
        tally
    }
}

#[derive(Default)]
struct Score {
    votes: usize,
    live: usize,
    epoch: Option<u64>,
}

/// Whether `vote` is of an earlier configuration than `other`.
fn is_older(vote: &Vote, other: &Vote) -> bool {
    matches!((vote.epoch, other.epoch), (Some(vote), Some(other)) if vote < other)
}

#[cfg(test)]
mod tests;
