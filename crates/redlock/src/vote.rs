//! One attempt: ask all nodes, count, agree on a token, check the time.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;

use crate::{
    Claim, Error, ErrorKind, Fault, NodeVerdict, Operation, Verdict, Vote,
    claim::owner_of,
    clock::Moment,
    hold::{Clearing, Hold, Mark},
    manager::Core,
    quorum,
};

/// A lock that is held: until when, and with which token.
pub(crate) struct Grant {
    pub(crate) hold: Hold,
    pub(crate) token: u64,
    pub(crate) until: Moment,
    /// Whether it lasts for its time to live. What was handed over lasts only for the claim time at first.
    pub(crate) confirmed: bool,
}

/// Why an attempt did not succeed.
pub(crate) struct Refusal {
    pub(crate) error: Error,
    /// When a holder's time is over, as far as it was told.
    pub(crate) free_in: Option<Duration>,
    pub(crate) clearing: Clearing,
}

/// Makes one attempt in a quorum of any size.
pub(crate) async fn attempt(core: &Arc<Core>, claim: Claim) -> Result<Grant, Refusal> {
    let hold = Hold::new(core, claim);
    let until = core.clock.now().after(quorum::validity(hold.claim.ttl));
    let mut tally = Tally::new(core);
    let outcome = count(&hold, &mut tally, until).await;
    match outcome {
        Ok(token) => Ok(Grant { hold, token, until, confirmed: true }),
        Err(kind) => {
            let error = Error::new(kind, "acquire").with_verdicts(tally.verdicts());
            Err(Refusal { error, free_in: tally.free_in(), clearing: hold.abandon() })
        }
    }
}

async fn count(hold: &Hold, tally: &mut Tally<'_>, until: Moment) -> Result<u64, ErrorKind> {
    let core = &hold.core;
    let timeout = core.request_timeout(hold.claim.ttl);
    let mut answers = core.members.ask(
        Operation::Acquire,
        timeout,
        |_| true,
        |index, node| {
            let (claim, members) = (Arc::clone(&hold.claim), Arc::clone(&core.members));
            async move {
                members.admit(index).await?;
                node.acquire(&claim).await
            }
        },
    );
    while let Some((index, answer)) = answers.next().await {
        hold.ballots.record(index, Mark::of(&answer));
        tally.record(index, answer);
        if tally.decided() {
            break;
        }
    }
    if tally.granted() < core.members.quorum.majority() {
        return Err(tally.refused_as());
    }
    hold.ballots.leave_stragglers(answers);
    let token = agree(hold, tally, timeout, until).await?;
    // The last thing before the lock counts as held is a look at the clock: the process may have stood still
    // since the answers came in.
    if core.clock.now() >= until { Err(ErrorKind::TooLate) } else { Ok(token) }
}

/// Finds the token that a majority's counters have reached: the highest that any of them gave, written back to
/// those that are below. A node that has given a higher one meanwhile says so, and the search goes on from there.
async fn agree(
    hold: &Hold,
    tally: &mut Tally<'_>,
    timeout: Duration,
    until: Moment,
) -> Result<u64, ErrorKind> {
    let core = &hold.core;
    let majority = core.members.quorum.majority();
    let mut known = tally.tokens();
    loop {
        let (token, agreeing) = quorum::highest(known.iter().flatten().copied()).expect("a majority granted");
        if agreeing >= majority {
            return Ok(token);
        }
        if core.clock.now() >= until {
            return Err(ErrorKind::TooLate);
        }
        let mut answers = core.members.ask(
            Operation::Raise,
            timeout,
            |i| known[i] != Some(token),
            |_, node| {
                let claim = Arc::clone(&hold.claim);
                async move { node.raise(&claim, token).await }
            },
        );
        let (mut reached, mut higher) = (agreeing, false);
        while reached < majority && !higher {
            let Some((index, answer)) = answers.next().await else { return Err(ErrorKind::Unavailable) };
            match answer {
                Ok(Some(counter)) => {
                    known[index] = Some(counter);
                    reached += usize::from(counter == token);
                    higher |= counter > token;
                }
                Ok(None) => {}
                Err(fault) => tally.record(index, Err(fault)),
            }
        }
    }
}

/// The answers of an attempt so far.
struct Tally<'a> {
    core: &'a Core,
    answers: Vec<Option<Result<Vote, Fault>>>,
}

impl<'a> Tally<'a> {
    fn new(core: &'a Core) -> Self {
        Self { core, answers: vec![None; core.members.len()] }
    }

    fn record(&mut self, index: usize, answer: Result<Vote, Fault>) {
        if let Ok(Vote::Quarantined { remaining }) = answer {
            self.core.members.observer.quarantined(self.core.members.label(index), remaining);
        }
        self.answers[index] = Some(answer);
    }

    fn votes(&self) -> impl Iterator<Item = &Vote> {
        self.answers.iter().flatten().flatten()
    }

    fn granted(&self) -> usize {
        self.votes().filter(|vote| matches!(vote, Vote::Granted { .. })).count()
    }

    fn held(&self) -> usize {
        self.votes().filter(|vote| matches!(vote, Vote::Held { .. })).count()
    }

    /// Whether more answers could change the outcome or what is said about it.
    fn decided(&self) -> bool {
        let majority = self.core.members.quorum.majority();
        self.granted() >= majority || self.held() >= majority
    }

    /// What a caller can do about it. A fault is never reported as a lock held by another: that takes a
    /// majority that could answer.
    fn refused_as(&self) -> ErrorKind {
        let majority = self.core.members.quorum.majority();
        let faults = || self.answers.iter().flatten().filter_map(|answer| answer.as_ref().err());
        let count = |wanted: fn(&Fault) -> bool| faults().filter(|fault| wanted(fault)).count();
        let usable = self.granted() + self.held();
        let abstaining = self.votes().filter(|vote| matches!(vote, Vote::Quarantined { .. })).count();
        if count(|fault| *fault == Fault::WrongType) > 0 {
            ErrorKind::WrongType
        } else if count(|fault| matches!(fault, Fault::Refused(code) if code == "CROSSSLOT")) > 0 {
            ErrorKind::InvalidInput
        } else if usable >= majority {
            ErrorKind::Held
        } else if usable + abstaining >= majority {
            ErrorKind::Quarantined
        } else if count(|fault| matches!(fault, Fault::Unfit(_))) > 0 {
            ErrorKind::InvalidConfig
        } else {
            ErrorKind::Unavailable
        }
    }

    fn tokens(&self) -> Vec<Option<u64>> {
        let token = |answer: &Option<Result<Vote, Fault>>| match answer {
            Some(Ok(Vote::Granted { token })) => Some(*token),
            _ => None,
        };
        self.answers.iter().map(token).collect()
    }

    fn free_in(&self) -> Option<Duration> {
        let remaining = |vote: &Vote| match vote {
            Vote::Held { remaining, .. } if !remaining.is_zero() => Some(*remaining),
            _ => None,
        };
        self.votes().filter_map(remaining).min()
    }

    fn verdicts(&self) -> Vec<NodeVerdict> {
        let label = |index| self.core.members.label(index).to_owned();
        let verdict = |(index, answer): (usize, &Option<_>)| NodeVerdict {
            node: label(index),
            verdict: answer.as_ref().map_or(Verdict::Pending, verdict_of),
        };
        self.answers.iter().enumerate().map(verdict).collect()
    }
}

/// A node's answer as it is shown to callers: without the secret part of ids.
pub(crate) fn verdict_of(answer: &Result<Vote, Fault>) -> Verdict {
    match answer {
        Ok(Vote::Granted { .. }) => Verdict::Granted,
        Ok(Vote::Held { holder, remaining } | Vote::Waiting { holder, remaining, .. }) => {
            Verdict::Held { owner: owner_of(holder).to_owned(), remaining: *remaining }
        }
        Ok(Vote::Quarantined { remaining }) => Verdict::Quarantined { remaining: *remaining },
        Ok(Vote::Dead) => Verdict::Fault(Fault::Refused("an attempt that was given up".into())),
        Err(fault) => Verdict::Fault(fault.clone()),
    }
}
