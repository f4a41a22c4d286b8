//! Distributed locks on the backend's servers, or on a quorum of others.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis_conn::{Conn, ReadFrom, WriteConcern};
use redlock::{Guard, LockConfig, LockManager, LockOptions, ManagerBuilder, RedisNode, Renewal};
use state_core::{ErrorKind, StateError, StateResult};
use tokio::sync::RwLock;

use crate::backend::RedisBackend;
use crate::config::RedisConfig;
use crate::instruments::Instruments;
use crate::keyspace::Layout;
use crate::late::LateConn;
use crate::lock_subscriber::LockSubscriber;
use crate::lock_watcher::LockWatcher;
use crate::observe::SubscriberWatcher;
use crate::quorum::quorum;
use crate::{error, validate};

/// The lock manager of a backend, and its connections, all made by the first lock: who takes none pays for none.
pub(crate) struct Locks {
    config: RedisConfig,
    instruments: Instruments,
    state: RwLock<State>,
}

enum State {
    Unused,
    Open(Open),
    Closed,
}

impl State {
    fn manager(&self) -> Option<StateResult<LockManager>> {
        match self {
            Self::Unused => None,
            Self::Open(open) => Some(Ok(open.manager.clone())),
            Self::Closed => Some(Err(StateError::new(ErrorKind::Closed, "lock: the backend was closed"))),
        }
    }
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

    /// All of redlock: renewal, read and write locks, semaphores, several resources at once, elections. The manager is
    /// the backend's, on its servers or its quorum, and ends with it; metrics tell the kinds of locks apart.
    ///
    /// # Errors
    /// `Unavailable` when the servers that grant locks cannot be reached; `InvalidConfig` when they cannot grant any.
    pub async fn locks(&self) -> StateResult<LockManager> {
        self.inner.locks.get().await
    }

    async fn take_lock(&self, resource: &str, ttl: Duration, wait: Duration) -> StateResult<Guard> {
        let options = LockOptions::ttl(ttl).with_wait(Some(wait)).with_renewal(Renewal::Off);
        let manager = self.inner.locks.get().await?;
        manager.acquire(resource, options).await.map_err(error::from_lock)
    }
}

impl Locks {
    pub(crate) fn new(config: &RedisConfig, instruments: &Instruments) -> Self {
        let state = RwLock::new(State::Unused);
        Self { config: config.clone(), instruments: instruments.clone(), state }
    }

    async fn get(&self) -> StateResult<LockManager> {
        if let Some(known) = self.state.read().await.manager() {
            return known;
        }
        let mut state = self.state.write().await;
        if let Some(known) = state.manager() {
            return known;
        }
        let open = self.open().await?;
        let manager = open.manager.clone();
        *state = State::Open(open);
        Ok(manager)
    }

    /// Releases what dropped guards left to release, and closes the connections.
    pub(crate) async fn close(&self) {
        let state = std::mem::replace(&mut *self.state.write().await, State::Closed);
        let State::Open(open) = state else { return };
        open.manager.shutdown().await;
        match &open.conns {
            Conns::Single(conn) => conn.close().await,
            Conns::Quorum(conns) => drop(join_all(conns.iter().map(LateConn::close)).await),
        }
    }

    /// The health of each server that grants locks, `None` for one that was never reached; none before the first lock.
    pub(crate) fn health(&self) -> Vec<Option<redis_conn::Health>> {
        let health = |conn: Conn| conn.health().borrow().clone();
        let state = self.state.try_read();
        // Not in use, or only just connecting.
        let Ok(State::Open(open)) = state.as_deref() else { return Vec::new() };
        match &open.conns {
            Conns::Single(conn) => vec![Some(health(conn.clone()))],
            Conns::Quorum(conns) => conns.iter().map(|conn| conn.made().map(health)).collect(),
        }
    }

    async fn open(&self) -> StateResult<Open> {
        if self.config.redlock_nodes.is_empty() {
            let watcher = SubscriberWatcher(self.instruments.clone());
            let conn = connect(authority(&self.config)?.with_observer(Arc::new(watcher))).await?;
            let subscriber = LockSubscriber::find_out(&conn, &settings(&self.config).prefix).await;
            let builder = self.builder().subscriber(subscriber);
            let manager = builder.single(RedisNode::new("backend", conn.clone())).await;
            let manager = manager.map_err(error::from_lock)?;
            return Ok(Open { manager, conns: Conns::Single(conn) });
        }
        let conns: Vec<_> = quorum(&self.config)?.into_iter().map(LateConn::start).collect();
        let node = |(index, conn): (usize, &LateConn)| {
            RedisNode::new(format!("redlock_nodes[{index}]"), conn.clone())
        };
        let manager = self.builder().quorum(conns.iter().enumerate().map(node)).await;
        let manager = manager.map_err(error::from_lock)?;
        Ok(Open { manager, conns: Conns::Quorum(conns) })
    }

    fn builder(&self) -> ManagerBuilder {
        let watcher = LockWatcher::new(&self.config, &self.instruments);
        LockManager::builder(settings(&self.config)).observer(watcher)
    }
}

/// Checks the settings of the layer.
pub(crate) fn check(config: &RedisConfig) -> StateResult<()> {
    let nodes = config.redlock_nodes.len();
    validate::demand(
        [0, 3, 5, 7, 9].contains(&nodes),
        format!(
            "redlock_nodes names {nodes} servers; a quorum has 3, 5, 7 or 9, and without any the backend's own grant locks"
        ),
    )?;
    quorum(config)?;
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

async fn connect(config: redis_conn::Config) -> StateResult<Conn> {
    Conn::connect(config).await.map_err(error::in_connect)
}
