//! Prolonging a lock, and the task of a guard that does it and watches the deadline.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::StreamExt;
use rand::RngExt;
use tokio::{runtime::Handle, task::AbortHandle};

use crate::{
    Claim, Extension, Lease, LockKind, LockOptions, Operation, Standing,
    guard::max_hold,
    hold::{Ballots, Hold, Mark},
    manager::Core,
    members::Answers,
    quorum,
};

/// Prolongs on all nodes at once. Nodes that lost the hold do not count; when a majority has confirmed, they get
/// it again in the background, where nobody else has it, to make up for nodes that restarted.
pub(crate) async fn extend(
    core: &Arc<Core>,
    claim: &Arc<Claim>,
    ballots: &Arc<Ballots>,
    lease: &Lease,
    ttl: Duration,
) -> Extension {
    if !lease.is_valid() {
        return Extension::Lost;
    }
    let until = core.clock.now().after(quorum::validity(ttl));
    // An answer that is lost leaves time for another try.
    let timeout = core.request_timeout(ttl.min(claim.ttl)).min(lease.validity() / 2);
    let mut answers = ask(core, claim, ttl, timeout);
    let majority = core.members.quorum.majority();
    let (mut held, mut gone) = (0, Vec::new());
    while held < majority && core.members.quorum.reachable_without(gone.len()) {
        match answers.next().await {
            Some((_, Ok(Standing::Held))) => held += 1,
            Some((index, Ok(_))) => gone.push(index),
            Some((_, Err(_))) => {}
            None => break,
        }
    }
    if !core.members.quorum.reachable_without(gone.len()) {
        return Extension::Lost;
    }
    if held < majority {
        return Extension::Unknown(lease.validity());
    }
    if core.clock.now() >= until || !lease.prolong(until) {
        return Extension::Lost;
    }
    if answers.is_empty() && gone.is_empty() {
        return Extension::Extended(lease.validity());
    }
    let (core, claim, ballots) = (Arc::clone(core), Arc::clone(claim), Arc::clone(ballots));
    tokio::spawn(async move {
        while let Some((index, answer)) = answers.next().await {
            if matches!(answer, Ok(Standing::Missing | Standing::Stolen)) {
                gone.push(index);
            }
        }
        top_up(&core, claim, &ballots, ttl, gone).await;
    });
    Extension::Extended(lease.validity())
}

fn ask(core: &Arc<Core>, claim: &Arc<Claim>, ttl: Duration, timeout: Duration) -> Answers<Standing> {
    core.members.ask(
        Operation::Extend,
        timeout,
        |_| true,
        |_, node| {
            let claim = Arc::clone(claim);
            async move { node.extend(&claim, ttl).await }
        },
    )
}

/// Prolongs, in the background, what was handed over and is given up by its guard before that was confirmed, so that
/// it lasts for its time to live.
pub(crate) fn confirm_detached(hold: &Hold) {
    let (core, claim) = (Arc::clone(&hold.core), Arc::clone(&hold.claim));
    if let Ok(runtime) = Handle::try_current() {
        let timeout = core.request_timeout(claim.ttl);
        runtime.spawn(async move { ask(&core, &claim, claim.ttl, timeout).next().await });
    }
}

async fn top_up(core: &Arc<Core>, claim: Arc<Claim>, ballots: &Ballots, ttl: Duration, gone: Vec<usize>) {
    let gone: Vec<_> = gone.into_iter().filter(|index| ballots.announce(*index)).collect();
    let again = Claim { ttl, ..Claim::clone(&claim) };
    let timeout = core.request_timeout(claim.ttl);
    let mut answers = core.members.ask(
        Operation::Acquire,
        timeout,
        |index| gone.contains(&index),
        |_, node| {
            let again = again.clone();
            async move { node.acquire(&again).await }
        },
    );
    while let Some((index, answer)) = answers.next().await {
        ballots.record(index, Mark::of(&answer));
    }
}

/// The way to end the task of a guard, begun or not.
#[derive(Default)]
pub(crate) struct Kept(Arc<OnceLock<AbortHandle>>);

impl Kept {
    /// Ends the task at the await it stands at. The lease has to be over: by that a task begins nothing anew.
    pub(crate) fn end(&self) {
        if let Some(task) = self.0.get() {
            task.abort();
        }
    }
}

/// The task of a guard: renews, and reports the loss at the deadline. It holds nothing: the guard ends it.
pub(crate) struct Keeper {
    core: Arc<Core>,
    kind: LockKind,
    claim: Arc<Claim>,
    ballots: Arc<Ballots>,
    lease: Lease,
    max_hold: Duration,
    confirmed: bool,
}

impl Keeper {
    pub(crate) fn new(
        hold: &Hold,
        kind: LockKind,
        lease: Lease,
        options: &LockOptions,
        confirmed: bool,
    ) -> Self {
        Self {
            core: Arc::clone(&hold.core),
            kind,
            claim: Arc::clone(&hold.claim),
            ballots: Arc::clone(&hold.ballots),
            lease,
            max_hold: max_hold(options.renewal),
            confirmed,
        }
    }

    /// Starts the task in a moment, if the lock is still held then.
    pub(crate) fn start(self) -> Kept {
        let kept = Kept::default();
        let (core, task) = (Arc::clone(&self.core), Arc::clone(&kept.0));
        core.later.put_off(move || {
            if !self.lease.is_over() {
                let _ = task.set(tokio::spawn(self.run()).abort_handle());
            }
        });
        kept
    }

    async fn run(self) {
        tokio::join!(self.ballots.await_stragglers(), self.keep());
    }

    async fn keep(&self) {
        tokio::select! {
            () = self.lease.run_out() => {}
            () = self.prolong() => {}
        }
        if let Some(hold) = self.lease.end() {
            self.core.members.observer.lost(self.kind, hold);
            let (kind, token) = (self.kind.name(), self.lease.token());
            tracing::warn!(kind, token, held_ms = hold.as_millis(), "lock lost");
        }
    }

    async fn prolong(&self) {
        if self.confirmed || self.confirm().await {
            self.renew().await;
        }
    }

    /// Prolongs what was handed over from the claim time to the time to live, renewed or not.
    async fn confirm(&self) -> bool {
        loop {
            let ttl = self.claim.ttl;
            match extend(&self.core, &self.claim, &self.ballots, &self.lease, ttl).await {
                Extension::Extended(_) => return true,
                Extension::Unknown(left) => tokio::time::sleep(self.pause(left)).await,
                Extension::Lost => return false,
            }
        }
    }

    /// Renews until the lock is known to be lost, or has been held for as long as it may: then its time to live
    /// runs out.
    async fn renew(&self) {
        let third = self.claim.ttl / 3;
        let mut pause = third.saturating_sub(self.lease.held_for());
        loop {
            let budget = self.max_hold.saturating_sub(self.lease.held_for());
            if budget <= pause {
                return std::future::pending().await;
            }
            tokio::time::sleep(pause).await;
            // The last renewal is shorter, so that the hold ends when it has to.
            let ttl = self.claim.ttl.min(self.max_hold.saturating_sub(self.lease.held_for()));
            let extension = extend(&self.core, &self.claim, &self.ballots, &self.lease, ttl).await;
            self.core.members.observer.renewed(self.kind, matches!(extension, Extension::Extended(_)));
            pause = match extension {
                Extension::Extended(_) => third,
                Extension::Unknown(left) => {
                    tracing::debug!(
                        token = self.lease.token(),
                        left_ms = left.as_millis(),
                        "renewal unconfirmed"
                    );
                    self.pause(left)
                }
                Extension::Lost => return,
            };
        }
    }

    /// Before a renewal that was not confirmed is tried again.
    fn pause(&self, left: Duration) -> Duration {
        let upper = (left / 10).min(self.claim.ttl / 3);
        upper.mul_f64(rand::rng().random_range(0.5..1.0)).max(Duration::from_millis(1))
    }
}
