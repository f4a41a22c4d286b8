//! The seam between the handle and what stands behind it: one node, or a router over many.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use redis::{Cmd, Value};
use tokio::time::Instant;

use crate::dedicated::Dedicated;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::events::State;
use crate::ground::Ground;
use crate::health::Patient;
use crate::node::Node;
use crate::options::SetOptions;
use crate::pool::PoolStats;
use crate::request::Piped;
use crate::setup::Setup;
use crate::shard_channel::ShardChannel;

/// One result for each reply; error replies are data.
pub(crate) type Replies = Vec<Result<Value>>;

/// What a handle sends its operations to.
pub(crate) trait Topology: Send + Sync + 'static {
    /// The node that serves every key, where there is one: operations then go to it directly, without the box
    /// that the methods below need.
    fn single(&self) -> Option<&Node>;

    /// What the parts of this handle share.
    fn setup(&self) -> &Arc<Setup>;

    /// What a subscription is opened with.
    fn subscribing(&self) -> Arc<Setup>;

    /// State of the connections: the worst where there are several.
    fn state(&self) -> State;

    /// The connections whose health is that of the handle.
    fn patients(&self) -> Vec<Patient>;

    /// Whether all keys have a node.
    fn is_whole(&self) -> bool;

    /// The state of all pools together.
    fn pool_stats(&self) -> PoolStats;

    /// Lends a connection to the node of a key; without a key, to the only one.
    fn dedicated<'a>(&'a self, key: Option<&'a [u8]>) -> BoxFuture<'a, Result<Dedicated>>;

    /// Subscribes to a sharded channel, where there are slots.
    fn shard_channel(&self, channel: Arc<str>, deadline: Instant) -> BoxFuture<'_, Result<ShardChannel>>;

    /// Sends a command to the node its keys live on. Error replies come back as data.
    fn send<'a>(&'a self, command: &'a Cmd, deadline: Instant) -> BoxFuture<'a, Result<Value>>;

    /// Sends a write under the configured write concern. Error replies come back as data.
    fn write<'a>(&'a self, command: &'a Cmd, deadline: Instant) -> BoxFuture<'a, Result<Value>>;

    /// Sends a pipeline, split by node where need be.
    fn send_pipeline<'a>(&'a self, pipeline: Piped<'a>, deadline: Instant) -> BoxFuture<'a, Result<Replies>>;

    /// The node that serves `key` as far as is known. Typed operations try it first, directly.
    fn master_of(&self, key: &[u8]) -> Option<Arc<Node>>;

    /// Reads a string, wherever its key has gone.
    fn get<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Option<Vec<u8>>>>;

    /// Writes a string, wherever its key has gone.
    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: &'a [u8],
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool>>;

    /// Sends a command to one node of several, or to the only one, and says in which epoch of its connection.
    fn send_at<'a>(
        &'a self,
        at: Option<&'a Arc<Endpoint>>,
        command: &'a Cmd,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<(Value, u64)>>;

    /// Who owns which slot now; `None` where there are no slots.
    fn ground(&self, deadline: Instant) -> BoxFuture<'_, Result<Option<Ground>>>;

    /// Ends all connections; returns when they are closed.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// The topology of a single node, fixed or followed by its endpoint source.
impl Topology for Node {
    fn single(&self) -> Option<&Node> {
        Some(self)
    }

    fn setup(&self) -> &Arc<Setup> {
        self.setup()
    }

    fn subscribing(&self) -> Arc<Setup> {
        Arc::clone(self.setup())
    }

    fn state(&self) -> State {
        self.state()
    }

    fn patients(&self) -> Vec<Patient> {
        let mut patients = Vec::new();
        self.patients(&mut patients);
        patients
    }

    fn is_whole(&self) -> bool {
        true
    }

    fn pool_stats(&self) -> PoolStats {
        self.pool().stats()
    }

    fn dedicated<'a>(&'a self, _: Option<&'a [u8]>) -> BoxFuture<'a, Result<Dedicated>> {
        Box::pin(self.pool().acquire())
    }

    fn shard_channel(&self, _: Arc<str>, _: Instant) -> BoxFuture<'_, Result<ShardChannel>> {
        let context = "sharded channels outside of a cluster, where any channel stays on its server";
        Box::pin(std::future::ready(Err(Error::not_sent(ErrorKind::Unsupported, context))))
    }

    fn send<'a>(&'a self, command: &'a Cmd, deadline: Instant) -> BoxFuture<'a, Result<Value>> {
        Box::pin(self.send(command, deadline))
    }

    fn write<'a>(&'a self, command: &'a Cmd, deadline: Instant) -> BoxFuture<'a, Result<Value>> {
        Box::pin(self.write(command, deadline))
    }

    fn send_pipeline<'a>(&'a self, pipeline: Piped<'a>, deadline: Instant) -> BoxFuture<'a, Result<Replies>> {
        Box::pin(async move { Ok(self.send(pipeline, deadline).await?.into_iter().map(Ok).collect()) })
    }

    fn master_of(&self, _: &[u8]) -> Option<Arc<Node>> {
        None
    }

    fn get<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Option<Vec<u8>>>> {
        Box::pin(self.get(key, deadline))
    }

    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: &'a [u8],
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(self.set(key, value, options, deadline))
    }

    fn send_at<'a>(
        &'a self,
        _: Option<&'a Arc<Endpoint>>,
        command: &'a Cmd,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<(Value, u64)>> {
        Box::pin(self.send_in_epoch(command, deadline))
    }

    fn ground(&self, _: Instant) -> BoxFuture<'_, Result<Option<Ground>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.close())
    }
}
