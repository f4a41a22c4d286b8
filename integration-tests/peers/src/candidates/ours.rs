//! state-redis: the facade, with every layer on unless a suite says otherwise.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use state_redis::codec::Compression;
use state_redis::{
    Condition, PutItem, PutOptions, RedisBackend, RedisConfig, RedisConfigBuilder, StateBackend as _, Ttl,
};

use crate::Outcome;
use crate::candidate::{Candidate, Key, PREFIX, fault};

/// Which layers are switched on above the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// How values of at least `threshold` bytes are compressed.
    pub algorithm: Algorithm,
    /// From which length on.
    pub threshold: usize,
    /// Whether failures are repeated, within a budget.
    pub retry: bool,
    /// Whether each server has a circuit breaker.
    pub breaker: bool,
    /// Whether figures are published and slow operations logged.
    pub metrics: bool,
}

/// How values are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// Not at all.
    None,
    /// LZ4.
    Lz4,
    /// Snappy.
    Snappy,
    /// Zstandard, level 3.
    Zstd,
}

impl Layers {
    /// Everything on, as a program in production has it, and no value long enough to be compressed.
    pub const ALL: Self =
        Self { algorithm: Algorithm::Lz4, threshold: 1 << 20, retry: true, breaker: true, metrics: true };
    /// Everything off that can be switched off.
    pub const OFF: Self =
        Self { algorithm: Algorithm::None, threshold: 1 << 20, retry: false, breaker: false, metrics: false };

    fn configure(self, builder: RedisConfigBuilder) -> RedisConfigBuilder {
        let compression = match self.algorithm {
            Algorithm::None => Compression::None,
            Algorithm::Lz4 => Compression::Lz4,
            Algorithm::Snappy => Compression::Snappy,
            Algorithm::Zstd => Compression::ZSTD,
        };
        self.upper(builder.compression(compression).compression_threshold(self.threshold))
    }

    #[cfg(feature = "layers")]
    fn upper(self, builder: RedisConfigBuilder) -> RedisConfigBuilder {
        let builder = if self.retry {
            builder
        } else {
            builder
                .retry_config(1, Duration::from_millis(100), Duration::from_secs(5), 0.0)
                .retry_budget(None)
        };
        builder
            .enable_circuit_breaker(self.breaker)
            .enable_metrics(self.metrics)
            .enable_slow_query_log(self.metrics)
    }

    #[cfg(not(feature = "layers"))]
    fn upper(self, builder: RedisConfigBuilder) -> RedisConfigBuilder {
        builder
    }
}

/// Connects with `layers`.
///
/// # Errors
/// When it cannot.
pub async fn connect(url: &str, layers: Layers) -> Outcome<Ours> {
    let config = layers.configure(RedisConfig::builder().url(url).key_prefix(PREFIX)).build()?;
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
