//! state-redis: the facade, with every layer on unless a suite says otherwise.

use std::time::Duration;

use state_redis::{Condition, PutItem, PutOptions, RedisBackend, RedisConfig, StateBackend as _, Ttl};

use crate::Outcome;
use crate::candidate::{Candidate, Key, PREFIX, fault};

/// Which layers are switched on above the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layers {}

impl Layers {
    /// Everything on, as a program in production has it.
    pub const ALL: Self = Self {};
}

/// Connects with `layers`.
pub async fn connect(url: &str, _layers: Layers) -> Outcome<Ours> {
    let config = RedisConfig::builder().url(url).key_prefix(PREFIX).build()?;
    Ok(Ours(RedisBackend::new(config).await?))
}

/// The facade.
#[derive(Clone)]
pub struct Ours(pub RedisBackend);

impl Candidate for Ours {
    async fn get(&self, key: &Key) -> Outcome<usize> {
        self.0.get(&key.name).await?.map_or_else(|| fault("nothing there"), |value| Ok(value.len()))
    }

    async fn put(&self, key: &Key, value: &[u8]) -> Outcome<()> {
        Ok(self.0.put(&key.name, value).await?)
    }

    async fn put_ttl(&self, key: &Key, value: &[u8], ttl: Duration) -> Outcome<()> {
        Ok(self.0.put_with_ttl(&key.name, value, ttl).await?)
    }

    async fn put_if_absent(&self, key: &Key, value: &[u8], ttl: Duration) -> Outcome<bool> {
        let options = PutOptions::default().with_condition(Condition::IfAbsent).with_ttl(Ttl::After(ttl));
        Ok(self.0.put_with(&key.name, value, options).await?)
    }

    async fn swap(&self, key: &Key, expected: &[u8], new: &[u8]) -> Outcome<bool> {
        Ok(self.0.compare_and_swap(&key.name, Some(expected), Some(new)).await?.is_swapped())
    }

    async fn increment(&self, key: &Key, delta: i64) -> Outcome<i64> {
        Ok(self.0.increment(&key.name, delta).await?)
    }

    async fn batch_get(&self, keys: &[Key]) -> Outcome<usize> {
        let values = self.0.batch_get(&names(keys)).await;
        let values = values.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(values.iter().flatten().count())
    }

    async fn batch_put(&self, keys: &[Key], value: &[u8]) -> Outcome<()> {
        let items: Vec<_> = keys.iter().map(|key| PutItem::new(&key.name, value)).collect();
        Ok(self.0.batch_put(&items).await.into_iter().collect::<Result<(), _>>()?)
    }

    async fn batch_delete(&self, keys: &[Key]) -> Outcome<()> {
        Ok(self.0.batch_delete(&names(keys)).await.into_iter().collect::<Result<(), _>>()?)
    }
}

fn names(keys: &[Key]) -> Vec<&[u8]> {
    keys.iter().map(|key| key.name.as_slice()).collect()
}
