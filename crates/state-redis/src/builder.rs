//! The builder of the settings: one setter a field, all checks in `build`.

use std::time::Duration;

use redis_conn::Credentials;
use state_core::StateResult;

use crate::config::RedisConfig;
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

impl RedisConfigBuilder {
    /// Sets [`mode`](RedisConfig::mode).
    pub fn mode(mut self, mode: RedisMode) -> Self {
        self.config.mode = mode;
        self
    }

    /// Sets [`mode`](RedisConfig::mode) to one server at `url`.
    pub fn url(self, url: impl Into<String>) -> Self {
        self.mode(RedisMode::Standalone { url: url.into() })
    }

    /// Sets [`credentials`](RedisConfig::credentials).
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.config.credentials = Some(credentials);
        self
    }

    /// Sets [`key_prefix`](RedisConfig::key_prefix).
    pub fn key_prefix(mut self, key_prefix: impl Into<String>) -> Self {
        self.config.key_prefix = key_prefix.into();
        self
    }

    /// Sets [`layout`](RedisConfig::layout).
    pub fn layout(mut self, layout: Layout) -> Self {
        self.config.layout = layout;
        self
    }

    /// Sets [`default_ttl`](RedisConfig::default_ttl).
    pub fn default_ttl(mut self, default_ttl: Duration) -> Self {
        self.config.default_ttl = Some(default_ttl);
        self
    }

    /// Sets [`max_value_len`](RedisConfig::max_value_len).
    pub fn max_value_len(mut self, max_value_len: usize) -> Self {
        self.config.max_value_len = max_value_len;
        self
    }

    /// Sets [`connect_timeout`](RedisConfig::connect_timeout) and [`command_timeout`](RedisConfig::command_timeout).
    pub fn timeouts(self, connect: Duration, command: Duration) -> Self {
        self.connect_timeout(connect).command_timeout(command)
    }

    /// Sets [`connect_timeout`](RedisConfig::connect_timeout).
    pub fn connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.config.connect_timeout = connect_timeout;
        self
    }

    /// Sets [`command_timeout`](RedisConfig::command_timeout).
    pub fn command_timeout(mut self, command_timeout: Duration) -> Self {
        self.config.command_timeout = command_timeout;
        self
    }

    /// Sets [`pool_min`](RedisConfig::pool_min), [`pool_max`](RedisConfig::pool_max) and
    /// [`pool_timeout`](RedisConfig::pool_timeout).
    pub fn pool_config(mut self, min: usize, max: usize, timeout: Duration) -> Self {
        self.config.pool_min = min;
        self.config.pool_max = max;
        self.config.pool_timeout = timeout;
        self
    }

    /// Sets [`pipeline_batch_size`](RedisConfig::pipeline_batch_size).
    pub fn pipeline_batch_size(mut self, pipeline_batch_size: usize) -> Self {
        self.config.pipeline_batch_size = pipeline_batch_size;
        self
    }

    /// Sets [`clear_whole_database`](RedisConfig::clear_whole_database).
    pub fn clear_whole_database(mut self, allowed: bool) -> Self {
        self.config.clear_whole_database = allowed;
        self
    }

    /// The settings, once all of them are checked.
    ///
    /// # Errors
    /// `InvalidConfig`, naming the field.
    pub fn build(self) -> StateResult<RedisConfig> {
        self.config.validate()?;
        Ok(self.config)
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
