//! A Redis Cluster behind the handle: operations go to the node that serves their slot, and follow it.
//!
//! Only what certainly did not run is sent again: a command that was answered `MOVED`, `ASK`, `TRYAGAIN` or
//! `CLUSTERDOWN`, or one that found its node without a connection. What may have run is reported as such.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use redis::{Cmd, Value};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::Config;
use crate::dedicated::Dedicated;
use crate::endpoint::{Endpoint, FixedEndpoint};
use crate::errand::{Delivery, did_not_run};
use crate::error::{Error, ErrorKind, Result};
use crate::events::State;
use crate::ground::Ground;
use crate::handshake::Purpose;
use crate::health::Patient;
use crate::node::Node;
use crate::options::SetOptions;
use crate::pick::{Among, Pick};
use crate::pool::PoolStats;
use crate::reply;
use crate::request::Piped;
use crate::setup::Setup;
use crate::shard_channel::{Lines, ShardChannel};
use crate::shards::Shards;
use crate::slots::slot_of;
use crate::topology::{Replies, Topology};
use crate::typed::Set;

mod channels;
mod delivery;
mod sending;

/// The router of one cluster.
pub(crate) struct Cluster {
    shards: Arc<Shards>,
    lines: Lines,
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
        Ok(Self { shards, lines: Lines::new(), refresher })
    }

    /// A dedicated connection to the master of a key's slot; a slot that nobody serves is waited for.
    async fn lend(&self, key: &[u8]) -> Result<Dedicated> {
        let deadline = Instant::now() + self.shards.setup().config.pool.wait_timeout;
        let mut patience = self.patience(deadline);
        loop {
            let lent = match self.node_for(Some(slot_of(key))) {
                Ok(node) => node.pool().acquire().await,
                Err(error) => Err(error),
            };
            match lent {
                Err(error) if did_not_run(&error) => {
                    self.shards.suspect();
                    if !patience.pause().await {
                        return Err(error);
                    }
                }
                outcome => return outcome,
            }
        }
    }
}

impl Topology for Cluster {
    fn single(&self) -> Option<&Node> {
        None
    }

    fn setup(&self) -> &Arc<Setup> {
        self.shards.setup()
    }

    /// A message that is published anywhere reaches all nodes, so any of them will do to subscribe.
    fn subscribing(&self) -> Arc<Setup> {
        let setup = self.shards.setup();
        let dialer = setup.dialer.sharing(Arc::clone(&setup.config), Purpose::Any);
        setup.beside(Arc::clone(&setup.config), dialer, Pick::start(&self.shards, Among::Masters))
    }

    fn state(&self) -> State {
        let view = self.shards.view();
        let down = view.masters.iter().map(|node| node.state()).find(|state| *state != State::Up);
        down.unwrap_or(State::Up)
    }

    fn patients(&self) -> Vec<Patient> {
        let mut patients = Vec::new();
        self.shards.view().masters.iter().for_each(|node| node.patients(&mut patients));
        patients
    }

    fn is_whole(&self) -> bool {
        self.shards.view().map.is_complete()
    }

    fn pool_stats(&self) -> PoolStats {
        self.shards.view().masters.iter().map(|node| node.pool().stats()).sum()
    }

    fn dedicated<'a>(&'a self, key: Option<&'a [u8]>) -> BoxFuture<'a, Result<Dedicated>> {
        Box::pin(async move {
            let which = || {
                let context = "a connection to any node of a cluster; ask for the one that serves your keys";
                Error::not_sent(ErrorKind::Unsupported, context)
            };
            self.lend(key.ok_or_else(which)?).await
        })
    }

    fn shard_channel(&self, channel: Arc<str>, deadline: Instant) -> BoxFuture<'_, Result<ShardChannel>> {
        Box::pin(self.listen(channel, deadline))
    }

    fn send<'a>(&'a self, command: &'a Cmd, deadline: Instant) -> BoxFuture<'a, Result<Value>> {
        Box::pin(self.dispatch(command, Delivery::Answered, deadline))
    }

    fn write<'a>(&'a self, command: &'a Cmd, deadline: Instant) -> BoxFuture<'a, Result<Value>> {
        Box::pin(self.dispatch(command, self.delivery_of_writes(), deadline))
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
        Box::pin(self.find_and_read(slot_of(key), key, deadline))
    }

    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: &'a [u8],
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            let command = Set { key, value, options }.command();
            let delivery = self.delivery_of_writes();
            reply::written(self.send_to(Some(slot_of(key)), &command, delivery, deadline).await?)
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
            let mut patience = self.patience(deadline);
            loop {
                let error = match self.shards.survey(deadline).await {
                    Ok(ground) => return Ok(Some(ground)),
                    Err(error) => error,
                };
                self.shards.suspect();
                if !patience.pause().await {
                    return Err(error);
                }
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.refresher.abort();
        self.lines.close();
        Box::pin(self.shards.close())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.refresher.abort();
    }
}
