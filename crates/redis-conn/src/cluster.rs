//! A Redis Cluster behind the handle: operations go to the node that serves their slot, and follow it.
//!
//! Only what certainly did not run is sent again: a command that was answered `MOVED`, `ASK`, `TRYAGAIN` or
//! `CLUSTERDOWN`, or one that found its node without a connection. What may have run is reported as such.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use redis::{Cmd, Pipeline, Value};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::backoff::jittered;
use crate::config::Config;
use crate::endpoint::{Endpoint, FixedEndpoint};
use crate::errand::{Detour, Errand, Group};
use crate::error::{Error, ErrorKind, Result};
use crate::events::State;
use crate::gather::{Parts, join};
use crate::ground::Ground;

use crate::node::Node;
use crate::options::{SetOptions, get_command};
use crate::reply;
use crate::request::Piped;
use crate::routing::{Gather, Route};
use crate::setup::Setup;
use crate::shards::Shards;
use crate::slots::slot_of;
use crate::topology::{Replies, Topology};

/// Redirects followed without a pause; more of them mean that the nodes do not agree yet.
const PROMPT_HOPS: u32 = 4;

/// First and longest pause before an operation whose slot nobody serves is sent again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(160));

/// The router of one cluster.
pub(crate) struct Cluster {
    shards: Arc<Shards>,
    refresher: JoinHandle<()>,
}

impl Cluster {
    /// Learns the topology from the seeds and connects to all masters.
    ///
    /// # Errors
    /// What kept the last seed from answering by the deadline; `Unsupported` for servers that are no cluster.
    pub(crate) async fn connect(config: Config, seeds: &[Endpoint], deadline: Instant) -> Result<Self> {
        let source = Arc::new(FixedEndpoint::new(seeds[0].clone()));
        let shards = Shards::discover(Setup::new(Arc::new(config), source), seeds, deadline).await?;
        let refresher = tokio::spawn(Arc::clone(&shards).keep_fresh());
        Ok(Self { shards, refresher })
    }

    /// Delivers one command to the master of its slot.
    async fn send_to(&self, slot: Option<u16>, command: &Cmd, deadline: Instant) -> Result<Value> {
        // The usual case: the view is right and the node is there.
        let direct = match slot {
            Some(slot) => self.shards.view().master_of(slot).cloned(),
            None => self.shards.any_master(),
        };
        let mut errand = Errand::new(vec![command], slot);
        if let Some(node) = direct {
            let answer = node.send(command, deadline).await.map(|reply| vec![reply]);
            errand.settle(answer, &node);
        }
        self.deliver(std::slice::from_mut(&mut errand), deadline).await;
        errand.reply().map(|mut replies| replies.remove(0))
    }

    /// Divides a command of many keys and puts the replies together.
    async fn send_parts(
        &self,
        command: &Cmd,
        step: usize,
        gather: Gather,
        deadline: Instant,
    ) -> Result<Value> {
        let parts = Parts::of(command, step);
        let mut errands: Vec<_> =
            parts.commands().map(|(slot, command)| Errand::new(vec![command], Some(slot))).collect();
        self.deliver(&mut errands, deadline).await;
        let replies = errands.into_iter().map(|errand| errand.reply().map(|mut replies| replies.remove(0)));
        parts.join(gather, replies.collect::<Result<_>>()?)
    }

    /// Sends a command to every master.
    async fn send_to_all(&self, command: &Cmd, gather: Gather, deadline: Instant) -> Result<Value> {
        let masters = self.shards.view().masters.clone();
        let replies = join_all(masters.iter().map(|node| node.send(command, deadline))).await;
        join(gather, replies.into_iter().collect::<Result<_>>()?)
    }

    async fn send_transaction(&self, pipeline: &Pipeline, deadline: Instant) -> Result<Replies> {
        let slot = Route::of_transaction(pipeline)?;
        let (multi, exec) = (redis::cmd("MULTI"), redis::cmd("EXEC"));
        let commands = std::iter::once(&multi).chain(pipeline.cmd_iter()).chain(std::iter::once(&exec));
        let mut errand = Errand::new(commands.collect(), slot);
        self.deliver(std::slice::from_mut(&mut errand), deadline).await;
        Ok(errand.reply()?.pop().map(Ok).into_iter().collect())
    }

    async fn send_members(&self, pipeline: &Pipeline, deadline: Instant) -> Result<Replies> {
        let mut errands = Vec::with_capacity(pipeline.len());
        for command in pipeline.cmd_iter() {
            errands.push(match Route::of(command)? {
                Route::Slot(slot) => Errand::new(vec![command], Some(slot)),
                Route::AnyMaster => Errand::new(vec![command], None),
                // Its replies would have to be put together in the midst of those of the others.
                Route::Divided(_) | Route::AllMasters(_) => Errand::apart(command),
            });
        }
        for errand in errands.iter_mut().filter(|errand| errand.apart) {
            let reply = self.send(errand.commands[0], deadline).await;
            errand.outcome = Some(reply.map(|reply| vec![reply]));
        }
        self.deliver(&mut errands, deadline).await;
        Ok(errands.into_iter().map(|errand| errand.reply().map(|mut replies| replies.remove(0))).collect())
    }

    /// Sends each errand to the node for it, and after it when it is elsewhere, until all have an outcome.
    async fn deliver(&self, errands: &mut [Errand<'_>], deadline: Instant) {
        let mut round = 0;
        let mut pause = PAUSE.0;
        loop {
            if round > 0 || errands.iter().any(|errand| errand.detour.is_some()) {
                self.shards.suspect();
            }
            let wait = round > PROMPT_HOPS || errands.iter().any(Errand::is_waiting);
            if wait && !self.pause(&mut pause, deadline).await {
                errands.iter_mut().for_each(Errand::give_up);
            }
            let groups = self.group(errands, deadline).await;
            if groups.is_empty() && errands.iter().all(|errand| errand.outcome.is_some()) {
                return;
            }
            let answers = join_all(groups.iter().map(|group| group.send(errands, deadline))).await;
            for (group, answer) in groups.iter().zip(answers) {
                group.settle(errands, answer);
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
        let node = match errand.slot {
            Some(slot) => self.shards.view().master_of(slot).cloned(),
            None => self.shards.any_master(),
        };
        let unserved =
            || Error::not_sent(ErrorKind::Unavailable, "no node serves the slot; nothing was sent");
        Ok((node.ok_or_else(unserved)?, false))
    }

    /// Waits for a change of the topology or for a while. `false` when the deadline has come.
    async fn pause(&self, pause: &mut Duration, deadline: Instant) -> bool {
        let mut version = self.shards.version();
        let until = (Instant::now() + jittered(*pause)).min(deadline);
        let _ = timeout_at(until, version.changed()).await;
        *pause = (*pause * 2).min(PAUSE.1);
        Instant::now() < deadline
    }
}

impl Topology for Cluster {
    fn single(&self) -> Option<&Node> {
        None
    }

    fn setup(&self) -> &Arc<Setup> {
        self.shards.setup()
    }

    fn state(&self) -> State {
        let view = self.shards.view();
        let down = view.masters.iter().map(|node| node.state()).find(|state| *state != State::Up);
        down.unwrap_or(State::Up)
    }

    fn send<'a>(&'a self, command: &'a Cmd, deadline: Instant) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            match Route::of(command)? {
                Route::Slot(slot) => self.send_to(Some(slot), command, deadline).await,
                Route::AnyMaster => self.send_to(None, command, deadline).await,
                Route::Divided(division) => {
                    self.send_parts(command, division.step, division.gather, deadline).await
                }
                Route::AllMasters(gather) => self.send_to_all(command, gather, deadline).await,
            }
        })
    }

    fn send_pipeline<'a>(&'a self, piped: Piped<'a>, deadline: Instant) -> BoxFuture<'a, Result<Replies>> {
        Box::pin(async move {
            match piped.pipeline.is_transaction() {
                true => self.send_transaction(piped.pipeline, deadline).await,
                false => self.send_members(piped.pipeline, deadline).await,
            }
        })
    }

    fn master_of(&self, key: &[u8]) -> Option<Arc<Node>> {
        self.shards.view().master_of(slot_of(key)).cloned()
    }

    fn get<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Option<Vec<u8>>>> {
        Box::pin(
            async move { reply::bytes(self.send_to(Some(slot_of(key)), &get_command(key), deadline).await?) },
        )
    }

    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: &'a [u8],
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            let command = options.command(key, value);
            reply::written(self.send_to(Some(slot_of(key)), &command, deadline).await?)
        })
    }

    fn send_at<'a>(
        &'a self,
        at: Option<&'a Arc<Endpoint>>,
        command: &'a Cmd,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<(Value, u64)>> {
        Box::pin(async move {
            let endpoint =
                at.ok_or_else(|| Error::not_sent(ErrorKind::Unsupported, "which node is to be asked"))?;
            self.shards.node(endpoint)?.send_in_epoch(command, deadline).await
        })
    }

    fn ground(&self, deadline: Instant) -> BoxFuture<'_, Result<Option<Ground>>> {
        Box::pin(async move {
            let mut pause = PAUSE.0;
            loop {
                let error = match self.shards.survey(deadline).await {
                    Ok(ground) => return Ok(Some(ground)),
                    Err(error) => error,
                };
                self.shards.suspect();
                if !self.pause(&mut pause, deadline).await {
                    return Err(error);
                }
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.refresher.abort();
        Box::pin(self.shards.close())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.refresher.abort();
    }
}
