//! What a program does that has no batches: one operation after the other.

use std::time::Duration;

use crate::Outcome;
use crate::candidate::{Candidate, Key};

/// A candidate whose batches are single operations, each awaited before the next.
#[derive(Clone)]
pub struct OneByOne<C>(pub C);

impl<C: Candidate> Candidate for OneByOne<C> {
    async fn get(&self, key: &Key) -> Outcome<usize> {
        self.0.get(key).await
    }

    async fn put(&self, key: &Key, value: &[u8]) -> Outcome<()> {
        self.0.put(key, value).await
    }

    async fn put_ttl(&self, key: &Key, value: &[u8], ttl: Duration) -> Outcome<()> {
        self.0.put_ttl(key, value, ttl).await
    }

    async fn put_if_absent(&self, key: &Key, value: &[u8], ttl: Duration) -> Outcome<bool> {
        self.0.put_if_absent(key, value, ttl).await
    }

    async fn swap(&self, key: &Key, expected: &[u8], new: &[u8]) -> Outcome<bool> {
        self.0.swap(key, expected, new).await
    }

    async fn increment(&self, key: &Key, delta: i64) -> Outcome<i64> {
        self.0.increment(key, delta).await
    }

    async fn batch_get(&self, keys: &[Key]) -> Outcome<usize> {
        for key in keys {
            self.0.get(key).await?;
        }
        Ok(keys.len())
    }

    async fn batch_put(&self, keys: &[Key], value: &[u8]) -> Outcome<()> {
        for key in keys {
            self.0.put(key, value).await?;
        }
        Ok(())
    }

    async fn batch_delete(&self, keys: &[Key]) -> Outcome<()> {
        for key in keys {
            self.0.batch_delete(std::slice::from_ref(key)).await?;
        }
        Ok(())
    }
}
