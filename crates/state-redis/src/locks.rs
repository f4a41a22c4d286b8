//! Distributed locks on the backend's servers, or on a quorum of others.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::{self, BoxStream};
use redis_conn::{Conn, Notice, ReadFrom, Servers, WriteConcern};
use redlock::{Guard, LockConfig, LockManager, LockOptions, RedisNode, Renewal, Subscriber};
use state_core::{ErrorKind, StateError, StateResult};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::backend::RedisBackend;
use crate::config::RedisConfig;
use crate::instruments::Instruments;
use crate::keyspace::Layout;
use crate::late::LateConn;
use crate::{error, validate};

/// The lock manager of a backend, and its connections, both made by the first lock: who takes none pays for none.
pub(crate) struct Locks {
    config: RedisConfig,
    instruments: Instruments,
    open: OnceCell<Open>,
}

struct Open {
    manager: LockManager,
    conns: Conns,
}

enum Conns {
    Single(Conn),
    Quorum(Vec<LateConn>),
}

impl RedisBackend {
    /// Takes the lock on `resource` for `ttl`, and waits for it: `lock_wait`, or as long as `ttl` where that is not
    /// set. The lock ends with the guard or, if nobody extends it, after `ttl`.
    ///
    /// Locks have connections of their own, and pass neither the policy nor the breakers of the data path. They live
    /// outside of the data's namespace.
    ///
    /// # Errors
    /// `LockHeld` when others kept it; `Unavailable` when too few servers could be asked; `InvalidInput` for a name
    /// that is empty or longer than 512 bytes or a TTL below 100 ms or above `locks.max_ttl`.
    pub async fn acquire_lock(&self, resource: &str, ttl: Duration) -> StateResult<Guard> {
        let wait = self.inner.config.lock_wait.unwrap_or(ttl);
        self.take_lock(resource, ttl, wait).await
    }

    /// Takes the lock on `resource` for `ttl` if nobody has it, and does not wait.
    ///
    /// # Errors
    /// As [`acquire_lock`](Self::acquire_lock), but a lock that others hold is `None`.
    pub async fn try_acquire_lock(&self, resource: &str, ttl: Duration) -> StateResult<Option<Guard>> {
        match self.take_lock(resource, ttl, Duration::ZERO).await {
            Ok(guard) => Ok(Some(guard)),
            Err(error) if error.kind() == ErrorKind::LockHeld => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All of redlock: renewal, read and write locks, semaphores, several resources at once, elections.
    ///
    /// # Errors
    /// `Unavailable` when the servers that grant locks cannot be reached; `InvalidConfig` when they cannot grant any.
    pub async fn locks(&self) -> StateResult<LockManager> {
        self.inner.locks.manager().await.cloned()
    }

    async fn take_lock(&self, resource: &str, ttl: Duration, wait: Duration) -> StateResult<Guard> {
        let options = LockOptions::ttl(ttl).with_wait(Some(wait)).with_renewal(Renewal::Off);
        let manager = self.inner.locks.manager().await?;
        manager.acquire(resource, options).await.map_err(error::from_lock)
    }
}

impl Locks {
    pub(crate) fn new(config: &RedisConfig, instruments: &Instruments) -> Self {
        Self { config: config.clone(), instruments: instruments.clone(), open: OnceCell::new() }
    }

    async fn manager(&self) -> StateResult<&LockManager> {
        Ok(&self.open.get_or_try_init(|| self.open()).await?.manager)
    }

    /// Releases what dropped guards left to release, and closes the connections.
    pub(crate) async fn close(&self) {
        let Some(open) = self.open.get() else { return };
        open.manager.shutdown().await;
        match &open.conns {
            Conns::Single(conn) => conn.close().await,
            Conns::Quorum(conns) => drop(join_all(conns.iter().map(LateConn::close)).await),
        }
    }

    /// The health of each server that grants locks, `None` for one that was never reached; none before the first lock.
    pub(crate) fn health(&self) -> Vec<Option<redis_conn::Health>> {
        let health = |conn: Conn| conn.health().borrow().clone();
        match self.open.get().map(|open| &open.conns) {
            None => Vec::new(),
            Some(Conns::Single(conn)) => vec![Some(health(conn.clone()))],
            Some(Conns::Quorum(conns)) => conns.iter().map(|conn| conn.made().map(health)).collect(),
        }
    }

    async fn open(&self) -> StateResult<Open> {
        let builder = LockManager::builder(settings(&self.config))
            .observer(LockWatcher::new(&self.config, &self.instruments));
        if self.config.redlock_nodes.is_empty() {
            let conn = connect(authority(&self.config)?).await?;
            let node = RedisNode::new("backend", conn.clone());
            let subscriber = ChannelSubscriber(conn.clone());
            let manager = builder.subscriber(subscriber).single(node).await.map_err(error::from_lock)?;
            return Ok(Open { manager, conns: Conns::Single(conn) });
        }
        let conns: Vec<_> = quorum(&self.config)?.into_iter().map(LateConn::start).collect();
        let nodes = conns.iter().enumerate();
        let nodes =
            nodes.map(|(index, conn)| RedisNode::new(format!("redlock_nodes[{index}]"), conn.clone()));
        let manager = builder.quorum(nodes).await.map_err(error::from_lock)?;
        Ok(Open { manager, conns: Conns::Quorum(conns) })
    }
}

/// Checks the settings of the layer.
pub(crate) fn check(config: &RedisConfig) -> StateResult<()> {
    let nodes = config.redlock_nodes.len();
    validate::demand([0, 3, 5, 7, 9].contains(&nodes), "redlock_nodes are none, or 3, 5, 7 or 9")?;
    for node in quorum(config)? {
        validate::demand(
            matches!(node.servers, Servers::Standalone(_)),
            "redlock_nodes are single servers: masters that know nothing of each other",
        )?;
    }
    settings(config).validate().map_err(|cause| {
        StateError::new(ErrorKind::InvalidConfig, format!("locks.{}", cause.context())).with_source(cause)
    })
}

/// The settings of redlock, under this backend's prefix.
fn settings(config: &RedisConfig) -> LockConfig {
    let prefix = match config.layout {
        Layout::Namespaced => format!("{}l|", config.key_prefix),
        // All that begins with the prefix is data there.
        Layout::Plain => format!("locks|{}", config.key_prefix),
    };
    // A tag in the prefix would put all locks in one slot; each has one of its own.
    config.locks.clone().with_prefix(prefix.replace('{', "(").replace('}', ")"))
}

/// The connection to the backend's own servers: the master only, without breaker and pool.
fn authority(config: &RedisConfig) -> StateResult<redis_conn::Config> {
    let mut connection = validate::connection(config)?;
    connection.read_from = ReadFrom::Master;
    connection.write_concern = WriteConcern::Fast;
    connection.pool.min = 0;
    Ok(connection)
}

fn quorum(config: &RedisConfig) -> StateResult<Vec<redis_conn::Config>> {
    let parse = |url: &String| {
        let connection =
            redis_conn::Config::from_url(url).map_err(|cause| error::in_config("redlock_nodes", cause))?;
        Ok(connection
            .with_connect_timeout(config.connect_timeout)
            .with_command_timeout(config.command_timeout))
    };
    config.redlock_nodes.iter().map(parse).collect()
}

async fn connect(config: redis_conn::Config) -> StateResult<Conn> {
    Conn::connect(config).await.map_err(error::in_connect)
}

/// Wake-ups of waiters, over a subscription of the connection.
struct ChannelSubscriber(Conn);

#[async_trait]
impl Subscriber for ChannelSubscriber {
    async fn subscribe(
        &self,
        channel: &str,
    ) -> Result<BoxStream<'static, String>, Box<dyn std::error::Error + Send + Sync>> {
        let subscription = self.0.subscribe().await?;
        subscription.subscribe(channel, Instant::now() + self.0.config().connect_timeout).await?;
        let next = |mut subscription: redis_conn::Subscription| async {
            match subscription.next().await? {
                Notice::Message { payload, .. } => Some((String::from_utf8(payload).ok()?, subscription)),
                // Wake-ups may have been missed: the end of the stream makes all waiters look, and subscribes anew.
                _ => None,
            }
        };
        Ok(stream::unfold(subscription, next).boxed())
    }
}

/// What locks tell the instruments.
struct LockWatcher {
    #[cfg(feature = "metrics")]
    instruments: Instruments,
    #[cfg(feature = "metrics")]
    mode: state_metrics::LockMode,
}

#[cfg(not(feature = "metrics"))]
impl LockWatcher {
    fn new(_config: &RedisConfig, _instruments: &Instruments) -> Self {
        Self {}
    }
}

#[cfg(not(feature = "metrics"))]
impl redlock::Observer for LockWatcher {}

#[cfg(feature = "metrics")]
impl LockWatcher {
    fn new(config: &RedisConfig, instruments: &Instruments) -> Self {
        let is_single = config.redlock_nodes.is_empty();
        let mode = if is_single { state_metrics::LockMode::Single } else { state_metrics::LockMode::Quorum };
        Self { instruments: instruments.clone(), mode }
    }

    fn lock(&self) -> state_metrics::Lock {
        state_metrics::Lock::new(self.mode, state_metrics::LockKind::Mutex)
    }
}

#[cfg(feature = "metrics")]
impl redlock::Observer for LockWatcher {
    fn acquired(&self, wait: Duration, _attempts: u32) {
        self.instruments.0.lock_attempted(self.lock(), state_metrics::LockOutcome::Acquired, wait);
    }

    fn failed(&self, kind: redlock::ErrorKind, wait: Duration, _attempts: u32) {
        use state_metrics::LockOutcome;
        let outcome = match kind {
            redlock::ErrorKind::Held if wait.is_zero() => LockOutcome::Held,
            redlock::ErrorKind::Held => LockOutcome::TimedOut,
            _ => LockOutcome::Failed,
        };
        self.instruments.0.lock_attempted(self.lock(), outcome, wait);
    }

    fn released(&self, hold: Duration, outcome: redlock::Outcome) {
        use state_metrics::LockEnd;
        let end = match outcome {
            redlock::Outcome::Released => LockEnd::Released,
            redlock::Outcome::AlreadyExpired => LockEnd::AlreadyExpired,
            redlock::Outcome::Stolen => LockEnd::Stolen,
            _ => LockEnd::Unknown,
        };
        self.instruments.0.lock_released(self.lock(), end, hold);
    }

    fn lost(&self, hold: Duration) {
        self.instruments.0.lock_lost(self.lock(), hold);
    }

    fn renewed(&self, confirmed: bool) {
        if confirmed {
            self.instruments.0.lock_renewed(self.lock());
        }
    }
}
