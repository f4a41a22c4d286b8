//! The builder of the settings: a setter a field, further spellings of some, all checks in `build`.

use std::sync::Arc;
use std::time::Duration;

use redis_conn::{Credentials, ReadFrom, WriteConcern};
#[cfg(feature = "locks")]
use redlock::LockConfig;
#[cfg(feature = "codec")]
use state_codec::{Compression, Dictionary, DictionaryStore};
#[cfg(feature = "encrypt")]
use state_codec::{KeyRing, Plaintext};
use state_core::{StateBackend, StateResult};
#[cfg(feature = "metrics")]
use state_metrics::{HotKeysConfig, InstrumentsConfig};
#[cfg(feature = "resilience")]
use state_resilience::{BreakerConfig, BudgetConfig, BulkheadConfig, RateLimitConfig, Retry};

use crate::config::RedisConfig;
#[cfg(feature = "codec")]
use crate::format::SerializationFormat;
use crate::keyspace::Layout;
use crate::mode::RedisMode;

/// Builds a [`RedisConfig`].
///
/// ```
/// use std::time::Duration;
/// use state_redis::{RedisConfig, RedisMode};
///
/// let config = RedisConfig::builder()
///     .mode(RedisMode::Standalone { url: "redis://localhost:6379".to_string() })
///     .key_prefix("app:")
///     .default_ttl(Duration::from_secs(3600))
///     .timeouts(Duration::from_secs(5), Duration::from_secs(3))
///     .build()?;
/// assert_eq!(config.key_prefix, "app:");
/// # Ok::<(), state_redis::StateError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing by itself, call `.build()`"]
pub struct RedisConfigBuilder {
    config: RedisConfig,
}

/// One setter a field, under the field's name; `into` takes what converts into the field's type.
macro_rules! setters {
    (plain { $($field:ident: $type:ty;)* } $(into { $($eager:ident: $eager_type:ty;)* })?) => {
        impl RedisConfigBuilder {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](RedisConfig::", stringify!($field), ").")]
                pub fn $field(mut self, $field: $type) -> Self {
                    self.config.$field = $field;
                    self
                }
            )*
            $($(
                #[doc = concat!("Sets [`", stringify!($eager), "`](RedisConfig::", stringify!($eager), ").")]
                pub fn $eager(mut self, $eager: impl Into<$eager_type>) -> Self {
                    self.config.$eager = $eager.into();
                    self
                }
            )*)?
        }
    };
}

setters! {
    plain {
        mode: RedisMode;
        layout: Layout;
        max_value_len: usize;
        connect_timeout: Duration;
        command_timeout: Duration;
        pool_min: usize;
        pool_max: usize;
        pool_timeout: Duration;
        pool_idle_timeout: Duration;
        pool_max_lifetime: Duration;
        pipeline_batch_size: usize;
        atomic_batches: bool;
        clear_whole_database: bool;
        read_from: ReadFrom;
        write_concern: WriteConcern;
        health_interval: Duration;
    }
    into {
        credentials: Option<Credentials>;
        key_prefix: String;
        default_ttl: Option<Duration>;
        fallback: Option<Arc<dyn StateBackend>>;
    }
}

#[cfg(feature = "codec")]
setters! {
    plain {
        compression: Compression;
        compression_threshold: usize;
        serialization: SerializationFormat;
    }
    into {
        dictionary: Option<Dictionary>;
        dictionary_store: Option<Arc<dyn DictionaryStore>>;
    }
}

#[cfg(feature = "encrypt")]
setters! {
    plain {
        plaintext: Plaintext;
    }
    into {
        encryption_keys: Option<KeyRing>;
    }
}

#[cfg(feature = "resilience")]
setters! {
    plain {
        retry: Retry;
        enable_circuit_breaker: bool;
        breaker: BreakerConfig;
    }
    into {
        retry_budget: Option<BudgetConfig>;
        attempt_timeout: Option<Duration>;
        hedge_after: Option<Duration>;
        rate_limit: Option<RateLimitConfig>;
        bulkhead: Option<BulkheadConfig>;
    }
}

#[cfg(feature = "metrics")]
setters! {
    plain {
        enable_metrics: bool;
        instruments: InstrumentsConfig;
        enable_slow_query_log: bool;
    }
}

#[cfg(feature = "locks")]
setters! {
    plain {
        locks: LockConfig;
    }
    into {
        redlock_credentials: Option<Credentials>;
        lock_wait: Option<Duration>;
    }
}

#[cfg(all(feature = "locks", feature = "tls"))]
setters! {
    plain {}
    into {
        redlock_tls: Option<redis_conn::Tls>;
    }
}

impl RedisConfigBuilder {
    /// Sets [`mode`](RedisConfig::mode) to the servers that `url` names, in any form that [`open`](crate::open) takes
    /// for Redis.
    pub fn url(self, url: impl Into<String>) -> Self {
        self.mode(RedisMode::Standalone { url: url.into() })
    }

    /// Sets [`connect_timeout`](RedisConfig::connect_timeout) and [`command_timeout`](RedisConfig::command_timeout).
    pub fn timeouts(self, connect: Duration, command: Duration) -> Self {
        self.connect_timeout(connect).command_timeout(command)
    }

    /// Sets [`pool_min`](RedisConfig::pool_min), [`pool_max`](RedisConfig::pool_max) and
    /// [`pool_timeout`](RedisConfig::pool_timeout).
    pub fn pool_config(self, min: usize, max: usize, timeout: Duration) -> Self {
        self.pool_min(min).pool_max(max).pool_timeout(timeout)
    }

    /// Changes what else the connection has to set: TLS, sentinels, sockets, batching, limits, rotating credentials.
    /// It is applied after all other settings.
    ///
    /// ```
    /// # use state_redis::RedisConfig;
    /// let config = RedisConfig::builder()
    ///     .connection(|connection| connection.with_client_name("orders".to_string()).with_max_in_flight(1_024))
    ///     .build()?;
    /// # Ok::<(), state_redis::StateError>(())
    /// ```
    pub fn connection(
        mut self,
        further: impl Fn(redis_conn::Config) -> redis_conn::Config + Send + Sync + 'static,
    ) -> Self {
        self.config.connection = Some(Arc::new(further));
        self
    }

    /// The settings, once all of them are checked.
    ///
    /// # Errors
    /// `InvalidConfig`, naming the field; `Unsupported` for what needs a feature that is off.
    pub fn build(self) -> StateResult<RedisConfig> {
        self.config.validate()?;
        Ok(self.config)
    }
}

#[cfg(feature = "resilience")]
impl RedisConfigBuilder {
    /// Sets [`retry`](RedisConfig::retry): `max` attempts in all, the first included, the second one after
    /// `initial_delay`, then twice as long each time up to `max_delay`; `jitter`, 0 to 1, is the share that is added
    /// at most at random.
    pub fn retry_config(self, max: u32, initial_delay: Duration, max_delay: Duration, jitter: f64) -> Self {
        self.retry(crate::policy::retry(max, initial_delay, max_delay, jitter))
    }

    /// Sets [`enable_circuit_breaker`](RedisConfig::enable_circuit_breaker), and of [`breaker`](RedisConfig::breaker)
    /// after how many failures in a row it opens, and for how long.
    pub fn circuit_breaker(self, enabled: bool, threshold: u32, timeout: Duration) -> Self {
        self.enable_circuit_breaker(enabled)
            .circuit_breaker_threshold(threshold)
            .circuit_breaker_timeout(timeout)
    }

    /// Sets after how many failures in a row the [`breaker`](RedisConfig::breaker) opens.
    pub fn circuit_breaker_threshold(mut self, failures: u32) -> Self {
        self.config.breaker = self.config.breaker.with_consecutive_failures(failures);
        self
    }

    /// Sets for how long the [`breaker`](RedisConfig::breaker) is open, unless a new connection to its server shows
    /// earlier that it is back.
    pub fn circuit_breaker_timeout(mut self, open: Duration) -> Self {
        self.config.breaker = self.config.breaker.with_open_duration(open);
        self
    }
}

#[cfg(feature = "metrics")]
impl RedisConfigBuilder {
    /// Sets [`enable_slow_query_log`](RedisConfig::enable_slow_query_log) and its threshold.
    pub fn slow_query_log(self, enabled: bool, threshold: Duration) -> Self {
        self.enable_slow_query_log(enabled).slow_query_threshold(threshold)
    }

    /// Sets from which time on an operation is slow.
    pub fn slow_query_threshold(mut self, threshold: Duration) -> Self {
        self.config.instruments.slow_log.threshold = threshold;
        self
    }

    /// Counts the accesses of the keys used most.
    pub fn hot_keys(mut self, hot_keys: impl Into<Option<HotKeysConfig>>) -> Self {
        self.config.instruments.hot_keys = hot_keys.into();
        self
    }

    /// Adds a label, the same on each metric.
    pub fn metrics_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.instruments = self.config.instruments.with_label(name, value);
        self
    }
}

#[cfg(feature = "locks")]
impl RedisConfigBuilder {
    /// Sets [`redlock_nodes`](RedisConfig::redlock_nodes).
    pub fn redlock_nodes<S: Into<String>>(mut self, urls: impl IntoIterator<Item = S>) -> Self {
        self.config.redlock_nodes = urls.into_iter().map(Into::into).collect();
        self
    }

    /// Changes what else the connections to [`redlock_nodes`](RedisConfig::redlock_nodes) have to set, each in turn, as
    /// [`connection`](Self::connection) does for the backend's own. `connection.servers` tells which one it is.
    pub fn redlock_connection(
        mut self,
        further: impl Fn(redis_conn::Config) -> redis_conn::Config + Send + Sync + 'static,
    ) -> Self {
        self.config.redlock_connection = Some(Arc::new(further));
        self
    }
}

#[cfg(test)]
mod tests {
    use state_core::ErrorKind;

    use super::*;

    #[test]
    fn nonsense_is_refused_by_name() {
        let build = RedisConfig::builder;
        let cases = [
            (build().default_ttl(Duration::ZERO), "default_ttl"),
            (build().default_ttl(Duration::MAX), "default_ttl"),
            (build().max_value_len(0), "max_value_len"),
            (build().max_value_len(usize::MAX), "max_value_len"),
            (build().connect_timeout(Duration::ZERO), "connect_timeout"),
            (build().command_timeout(Duration::ZERO), "command_timeout"),
            (build().command_timeout(Duration::MAX), "command_timeout"),
            (build().pool_config(0, 0, Duration::from_secs(1)), "pool_max"),
            (build().pool_config(9, 8, Duration::from_secs(1)), "pool_min"),
            (build().pool_config(0, 8, Duration::ZERO), "pool_timeout"),
            (build().pool_idle_timeout(Duration::ZERO), "pool_idle_timeout is zero"),
            (build().pool_idle_timeout(Duration::MAX), "pool_idle_timeout is above a year"),
            (build().pool_max_lifetime(Duration::ZERO), "pool_max_lifetime is zero"),
            (build().pool_max_lifetime(Duration::MAX), "pool_max_lifetime is above a year"),
            (build().pipeline_batch_size(0), "pipeline_batch_size"),
            (build().pipeline_batch_size(1 << 40), "pipeline_batch_size"),
            (build().key_prefix("a|b"), "key_prefix"),
            (build().key_prefix("x".repeat(2_000)), "key_prefix"),
            (build().url("no url"), "mode.url"),
            (build().url("redis://:pw@host:notaport"), "mode.url"),
            (build().mode(RedisMode::Cluster { nodes: Vec::new() }), "mode.nodes"),
        ];
        for (builder, field) in cases {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{field}");
            assert!(error.context().contains(field), "{field}: {error}");
            assert!(!format!("{error:?}").contains("pw"), "{error:?}");
        }
    }

    #[test]
    fn an_error_says_by_itself_what_is_wrong_with_a_url() {
        for (url, says) in [
            ("http://localhost", "mode.url: the URL has an unknown scheme"),
            ("localhost", "mode.url: the URL has no scheme"),
            ("redis://localhost:99999", "mode.url: the URL has a port that is no port"),
        ] {
            let error = RedisConfig::builder().url(url).build().unwrap_err();
            assert!(error.context().contains(says), "{error}");
        }
    }

    #[test]
    fn credentials_never_show() {
        let config = RedisConfig::builder()
            .url("redis://:s3cret@localhost:6379")
            .credentials(Credentials::user("us3r", "s3cret"))
            .build()
            .unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("us3r"), "{shown}");
    }
}
