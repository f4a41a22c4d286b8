//! The settings of a backend.

use std::time::Duration;

use redis_conn::Credentials;
use state_core::{DEFAULT_MAX_VALUE_LEN, ErrorKind, MAX_VALUE_LEN, StateError, StateResult, ttl_millis};

use crate::RedisConfigBuilder;
use crate::keyspace::{Keyspace, Layout};
use crate::mode::RedisMode;

/// The settings of a [`RedisBackend`](crate::RedisBackend). Nothing secret shows in `Debug`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RedisConfig {
    /// Which servers to talk to. Default: `redis://localhost:6379`.
    pub mode: RedisMode,
    /// Who we are to the servers; preferred over credentials in a URL. Default: what the URL says.
    pub credentials: Option<Credentials>,
    /// What the server's keys begin with, at most 1,024 bytes. Default: `state:`.
    pub key_prefix: String,
    /// How keys are laid out behind the prefix. Default: [`Layout::Namespaced`].
    pub layout: Layout,
    /// The TTL of keys stored without one of their own. Default: none, they stay.
    pub default_ttl: Option<Duration>,
    /// The longest value, in bytes, 1 to 512 MiB. Default: 64 MiB.
    pub max_value_len: usize,
    /// How long connecting may take before [`RedisBackend::new`](crate::RedisBackend::new) gives up. Default: 5 s.
    pub connect_timeout: Duration,
    /// How long an operation may take, waiting included; in batches, scans and `clear` each step. Default: 3 s.
    pub command_timeout: Duration,
    /// Dedicated connections, for blocking commands and exclusive work, that are open before
    /// [`RedisBackend::new`](crate::RedisBackend::new) returns, for each node. Operations share another connection and
    /// need none of these. Default: 0.
    pub pool_min: usize,
    /// The most dedicated connections to a node at a time, 1 to 10,000. Default: 16.
    pub pool_max: usize,
    /// How long to wait for a free dedicated connection. Default: 5 s.
    pub pool_timeout: Duration,
    /// The most items of a batch that travel in one request, 1 to 10,000; a request is also closed once it holds
    /// 4 MiB. Default: 500.
    pub pipeline_batch_size: usize,
    /// Whether `clear` may empty the whole database where the layout is plain and the prefix empty.
    /// Default: false, it is refused.
    pub clear_whole_database: bool,
}

impl RedisConfig {
    /// A builder with the defaults.
    pub fn builder() -> RedisConfigBuilder {
        RedisConfigBuilder::default()
    }

    /// Checks every setting; [`RedisBackend::new`](crate::RedisBackend::new) does it first of all.
    ///
    /// # Errors
    /// `InvalidConfig`, naming the field.
    pub fn validate(&self) -> StateResult<()> {
        if let Some(Err(cause)) = self.default_ttl.map(ttl_millis) {
            return Err(invalid("default_ttl is zero or above 100 years").with_source(cause));
        }
        demand(
            (1..=MAX_VALUE_LEN).contains(&self.max_value_len),
            "max_value_len is not within 1 and 512 MiB",
        )?;
        demand(
            (1..=10_000).contains(&self.pipeline_batch_size),
            "pipeline_batch_size is not within 1 and 10,000",
        )?;
        demand((1..=10_000).contains(&self.pool_max), "pool_max is not within 1 and 10,000")?;
        demand(self.pool_min <= self.pool_max, "pool_min is above pool_max")?;
        for (name, timeout) in [
            ("connect_timeout", self.connect_timeout),
            ("command_timeout", self.command_timeout),
            ("pool_timeout", self.pool_timeout),
        ] {
            demand(!timeout.is_zero(), format!("{name} is zero"))?;
            demand(timeout <= MAX_TIMEOUT, format!("{name} is above a day"))?;
        }
        self.keyspace()?;
        self.conn_config().map(|_config| ())
    }

    pub(crate) fn keyspace(&self) -> StateResult<Keyspace> {
        Keyspace::new(&self.key_prefix, self.layout)
    }

    pub(crate) fn conn_config(&self) -> StateResult<redis_conn::Config> {
        let mut config = self
            .mode
            .conn_config()?
            .with_connect_timeout(self.connect_timeout)
            .with_command_timeout(self.command_timeout);
        // One attempt may not outlast the time there is for connecting.
        config.dial_timeout = config.dial_timeout.min(self.connect_timeout);
        config.pool.min = self.pool_min;
        config.pool.max = self.pool_max;
        config.pool.wait_timeout = self.pool_timeout;
        if let Some(credentials) = &self.credentials {
            config = config.with_credentials(credentials.clone());
        }
        Ok(config)
    }
}

// Beyond that, adding it to a clock would be the larger risk than waiting.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            mode: RedisMode::default(),
            credentials: None,
            key_prefix: "state:".to_owned(),
            layout: Layout::default(),
            default_ttl: None,
            max_value_len: DEFAULT_MAX_VALUE_LEN,
            connect_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(3),
            pool_min: 0,
            pool_max: 16,
            pool_timeout: Duration::from_secs(5),
            pipeline_batch_size: 500,
            clear_whole_database: false,
        }
    }
}

fn demand(holds: bool, context: impl Into<std::borrow::Cow<'static, str>>) -> StateResult<()> {
    if holds { Ok(()) } else { Err(invalid(context)) }
}

fn invalid(context: impl Into<std::borrow::Cow<'static, str>>) -> StateError {
    StateError::new(ErrorKind::InvalidConfig, context)
}
