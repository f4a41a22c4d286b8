//! The contract on Redis: each method builds a command and sends it through the door.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::TryStreamExt;
use redis::{Cmd, Value};
use redis_conn::Conn;
use state_core::{
    CasOutcome, Condition, EntryStream, Expiry, KeyStream, PutItem, PutOptions, ScanOptions, StateBackend,
    StateResult, check_value, ttl_millis,
};

use crate::config::RedisConfig;
use crate::exec::{Door, Operation};
use crate::keyspace::Keyspace;
use crate::put::{Put, TtlOnServer};
use crate::{atomic, batch, clear, error, health, reply, scan};

/// State on Redis. A clone is another handle to the same backend; the last one closes the connections.
#[derive(Clone)]
pub struct RedisBackend {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) door: Door,
    pub(crate) keyspace: Keyspace,
    pub(crate) config: RedisConfig,
    pub(crate) default_ttl_ms: Option<u64>,
}

impl RedisBackend {
    /// Connects.
    ///
    /// # Errors
    /// `InvalidConfig` naming the field; `Unavailable` or `Timeout` when no server answered within
    /// `connect_timeout`; `Auth` when it refuses the credentials; `Unsupported` when it is too old.
    pub async fn new(config: RedisConfig) -> StateResult<Self> {
        config.validate()?;
        let keyspace = config.keyspace()?;
        let default_ttl_ms = config.default_ttl.map(ttl_millis).transpose()?;
        let conn = Conn::connect(config.conn_config()?).await.map_err(error::in_connect)?;
        let door = Door::new(conn, config.command_timeout);
        Ok(Self { inner: Arc::new(Inner { door, keyspace, config, default_ttl_ms }) })
    }

    /// The settings it was built from.
    pub fn config(&self) -> &RedisConfig {
        &self.inner.config
    }

    /// Closes the connections of every clone, and returns once they are closed. Later operations are `Closed`.
    pub async fn close(&self) {
        self.inner.door.close().await;
    }
}

impl Inner {
    pub(crate) fn check_value(&self, value: &[u8]) -> StateResult<()> {
        check_value(value, self.config.max_value_len)
    }

    /// Everything there is to know before a value can be stored.
    fn put<'a>(&self, key: &[u8], value: &'a [u8], options: PutOptions) -> StateResult<Put<'a>> {
        let stored = self.keyspace.encode(key)?;
        self.check_value(value)?;
        Ok(Put::new(
            stored,
            value,
            options.condition,
            TtlOnServer::resolve(options.ttl, self.default_ttl_ms)?,
        ))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StateBackend for RedisBackend {
    async fn get(&self, key: &[u8]) -> StateResult<Option<Vec<u8>>> {
        let stored = self.inner.keyspace.encode(key)?;
        self.inner.door.run(Operation::Get, |conn, deadline| conn.get(&stored, deadline)).await
    }

    async fn put(&self, key: &[u8], value: &[u8]) -> StateResult<()> {
        self.put_with(key, value, PutOptions::default()).await.map(|_stored| ())
    }

    async fn delete(&self, key: &[u8]) -> StateResult<()> {
        self.ask(Operation::Delete, "UNLINK", key, &[]).await.map(|_removed| ())
    }

    async fn list_keys(&self, prefix: &[u8]) -> StateResult<Vec<Vec<u8>>> {
        self.scan(prefix, ScanOptions::default()).try_collect().await
    }

    async fn clear(&self) -> StateResult<()> {
        clear::all(&self.inner).await
    }

    async fn count(&self) -> StateResult<usize> {
        self.scan(b"", ScanOptions::default()).try_fold(0, async |count, _key| Ok(count + 1)).await
    }

    async fn contains(&self, key: &[u8]) -> StateResult<bool> {
        Ok(self.ask(Operation::Contains, "EXISTS", key, &[]).await? == 1)
    }

    async fn put_with(&self, key: &[u8], value: &[u8], options: PutOptions) -> StateResult<bool> {
        self.inner.put(key, value, options)?.run(&self.inner.door).await
    }

    async fn get_and_delete(&self, key: &[u8]) -> StateResult<Option<Vec<u8>>> {
        let mut command = redis::cmd("GETDEL");
        command.arg(self.inner.keyspace.encode(key)?);
        let value = self.inner.door.command(Operation::GetAndDelete, &command).await?;
        reply::bytes(Operation::GetAndDelete, value)
    }

    async fn compare_and_swap(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> StateResult<CasOutcome> {
        atomic::compare_and_swap(&self.inner, key, expected, new).await
    }

    async fn increment(&self, key: &[u8], delta: i64) -> StateResult<i64> {
        atomic::increment(&self.inner, key, delta).await
    }

    async fn ttl(&self, key: &[u8]) -> StateResult<Expiry> {
        let millis = self.ask(Operation::Ttl, "PTTL", key, &[]).await?;
        Ok(match u64::try_from(millis) {
            Ok(millis) => Expiry::After(Duration::from_millis(millis)),
            Err(_) if millis == -1 => Expiry::Never,
            Err(_) => Expiry::Absent,
        })
    }

    async fn expire(&self, key: &[u8], ttl: Duration) -> StateResult<bool> {
        let millis = ttl_millis(ttl)?;
        Ok(self.ask(Operation::Expire, "PEXPIRE", key, &[millis]).await? == 1)
    }

    async fn persist(&self, key: &[u8]) -> StateResult<bool> {
        Ok(self.ask(Operation::Persist, "PERSIST", key, &[]).await? == 1)
    }

    async fn batch_get(&self, keys: &[&[u8]]) -> Vec<StateResult<Option<Vec<u8>>>> {
        let commands = keys.iter().map(|key| self.key_command("GET", key));
        self.batch(Operation::BatchGet, commands, reply::bytes).await
    }

    async fn batch_put(&self, items: &[PutItem<'_>]) -> Vec<StateResult<()>> {
        let commands = self.put_commands(items, Condition::Always);
        let stored = self.batch(Operation::BatchPut, commands, reply::written).await;
        stored.into_iter().map(|result| result.map(|_stored| ())).collect()
    }

    async fn batch_put_if_absent(&self, items: &[PutItem<'_>]) -> Vec<StateResult<bool>> {
        let commands = self.put_commands(items, Condition::IfAbsent);
        self.batch(Operation::BatchPutIfAbsent, commands, reply::written).await
    }

    async fn batch_delete(&self, keys: &[&[u8]]) -> Vec<StateResult<()>> {
        let commands = keys.iter().map(|key| self.key_command("UNLINK", key));
        let removed = self.batch(Operation::BatchDelete, commands, reply::integer).await;
        removed.into_iter().map(|result| result.map(|_removed| ())).collect()
    }

    fn scan(&self, prefix: &[u8], options: ScanOptions) -> KeyStream<'_> {
        scan::keys(&self.inner.door, &self.inner.keyspace, prefix, options)
    }

    fn scan_entries(&self, prefix: &[u8], options: ScanOptions) -> EntryStream<'_> {
        scan::entries(&self.inner.door, &self.inner.keyspace, prefix, options)
    }

    async fn health_check(&self) -> StateResult<bool> {
        health::check(&self.inner.door).await
    }
}

impl RedisBackend {
    /// Runs a command on one key that answers with an integer.
    async fn ask(&self, operation: Operation, name: &str, key: &[u8], arguments: &[u64]) -> StateResult<i64> {
        let mut command = self.key_command(name, key)?;
        for argument in arguments {
            command.arg(*argument);
        }
        reply::integer(operation, self.inner.door.command(operation, &command).await?)
    }

    fn key_command(&self, name: &str, key: &[u8]) -> StateResult<Cmd> {
        let mut command = redis::cmd(name);
        command.arg(self.inner.keyspace.encode(key)?);
        Ok(command)
    }

    fn put_commands<'a>(
        &'a self,
        items: &'a [PutItem<'_>],
        condition: Condition,
    ) -> impl ExactSizeIterator<Item = StateResult<Cmd>> + Send + 'a {
        items.iter().map(move |item| {
            let options = PutOptions { ttl: item.ttl, condition };
            Ok(self.inner.put(item.key, item.value, options)?.command())
        })
    }

    async fn batch<T>(
        &self,
        operation: Operation,
        commands: impl ExactSizeIterator<Item = StateResult<Cmd>>,
        decode: fn(Operation, Value) -> StateResult<T>,
    ) -> Vec<StateResult<T>> {
        let size = self.inner.config.pipeline_batch_size;
        batch::run(&self.inner.door, operation, size, commands, decode).await
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend").field("config", &self.inner.config).finish_non_exhaustive()
    }
}
