//! The handle.

use std::fmt;
use std::sync::Arc;

use redis::{Cmd, Pipeline, RedisError, RedisFuture, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::config::{Config, Servers};
use crate::dedicated::Dedicated;
use crate::endpoint::{EndpointSource, FixedEndpoint};
use crate::errand::did_not_run;
use crate::error::Result;
use crate::events::{Events, State};
use crate::guard::refuse_stateful;
use crate::health::{Health, watch_over};
use crate::node::Node;
use crate::options::SetOptions;
use crate::pool::PoolStats;
use crate::pubsub::Subscription;
use crate::reply;
use crate::request::Piped;
use crate::sentinel::SentinelSource;
use crate::setup::Setup;
use crate::shard_channel::ShardChannel;
use crate::topology::{Replies, Topology};

/// A handle to Redis that keeps itself connected. Clones share the connections; the last one closes them.
///
/// Commands of all tasks share one connection. While it is down they fail at once, with a class that says that
/// nothing was sent, and attempts to connect go on for ever. Every operation ends by its deadline.
#[derive(Clone)]
pub struct Conn {
    topology: Arc<dyn Topology>,
    health: watch::Receiver<Health>,
}

impl Conn {
    /// Connects.
    ///
    /// # Errors
    /// `InvalidConfig` for a wrong setting; `Unavailable` or `Timeout` when nothing answered within
    /// `connect_timeout`; `Auth`, `Denied` or `Protocol` when the server answered and repeating cannot help.
    pub async fn connect(config: Config) -> Result<Self> {
        config.validate()?;
        let deadline = Instant::now() + config.connect_timeout;
        let source: Arc<dyn EndpointSource> = match &config.servers {
            Servers::Standalone(endpoint) => Arc::new(FixedEndpoint::new(endpoint.clone())),
            Servers::Sentinel { sentinels, service } => {
                Arc::new(SentinelSource::start(&config, sentinels, service))
            }
            Servers::Cluster { seeds } => {
                let seeds = seeds.clone();
                return Ok(Self::over(Cluster::connect(config, &seeds, deadline).await?));
            }
        };
        let node = Node::start(Setup::new(Arc::new(config), source));
        node.ready(deadline).await?;
        Ok(Self::over(node))
    }

    fn over(topology: impl Topology) -> Self {
        let topology: Arc<dyn Topology> = Arc::new(topology);
        Self { health: watch_over(&topology), topology }
    }

    /// Sends a command and waits for its answer, at most until `deadline`.
    ///
    /// Commands that change or block the shared connection (`SELECT`, `WATCH`, `MULTI`, `SUBSCRIBE`, `BLPOP`,
    /// `CLIENT REPLY` ...) are refused; a pipeline in atomic mode is fine.
    ///
    /// # Errors
    /// An error reply of the server comes as its kind (`WrongType`, `Reply` ...), with its code. `Unavailable`,
    /// `Overloaded` and `Rejected` mean that nothing was sent; `Timeout` and `Disconnected` say by their class
    /// whether the command may have run. `Unsupported` for the commands named above.
    pub async fn run(&self, command: &Cmd, deadline: Instant) -> Result<Value> {
        reply::value(self.send(command, deadline).await?)
    }

    /// Sends a pipeline as one request and returns one result per member, in order. A failed member leaves the
    /// others alone. In atomic mode the members are those of `EXEC`.
    ///
    /// # Errors
    /// As [`run`](Self::run), for the pipeline as a whole; `Aborted` when a transaction did not run.
    pub async fn run_pipeline(&self, pipeline: &Pipeline, deadline: Instant) -> Result<Vec<Result<Value>>> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let replies = self.send_pipeline(Piped::new(pipeline), deadline).await?;
        reply::members(pipeline, replies)
    }

    /// Reads a string. Under load it shares a request with other reads.
    ///
    /// # Errors
    /// `WrongType` when the key holds something else; otherwise as [`run`](Self::run).
    pub async fn get(&self, key: &[u8], deadline: Instant) -> Result<Option<Vec<u8>>> {
        if let Some(node) = self.topology.single() {
            return node.get(key, deadline).await;
        }
        if let Some(node) = self.topology.master_of(key) {
            match node.get(key, deadline).await {
                Err(error) if did_not_run(&error) => {}
                outcome => return outcome,
            }
        }
        self.topology.get(key, deadline).await
    }

    /// Writes a string over whatever the key held, and says whether it did: `false` only when the condition
    /// did not hold. Under load it shares a request with other writes.
    ///
    /// # Errors
    /// `InvalidInput` for a time to live below 1 ms; `NotReplicated` when the configured
    /// [`WriteConcern`](crate::WriteConcern) is not met; otherwise as [`run`](Self::run).
    pub async fn set(
        &self,
        key: &[u8],
        value: &[u8],
        options: SetOptions,
        deadline: Instant,
    ) -> Result<bool> {
        options.validate()?;
        if let Some(node) = self.topology.single() {
            return node.set(key, value, options, deadline).await;
        }
        if let Some(node) = self.topology.master_of(key) {
            match node.set(key, value, options, deadline).await {
                Err(error) if did_not_run(&error) => {}
                outcome => return outcome,
            }
        }
        self.topology.set(key, value, options, deadline).await
    }

    /// Runs a command on one `key`, as [`run`](Self::run) does; under load it shares a request with others. For
    /// commands and scripts that the server answers at once: it answers the members of a request one after the other.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn call(&self, key: &[u8], command: &Cmd, deadline: Instant) -> Result<Value> {
        refuse_stateful(command)?;
        if let Some(node) = self.topology.single() {
            return reply::value(node.perform(command, deadline).await?);
        }
        if let Some(node) = self.topology.master_of(key) {
            match node.perform(command, deadline).await.and_then(reply::value) {
                Err(error) if did_not_run(&error) => {}
                outcome => return outcome,
            }
        }
        reply::value(self.topology.send(command, deadline).await?)
    }

    /// Sends a command that writes, under the configured [`WriteConcern`](crate::WriteConcern). With
    /// [`WriteConcern::Fast`](crate::WriteConcern::Fast) that is [`run`](Self::run).
    ///
    /// # Errors
    /// `NotReplicated` when too few replicas confirmed the write, which the master then has; otherwise as
    /// [`run`](Self::run).
    pub async fn write(&self, command: &Cmd, deadline: Instant) -> Result<Value> {
        refuse_stateful(command)?;
        reply::value(match self.topology.single() {
            Some(node) => node.write(command, deadline).await?,
            None => self.topology.write(command, deadline).await?,
        })
    }

    /// Lends a connection of its own from the pool, for blocking commands, `WATCH` and other exclusive work.
    /// Waits at most `pool.wait_timeout` for one; callers are served in order.
    ///
    /// # Errors
    /// `Overloaded` when none became free in time; `Unavailable` while the server is not reachable;
    /// `Unsupported` on a cluster: see [`dedicated_for`](Self::dedicated_for).
    pub async fn dedicated(&self) -> Result<Dedicated> {
        self.topology.dedicated(None).await
    }

    /// As [`dedicated`](Self::dedicated); on a cluster, the connection is one to the master that serves `key`.
    ///
    /// It stays with that node. Once the slot has moved, commands on it fail with `Redirected`, a blocked one too:
    /// drop it then, and ask again.
    ///
    /// # Errors
    /// `Overloaded` when none became free in time; `Unavailable` while the node is not reachable, on a cluster only
    /// when that lasts for `pool.wait_timeout`.
    pub async fn dedicated_for(&self, key: &[u8]) -> Result<Dedicated> {
        self.topology.dedicated(Some(key)).await
    }

    /// The state of the pool of dedicated connections; on a cluster, the sum over its masters.
    pub fn pool_stats(&self) -> PoolStats {
        self.topology.pool_stats()
    }

    /// Opens a subscription on a connection of its own; on a cluster, to one of the masters, where what is published
    /// anywhere arrives.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), within `connect_timeout`.
    pub async fn subscribe(&self) -> Result<Subscription> {
        let setup = self.topology.subscribing();
        let deadline = Instant::now() + setup.config.connect_timeout;
        Subscription::open(setup, deadline).await
    }

    /// Subscribes to a channel of `SPUBLISH` in a cluster, at the master that serves its slot; returns when that has
    /// confirmed it. A slot that nobody serves is waited for.
    ///
    /// What [`subscribe`](Self::subscribe) is given is sent to every node of a cluster; this stays on one.
    ///
    /// # Errors
    /// `Unsupported` outside of a cluster, and by servers before 7.0; `Denied` when the ACL forbids the command or the
    /// channel; `Unavailable` or `Timeout` at `deadline`; `Closed`.
    pub async fn shard_channel(
        &self,
        channel: impl Into<Arc<str>>,
        deadline: Instant,
    ) -> Result<ShardChannel> {
        self.topology.shard_channel(channel.into(), deadline).await
    }

    /// The health of the servers, and of the sentinels if there are any: checked every `health_interval`, and when
    /// a connection is lost or back.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// What happens on the connections from now on.
    pub fn events(&self) -> Events {
        self.topology.setup().events.subscribe()
    }

    /// State of the shared connection.
    pub fn state(&self) -> State {
        self.topology.state()
    }

    /// The settings it was built from.
    pub fn config(&self) -> &Config {
        &self.topology.setup().config
    }

    /// Reads the TLS certificates and keys again, for connections to servers and sentinels from now on. That also happens by itself, see [`Tls`](crate::Tls). Does nothing without TLS.
    ///
    /// # Errors
    /// `InvalidConfig` when they cannot be used; the last good ones stay in use.
    #[cfg(feature = "tls")]
    pub async fn reload_tls(&self) -> Result<()> {
        let setup = self.topology.setup();
        setup.dialer.reload_tls().await?;
        setup.source.reload_tls().await
    }

    /// Closes the shared connections, for every clone, and the idle ones of the pool; returns when they are closed.
    /// What is under way fails. Lent connections and subscriptions end when they are dropped.
    pub async fn close(&self) {
        self.topology.close().await;
    }

    pub(crate) fn topology(&self) -> Arc<dyn Topology> {
        Arc::clone(&self.topology)
    }

    async fn send(&self, command: &Cmd, deadline: Instant) -> Result<Value> {
        refuse_stateful(command)?;
        match self.topology.single() {
            Some(node) => node.send(command, deadline).await,
            None => self.topology.send(command, deadline).await,
        }
    }

    async fn send_pipeline(&self, pipeline: Piped<'_>, deadline: Instant) -> Result<Replies> {
        for command in pipeline.pipeline.cmd_iter() {
            refuse_stateful(command)?;
        }
        match self.topology.single() {
            Some(node) => Ok(node.send(pipeline, deadline).await?.into_iter().map(Ok).collect()),
            None => self.topology.send_pipeline(pipeline, deadline).await,
        }
    }

    fn default_deadline(&self) -> Instant {
        Instant::now() + self.config().command_timeout
    }
}

/// Lets every redis-rs command, pipeline and script run over the handle, each within `command_timeout`.
///
/// Error replies of the server come as redis-rs knows them; errors of this crate are the source of an I/O error
/// and can be had back with [`Error::from_redis`](crate::Error::from_redis).
impl redis::aio::ConnectionLike for Conn {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let deadline = self.default_deadline();
        Box::pin(async move { self.send(cmd, deadline).await.map_err(RedisError::from) })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let deadline = self.default_deadline();
        let piped = Piped { pipeline, offset, count };
        Box::pin(async move {
            let replies = self.send_pipeline(piped, deadline).await.map_err(RedisError::from)?;
            replies.into_iter().map(|reply| reply.map_err(RedisError::from)).collect()
        })
    }

    fn get_db(&self) -> i64 {
        i64::from(self.config().db)
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("servers", &self.config().servers)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
