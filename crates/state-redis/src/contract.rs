//! The contract on Redis.

use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Value};
use state_core::{
    CasOutcome, Condition, EntryStream, Expiry, KeyStream, PutItem, PutOptions, ScanOptions, StateBackend,
    StateResult, ttl_millis,
};

use crate::backend::{RedisBackend, is_outage};
use crate::exec::Task;
use crate::operation::Operation;
use crate::put::TtlOnServer;
use crate::scan::{Counted, KeyScan};
use crate::{batch, clear, health, many_keys, reply, scan};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StateBackend for RedisBackend {
    async fn get(&self, key: &[u8]) -> StateResult<Option<Vec<u8>>> {
        self.get(key).await
    }

    async fn put(&self, key: &[u8], value: &[u8]) -> StateResult<()> {
        self.put(key, value).await
    }

    async fn delete(&self, key: &[u8]) -> StateResult<()> {
        self.delete(key).await
    }

    async fn list_keys(&self, prefix: &[u8]) -> StateResult<Vec<Vec<u8>>> {
        let task = self.inner.door.begin(Operation::ListKeys);
        let mut keys = Vec::new();
        let result = self.visit(&task, prefix, |key| keys.push(key)).await;
        task.end(result.map(|()| keys))
    }

    async fn clear(&self) -> StateResult<()> {
        let task = self.inner.door.begin(Operation::Clear);
        let result = clear::all(&self.inner, &task).await;
        task.end(result)
    }

    async fn count(&self) -> StateResult<usize> {
        let task = self.inner.door.begin(Operation::Count);
        let mut count = 0;
        let result = self.visit(&task, b"", |_key| count += 1).await;
        task.end(result.map(|()| count))
    }

    async fn contains(&self, key: &[u8]) -> StateResult<bool> {
        self.contains(key).await
    }

    async fn put_with(&self, key: &[u8], value: &[u8], options: PutOptions) -> StateResult<bool> {
        self.put_with(key, value, options).await
    }

    async fn get_and_delete(&self, key: &[u8]) -> StateResult<Option<Vec<u8>>> {
        self.get_and_delete(key).await
    }

    async fn compare_and_swap(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> StateResult<CasOutcome> {
        self.compare_and_swap(key, expected, new).await
    }

    async fn increment(&self, key: &[u8], delta: i64) -> StateResult<i64> {
        self.increment(key, delta).await
    }

    async fn ttl(&self, key: &[u8]) -> StateResult<Expiry> {
        self.time_left(key).await
    }

    async fn expire(&self, key: &[u8], ttl: Duration) -> StateResult<bool> {
        let millis = ttl_millis(ttl)?;
        Ok(self.ask(Operation::Expire, "PEXPIRE", key, &[millis]).await? == 1)
    }

    async fn persist(&self, key: &[u8]) -> StateResult<bool> {
        Ok(self.ask(Operation::Persist, "PERSIST", key, &[]).await? == 1)
    }

    async fn batch_get(&self, keys: &[&[u8]]) -> Vec<StateResult<Option<Vec<u8>>>> {
        let mut task = self.inner.door.begin(Operation::BatchGet);
        let stored = self.read_stored(&task, keys).await;
        let mut results = self.read_all(&task, keys, stored).await;
        self.ask_fallback(&task, keys, &mut results).await;
        for value in results.iter().flatten() {
            task.found(value.as_deref());
        }
        task.end_batch(results)
    }

    async fn batch_put(&self, items: &[PutItem<'_>]) -> Vec<StateResult<()>> {
        let stored = self.put_all(Operation::BatchPut, items, Condition::Always).await;
        stored.into_iter().map(|result| result.map(|_stored| ())).collect()
    }

    async fn batch_put_if_absent(&self, items: &[PutItem<'_>]) -> Vec<StateResult<bool>> {
        self.put_all(Operation::BatchPutIfAbsent, items, Condition::IfAbsent).await
    }

    async fn batch_delete(&self, keys: &[&[u8]]) -> Vec<StateResult<()>> {
        let task = self.inner.door.begin(Operation::BatchDelete);
        let deleted = self.delete_stored(&task, keys).await;
        task.end_batch(deleted)
    }

    fn scan(&self, prefix: &[u8], options: ScanOptions) -> KeyStream<'_> {
        scan::keys(&self.inner, prefix, options)
    }

    fn scan_entries(&self, prefix: &[u8], options: ScanOptions) -> EntryStream<'_> {
        scan::entries(&self.inner, prefix, options)
    }

    async fn health_check(&self) -> StateResult<bool> {
        let task = self.inner.door.begin(Operation::HealthCheck);
        let result = health::check(&task).await;
        task.end(result)
    }
}

impl RedisBackend {
    /// Hands every key of the namespace that begins with `prefix` to `visitor`.
    async fn visit(
        &self,
        task: &Task<'_>,
        prefix: &[u8],
        mut visitor: impl FnMut(Vec<u8>),
    ) -> StateResult<()> {
        let mut scan = KeyScan::new(&self.inner, Counted::Within(task), prefix, ScanOptions::default())?;
        while let Some(key) = scan.next().await? {
            visitor(key);
        }
        Ok(())
    }

    async fn put_all(
        &self,
        operation: Operation,
        items: &[PutItem<'_>],
        condition: Condition,
    ) -> Vec<StateResult<bool>> {
        let mut task = self.inner.door.begin(operation);
        let puts = items.iter().map(|item| {
            let options = PutOptions { ttl: item.ttl, condition };
            self.inner.put(operation, item.key, item.value, options)
        });
        let results = if condition == Condition::Always && self.are_plain(items) {
            many_keys::store(&task, self.inner.config.pipeline_batch_size, puts).await
        } else {
            self.batch(&task, puts.map(|put| Ok(put?.command())), reply::written).await
        };
        for (item, _) in items.iter().zip(&results).filter(|(_, result)| matches!(result, Ok(true))) {
            task.wrote(item.value.len());
        }
        task.end_batch(results)
    }

    /// Whether an `MSET` can store them: it has no TTL, and is no transaction with what else is in the batch.
    fn are_plain(&self, items: &[PutItem<'_>]) -> bool {
        let never = |item: &PutItem<'_>| {
            matches!(TtlOnServer::resolve(item.ttl, self.inner.default_ttl_ms), Ok(TtlOnServer::Never))
        };
        self.takes_many_keys() && items.iter().all(never)
    }

    /// Whether all keys are on one server, which may be given them in one command of its own.
    fn takes_many_keys(&self) -> bool {
        self.inner.door.is_one_server() && !self.inner.config.atomic_batches
    }

    /// The stored bytes. One server answers `MGET` fastest; over many, or as a transaction, it is `GET`s.
    async fn read_stored(&self, task: &Task<'_>, keys: &[&[u8]]) -> Vec<StateResult<Option<Vec<u8>>>> {
        let config = &self.inner.config;
        if self.takes_many_keys() {
            let stored = keys.iter().map(|key| self.inner.keyspace.encode(key)).collect();
            return many_keys::read(task, config.pipeline_batch_size, stored).await;
        }
        let commands = keys.iter().map(|key| self.inner.key_command("GET", key));
        self.batch(task, commands, reply::bytes).await
    }

    /// One server takes an `UNLINK` of many keys; over many, or as a transaction, each key has its own.
    async fn delete_stored(&self, task: &Task<'_>, keys: &[&[u8]]) -> Vec<StateResult<()>> {
        let config = &self.inner.config;
        if self.takes_many_keys() {
            let stored = keys.iter().map(|key| self.inner.keyspace.encode(key)).collect();
            return many_keys::delete(task, config.pipeline_batch_size, stored).await;
        }
        let commands = keys.iter().map(|key| self.inner.key_command("UNLINK", key));
        let removed = self.batch(task, commands, reply::integer).await;
        removed.into_iter().map(|result| result.map(|_removed| ())).collect()
    }

    async fn read_all(
        &self,
        task: &Task<'_>,
        keys: &[&[u8]],
        stored: Vec<StateResult<Option<Vec<u8>>>>,
    ) -> Vec<StateResult<Option<Vec<u8>>>> {
        let mut decoder = self.inner.values.decoder();
        let mut results = Vec::with_capacity(stored.len());
        for (key, stored) in keys.iter().zip(stored) {
            results.push(match stored {
                Ok(Some(bytes)) => decoder.decode(task.operation(), key, bytes).await.map(Some),
                other => other,
            });
        }
        results
    }

    /// Lets the fallback answer for the items that Redis could not.
    async fn ask_fallback(
        &self,
        task: &Task<'_>,
        keys: &[&[u8]],
        results: &mut [StateResult<Option<Vec<u8>>>],
    ) {
        let Some(fallback) = &self.inner.config.fallback else { return };
        let (places, missing): (Vec<_>, Vec<_>) = (0..results.len())
            .zip(keys)
            .filter(|(place, _)| is_outage(&results[*place]))
            .map(|(place, key)| (place, *key))
            .unzip();
        if places.is_empty() {
            return;
        }
        self.inner.door.instruments.fell_back(task.operation());
        for (place, answer) in places.into_iter().zip(fallback.batch_get(&missing).await) {
            results[place] = answer;
        }
    }

    async fn batch<T>(
        &self,
        task: &Task<'_>,
        commands: impl ExactSizeIterator<Item = StateResult<Cmd>>,
        decode: fn(Operation, Value) -> StateResult<T>,
    ) -> Vec<StateResult<T>> {
        let config = &self.inner.config;
        batch::run(task, config.pipeline_batch_size, config.atomic_batches, commands, decode).await
    }
}
