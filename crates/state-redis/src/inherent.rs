//! Beside the contract: batches that fail as a whole, puts with a TTL, connections of one's own.

use std::time::Duration;

use redis_conn::Dedicated;
use state_core::{PutItem, StateBackend, StateBackendExt, StateResult, Ttl};

use crate::backend::RedisBackend;

impl RedisBackend {
    /// Stores `value` for `ttl`.
    ///
    /// # Errors
    /// Those of [`put_with`](StateBackend::put_with).
    pub async fn put_with_ttl(&self, key: &[u8], value: &[u8], ttl: Duration) -> StateResult<()> {
        StateBackendExt::put_with_ttl(self, key, value, ttl).await
    }

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
    /// on a cluster.
    pub async fn dedicated(&self) -> StateResult<Dedicated> {
        self.inner.door.dedicated().await
    }

    async fn put_pairs(&self, pairs: &[(&[u8], &[u8])], ttl: Ttl) -> StateResult<()> {
        let items: Vec<_> = pairs.iter().map(|&pair| PutItem::from(pair).with_ttl(ttl)).collect();
        self.batch_put(&items).await.into_iter().collect()
    }
}
