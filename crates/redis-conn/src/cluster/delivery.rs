//! Brings errands to the nodes they are for, and after them when they are elsewhere.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::Cluster;
use crate::backoff::jittered;
use crate::errand::{Detour, Errand, Group};
use crate::error::{Error, ErrorKind, Result};
use crate::node::Node;

/// Redirects followed without a pause; more of them mean that the nodes do not agree yet.
const PROMPT_HOPS: u32 = 4;

/// First and longest pause before an operation whose slot nobody serves is sent again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(160));

impl Cluster {
    /// Sends each errand to the node for it until all have an outcome.
    pub(super) async fn deliver(&self, errands: &mut [Errand<'_>], deadline: Instant) {
        let mut round = 0;
        let mut patience = self.patience(deadline);
        loop {
            if round > 0 || errands.iter().any(|errand| errand.detour.is_some()) {
                self.shards.suspect();
            }
            let wait = round > PROMPT_HOPS || errands.iter().any(Errand::is_waiting);
            if wait && !patience.pause().await {
                errands.iter_mut().for_each(Errand::give_up);
            }
            let groups = self.group(errands, deadline).await;
            if groups.is_empty() && errands.iter().all(|errand| errand.outcome.is_some()) {
                return;
            }
            let answers = join_all(groups.iter().map(|group| group.send(errands, deadline))).await;
            for (group, answers) in groups.iter().zip(answers) {
                group.settle(errands, answers);
            }
            round += 1;
        }
    }

    /// Puts the errands without an outcome together by the node they are to go to.
    async fn group(&self, errands: &mut [Errand<'_>], deadline: Instant) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for (index, errand) in errands.iter_mut().enumerate().filter(|(_, errand)| errand.outcome.is_none()) {
            match self.target(errand, deadline).await {
                Ok((node, asking)) => {
                    let same = |group: &&mut Group| Arc::ptr_eq(&group.node, &node) && group.asking == asking;
                    match groups.iter_mut().find(same) {
                        Some(group) => group.members.push(index),
                        None => groups.push(Group { node, asking, members: vec![index] }),
                    }
                }
                Err(error) => errand.fail(error, None),
            }
        }
        groups
    }

    async fn target(&self, errand: &mut Errand<'_>, deadline: Instant) -> Result<(Arc<Node>, bool)> {
        if let Some(Detour::To { endpoint, asking }) = errand.detour.take() {
            return Ok((self.shards.at(&endpoint, deadline).await?, asking));
        }
        Ok((self.node_for(errand.slot)?, false))
    }

    /// The master of a slot, or any.
    ///
    /// # Errors
    /// `Unavailable`, when there is none.
    pub(super) fn node_for(&self, slot: Option<u16>) -> Result<Arc<Node>> {
        let node = match slot {
            Some(slot) => self.shards.view().master_of(slot).cloned(),
            None => self.shards.any_master(),
        };
        let unserved =
            || Error::not_sent(ErrorKind::Unavailable, "no node serves the slot; nothing was sent");
        node.ok_or_else(unserved)
    }

    pub(super) fn patience(&self, deadline: Instant) -> Patience<'_> {
        Patience { cluster: self, pause: PAUSE.0, deadline }
    }
}

/// Pauses that grow, up to a deadline.
pub(super) struct Patience<'a> {
    cluster: &'a Cluster,
    pause: Duration,
    deadline: Instant,
}

impl Patience<'_> {
    /// Waits for a change of the topology or for a while. `false` when the deadline has come.
    pub(super) async fn pause(&mut self) -> bool {
        let mut version = self.cluster.shards.version();
        let until = (Instant::now() + jittered(self.pause)).min(self.deadline);
        // Either is a reason to look again.
        let _ = timeout_at(until, version.changed()).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
        Instant::now() < self.deadline
    }
}
