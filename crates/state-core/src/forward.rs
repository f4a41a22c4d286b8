//! The contract passes through smart pointers, so that wrappers take `Arc<dyn StateBackend>` as any backend.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{
    CasOutcome, EntryStream, Expiry, KeyStream, PutItem, PutOptions, ScanOptions, StateBackend, StateResult,
};

macro_rules! forward_to_target {
    ($pointer:ty) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<B: StateBackend + ?Sized> StateBackend for $pointer {
            async fn get(&self, key: &[u8]) -> StateResult<Option<Vec<u8>>> {
                (**self).get(key).await
            }

            async fn put(&self, key: &[u8], value: &[u8]) -> StateResult<()> {
                (**self).put(key, value).await
            }

            async fn delete(&self, key: &[u8]) -> StateResult<()> {
                (**self).delete(key).await
            }

            async fn list_keys(&self, prefix: &[u8]) -> StateResult<Vec<Vec<u8>>> {
                (**self).list_keys(prefix).await
            }

            async fn clear(&self) -> StateResult<()> {
                (**self).clear().await
            }

            async fn count(&self) -> StateResult<usize> {
                (**self).count().await
            }

            async fn contains(&self, key: &[u8]) -> StateResult<bool> {
                (**self).contains(key).await
            }

            async fn put_with(&self, key: &[u8], value: &[u8], options: PutOptions) -> StateResult<bool> {
                (**self).put_with(key, value, options).await
            }

            async fn get_and_delete(&self, key: &[u8]) -> StateResult<Option<Vec<u8>>> {
                (**self).get_and_delete(key).await
            }

            async fn compare_and_swap(
                &self,
                key: &[u8],
                expected: Option<&[u8]>,
                new: Option<&[u8]>,
            ) -> StateResult<CasOutcome> {
                (**self).compare_and_swap(key, expected, new).await
            }

            async fn increment(&self, key: &[u8], delta: i64) -> StateResult<i64> {
                (**self).increment(key, delta).await
            }

            async fn ttl(&self, key: &[u8]) -> StateResult<Expiry> {
                (**self).ttl(key).await
            }

            async fn expire(&self, key: &[u8], ttl: Duration) -> StateResult<bool> {
                (**self).expire(key, ttl).await
            }

            async fn persist(&self, key: &[u8]) -> StateResult<bool> {
                (**self).persist(key).await
            }

            async fn batch_get(&self, keys: &[&[u8]]) -> Vec<StateResult<Option<Vec<u8>>>> {
                (**self).batch_get(keys).await
            }

            async fn batch_put(&self, items: &[PutItem<'_>]) -> Vec<StateResult<()>> {
                (**self).batch_put(items).await
            }

            async fn batch_put_if_absent(&self, items: &[PutItem<'_>]) -> Vec<StateResult<bool>> {
                (**self).batch_put_if_absent(items).await
            }

            async fn batch_delete(&self, keys: &[&[u8]]) -> Vec<StateResult<()>> {
                (**self).batch_delete(keys).await
            }

            fn scan(&self, prefix: &[u8], options: ScanOptions) -> KeyStream<'_> {
                (**self).scan(prefix, options)
            }

            fn scan_entries(&self, prefix: &[u8], options: ScanOptions) -> EntryStream<'_> {
                (**self).scan_entries(prefix, options)
            }

            async fn health_check(&self) -> StateResult<bool> {
                (**self).health_check().await
            }
        }
    };
}

forward_to_target!(Arc<B>);
forward_to_target!(Box<B>);
forward_to_target!(&B);
