//! Beside the contract: batches that fail as a whole, any command, connections of one's own, the end.

use std::time::Duration;

use redis::{Cmd, Value};
use redis_conn::Dedicated;
use state_core::{PutItem, StateBackend, StateResult, Ttl};

use crate::backend::RedisBackend;
use crate::operation::{Idempotency, Operation};

impl RedisBackend {
    /// The values under `keys`, in the same order, in requests of bounded size.
    ///
    /// # Errors
    /// The first error of any item; [`batch_get`](StateBackend::batch_get) has a result for each.
    pub async fn batch_get_optimized(&self, keys: &[&[u8]]) -> StateResult<Vec<Option<Vec<u8>>>> {
        self.batch_get(keys).await.into_iter().collect()
    }

    /// Stores `pairs` in order, with the default TTL, in requests of bounded size.
    ///
    /// # Errors
    /// The first error of any item, when others may be stored; [`batch_put`](StateBackend::batch_put) has a result
    /// for each.
    pub async fn batch_put_optimized(&self, pairs: &[(&[u8], &[u8])]) -> StateResult<()> {
        self.put_pairs(pairs, Ttl::Default).await
    }

    /// Stores `pairs` in order, each for `ttl`, in requests of bounded size.
    ///
    /// # Errors
    /// As [`batch_put_optimized`](Self::batch_put_optimized); `InvalidInput` for a TTL out of bounds.
    pub async fn batch_put_optimized_with_ttl(
        &self,
        pairs: &[(&[u8], &[u8])],
        ttl: Duration,
    ) -> StateResult<()> {
        self.put_pairs(pairs, Ttl::After(ttl)).await
    }

    /// Lends a connection of its own from the pool, for blocking commands, `WATCH` and other exclusive work. Keys on it
    /// are the server's own: prefix and layout are the caller's affair.
    ///
    /// # Errors
    /// `Overloaded` when none became free within `pool_timeout`; `Unavailable` while the server is gone; `Unsupported`
    /// on a cluster: see [`dedicated_for`](Self::dedicated_for).
    pub async fn dedicated(&self) -> StateResult<Dedicated> {
        self.lend(None).await
    }

    /// As [`dedicated`](Self::dedicated); on a cluster, the connection is one to the master that serves `key`, which is
    /// the server's own key, as in the commands on it.
    ///
    /// It stays with that node. Once the slot has moved, commands on it fail as redirected, a blocked one too: drop it
    /// then, and ask again.
    ///
    /// # Errors
    /// `Overloaded` when none became free within `pool_timeout`; `Unavailable` while the node is gone, on a cluster only
    /// when that lasts for `pool_timeout`.
    pub async fn dedicated_for(&self, key: &[u8]) -> StateResult<Dedicated> {
        self.lend(Some(key)).await
    }

    /// Runs any command under the backend's policy and instruments. Keys in it are the server's own: prefix and layout
    /// are the caller's affair. `idempotency` says what a repeat of it would do.
    ///
    /// # Errors
    /// `Unsupported` for commands that change or block the shared connection; otherwise those of the command.
    pub async fn command(&self, command: &Cmd, idempotency: Idempotency) -> StateResult<Value> {
        let task = self.inner.door.begin(Operation::Command(idempotency));
        let result = task.command(command).await;
        task.end(result)
    }

    /// Ends every task of the backend and closes the connections of every clone; returns once they are closed. Later
    /// operations are `Closed`.
    pub async fn close(&self) {
        #[cfg(feature = "locks")]
        self.inner.locks.close().await;
        self.inner.door.conn().close().await;
        #[cfg(feature = "metrics")]
        self.inner.door.instruments.0.publish();
    }

    async fn lend(&self, key: Option<&[u8]>) -> StateResult<Dedicated> {
        let task = self.inner.door.begin(Operation::Dedicated);
        let result = task.dedicated(key).await;
        task.end(result)
    }

    async fn put_pairs(&self, pairs: &[(&[u8], &[u8])], ttl: Ttl) -> StateResult<()> {
        let items: Vec<_> = pairs.iter().map(|&pair| PutItem::from(pair).with_ttl(ttl)).collect();
        self.batch_put(&items).await.into_iter().collect()
    }
}
