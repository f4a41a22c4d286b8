//! redis-rs: its multiplexed connection, its manager, its cluster client, and the pools of it.

use std::ops::{Deref, DerefMut};
use std::sync::LazyLock;
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{AsyncConnectionConfig, ConnectionInfo, IntoConnectionInfo, Script, Value, cmd};

use crate::Outcome;
use crate::candidate::{Candidate, Key, SWAP, fault};

/// Connections in each checkout pool.
const POOL: usize = 64;

/// Long enough for a slow round on a loaded machine; the default of 500 ms would turn those into failures.
const PATIENCE: Duration = Duration::from_secs(10);

static SWAP_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(SWAP));

/// Where a connection comes from for one operation.
pub trait Borrow: Clone + Send + Sync + 'static {
    /// A connection for one operation.
    type Lent: DerefMut<Target: ConnectionLike + Send + Sized> + Send;
    /// Lends one.
    fn borrow(&self) -> impl Future<Output = Outcome<Self::Lent>> + Send;
}

/// A connection that is shared by cloning it.
#[derive(Clone)]
pub struct Own<C>(pub C);

/// A pool whose connections are lent for one operation each.
#[derive(Clone)]
pub enum Pool {
    /// Of deadpool-redis.
    Deadpool(deadpool_redis::Pool),
    /// Of bb8-redis.
    Bb8(bb8_redis::bb8::Pool<bb8_redis::RedisConnectionManager>),
}

/// A connection of a pool.
pub enum Pooled {
    /// Of deadpool-redis.
    Deadpool(deadpool_redis::Connection),
    /// Of bb8-redis.
    Bb8(bb8_redis::bb8::PooledConnection<'static, bb8_redis::RedisConnectionManager>),
}

/// The multiplexed connection with the socket options that we set.
pub async fn baseline(url: &str) -> Outcome<RedisRs<Own<MultiplexedConnection>>> {
    let client = redis::Client::open(tuned(url)?)?;
    Ok(RedisRs::new(Own(client.get_multiplexed_async_connection_with_config(&patient()).await?)))
}

/// The multiplexed connection as it comes.
pub async fn defaults(url: &str) -> Outcome<RedisRs<Own<MultiplexedConnection>>> {
    let client = redis::Client::open(url)?;
    Ok(RedisRs::new(Own(client.get_multiplexed_async_connection_with_config(&patient()).await?)))
}

/// The reconnecting manager.
pub async fn manager(url: &str) -> Outcome<RedisRs<Own<ConnectionManager>>> {
    let config = ConnectionManagerConfig::new().set_response_timeout(Some(PATIENCE));
    let client = redis::Client::open(tuned(url)?)?;
    Ok(RedisRs::new(Own(client.get_connection_manager_with_config(config).await?)))
}

/// The cluster client.
pub async fn cluster(addresses: &[String]) -> Outcome<RedisRs<Own<ClusterConnection>>> {
    let urls = addresses.iter().map(|address| format!("redis://{address}"));
    let builder = redis::cluster::ClusterClientBuilder::new(urls);
    let client = builder.tcp_settings(tcp_settings()).response_timeout(PATIENCE).build()?;
    Ok(RedisRs { source: Own(client.get_async_connection().await?), cluster: true })
}

/// deadpool-redis with all of its connections open.
pub async fn pool_deadpool(url: &str) -> Outcome<RedisRs<Pool>> {
    let manager = deadpool_redis::Manager::new_with_config(tuned(url)?, patient())?;
    let pool = deadpool_redis::Pool::builder(manager).max_size(POOL).build()?;
    let mut open = Vec::new();
    for _ in 0..POOL {
        open.push(pool.get().await?);
    }
    drop(open);
    Ok(RedisRs::new(Pool::Deadpool(pool)))
}

/// bb8-redis with all of its connections open.
pub async fn pool_bb8(url: &str) -> Outcome<RedisRs<Pool>> {
    let manager = bb8_redis::RedisConnectionManager::new(tuned(url)?)?;
    let builder = bb8_redis::bb8::Pool::builder().max_size(POOL as u32).min_idle(Some(POOL as u32));
    Ok(RedisRs::new(Pool::Bb8(builder.build(manager).await?)))
}

/// A client of redis-rs, wherever it has its connections from.
#[derive(Clone)]
pub struct RedisRs<B> {
    source: B,
    /// In a cluster a pipeline may not cross slots.
    cluster: bool,
}

impl<B> RedisRs<B> {
    fn new(source: B) -> Self {
        Self { source, cluster: false }
    }
}

impl<B: Borrow> Candidate for RedisRs<B> {
    async fn get(&self, key: &Key) -> Outcome<usize> {
        let mut lent = self.source.borrow().await?;
        let value: Option<Vec<u8>> = cmd("GET").arg(&key.stored).query_async(&mut *lent).await?;
        value.map_or_else(|| fault("nothing there"), |value| Ok(value.len()))
    }

    async fn put(&self, key: &Key, value: &[u8]) -> Outcome<()> {
        let mut lent = self.source.borrow().await?;
        Ok(cmd("SET").arg(&key.stored).arg(value).query_async(&mut *lent).await?)
    }

    async fn put_ttl(&self, key: &Key, value: &[u8], ttl: Duration) -> Outcome<()> {
        let mut lent = self.source.borrow().await?;
        let mut set = cmd("SET");
        set.arg(&key.stored).arg(value).arg("PX").arg(ttl.as_millis() as u64);
        Ok(set.query_async(&mut *lent).await?)
    }

    async fn put_if_absent(&self, key: &Key, value: &[u8], ttl: Duration) -> Outcome<bool> {
        let mut lent = self.source.borrow().await?;
        let mut set = cmd("SET");
        set.arg(&key.stored).arg(value).arg("NX").arg("PX").arg(ttl.as_millis() as u64);
        Ok(set.query_async::<Value>(&mut *lent).await? != Value::Nil)
    }

    async fn swap(&self, key: &Key, expected: &[u8], new: &[u8]) -> Outcome<bool> {
        let mut lent = self.source.borrow().await?;
        Ok(SWAP_SCRIPT.key(&key.stored).arg(expected).arg(new).invoke_async(&mut *lent).await?)
    }

    async fn increment(&self, key: &Key, delta: i64) -> Outcome<i64> {
        let mut lent = self.source.borrow().await?;
        Ok(cmd("INCRBY").arg(&key.stored).arg(delta).query_async(&mut *lent).await?)
    }

    async fn batch_get(&self, keys: &[Key]) -> Outcome<usize> {
        let mut lent = self.source.borrow().await?;
        let mut get = cmd("MGET");
        get.arg(keys.iter().map(|key| &key.stored).collect::<Vec<_>>());
        let values: Vec<Option<Vec<u8>>> = get.query_async(&mut *lent).await?;
        Ok(values.iter().flatten().count())
    }

    async fn batch_put(&self, keys: &[Key], value: &[u8]) -> Outcome<()> {
        let mut lent = self.source.borrow().await?;
        if self.cluster {
            // The client splits it by slot.
            let mut set = cmd("MSET");
            for key in keys {
                set.arg(&key.stored).arg(value);
            }
            return Ok(set.query_async(&mut *lent).await?);
        }
        let mut pipeline = redis::Pipeline::with_capacity(keys.len());
        for key in keys {
            pipeline.cmd("SET").arg(&key.stored).arg(value).ignore();
        }
        Ok(pipeline.query_async(&mut *lent).await?)
    }

    async fn batch_delete(&self, keys: &[Key]) -> Outcome<()> {
        let mut lent = self.source.borrow().await?;
        let mut unlink = cmd("UNLINK");
        unlink.arg(keys.iter().map(|key| &key.stored).collect::<Vec<_>>());
        let gone: usize = unlink.query_async(&mut *lent).await?;
        if gone == keys.len() { Ok(()) } else { fault(format!("{gone} of {} were there", keys.len())) }
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Borrow for Own<C> {
    type Lent = Self;

    async fn borrow(&self) -> Outcome<Self> {
        Ok(self.clone())
    }
}

impl Borrow for Pool {
    type Lent = Pooled;

    async fn borrow(&self) -> Outcome<Pooled> {
        Ok(match self {
            Self::Deadpool(pool) => Pooled::Deadpool(pool.get().await?),
            Self::Bb8(pool) => Pooled::Bb8(pool.get_owned().await?),
        })
    }
}

impl<C> Deref for Own<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.0
    }
}

impl<C> DerefMut for Own<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.0
    }
}

impl Deref for Pooled {
    type Target = MultiplexedConnection;

    fn deref(&self) -> &MultiplexedConnection {
        match self {
            Self::Deadpool(connection) => connection,
            Self::Bb8(connection) => connection,
        }
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut MultiplexedConnection {
        match self {
            Self::Deadpool(connection) => connection,
            Self::Bb8(connection) => connection,
        }
    }
}

fn tuned(url: &str) -> Outcome<ConnectionInfo> {
    Ok(url.into_connection_info()?.set_tcp_settings(tcp_settings()))
}

fn patient() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE)).set_connection_timeout(Some(PATIENCE))
}

/// The socket options of `redis_conn`, read from its defaults.
fn tcp_settings() -> TcpSettings {
    let ours = redis_conn::Tcp::default();
    let mut settings = TcpSettings::default().set_nodelay(ours.nodelay);
    if let Some(probes) = &ours.keepalive {
        let keepalive = TcpKeepalive::new().with_time(probes.idle).with_interval(probes.interval);
        settings = settings.set_keepalive(keepalive.with_retries(probes.retries));
    }
    match ours.user_timeout {
        Some(timeout) => settings.set_user_timeout(timeout),
        None => settings,
    }
}
