//! The settings of a backend.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis_conn::{Credentials, ReadFrom, WriteConcern};
#[cfg(feature = "locks")]
use redlock::LockConfig;
#[cfg(feature = "codec")]
use state_codec::{Compression, Dictionary, DictionaryStore};
#[cfg(feature = "encrypt")]
use state_codec::{KeyRing, Plaintext};
use state_core::{DEFAULT_MAX_VALUE_LEN, StateBackend, StateResult};
#[cfg(feature = "metrics")]
use state_metrics::InstrumentsConfig;
#[cfg(feature = "resilience")]
use state_resilience::{BreakerConfig, BudgetConfig, BulkheadConfig, RateLimitConfig, Retry};

use crate::RedisConfigBuilder;
#[cfg(feature = "codec")]
use crate::format::SerializationFormat;
use crate::keyspace::Layout;
use crate::mode::RedisMode;

/// The settings of a [`RedisBackend`](crate::RedisBackend). Nothing secret shows in `Debug`.
///
/// Settings of a layer are there only with its feature. Each is checked by [`validate`](Self::validate), and none is
/// ignored.
#[derive(Clone)]
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
    /// The longest value, in bytes, 1 to 512 MiB, before it is compressed and after it is decompressed.
    /// Default: 64 MiB.
    pub max_value_len: usize,
    /// How long connecting may take before [`RedisBackend::new`](crate::RedisBackend::new) gives up. Default: 5 s.
    pub connect_timeout: Duration,
    /// How long an operation may take, with all its attempts and waits; in batches, scans and `clear` each step.
    /// Default: 3 s.
    pub command_timeout: Duration,
    /// Dedicated connections, for blocking commands and exclusive work, that are open before
    /// [`RedisBackend::new`](crate::RedisBackend::new) returns, for each node. Operations share another connection and
    /// need none of these. Default: 0.
    pub pool_min: usize,
    /// The most dedicated connections to a node at a time, 1 to 10,000. Default: 16.
    pub pool_max: usize,
    /// How long to wait for a free dedicated connection. Default: 5 s.
    pub pool_timeout: Duration,
    /// Dedicated connections that nobody has used for longer are closed, down to `pool_min`; at most a year.
    /// Default: 5 min.
    pub pool_idle_timeout: Duration,
    /// Dedicated connections that are older are not lent again; at most a year. Default: 30 min.
    pub pool_max_lifetime: Duration,
    /// The most items of a batch that travel in one request, 1 to 10,000; a request is also closed once it holds
    /// 4 MiB. Default: 1,000.
    pub pipeline_batch_size: usize,
    /// Whether each request of a batch is a transaction (`MULTI`, `EXEC`): other clients see all of it or nothing. On
    /// a cluster the keys of a request then have to live in one slot. Default: false.
    pub atomic_batches: bool,
    /// Whether `clear` may empty the whole database where the layout is plain and the prefix empty.
    /// Default: false, it is refused.
    pub clear_whole_database: bool,
    /// Which nodes answer `get`. Default: [`ReadFrom::Master`].
    pub read_from: ReadFrom,
    /// When a write counts as done. Default: [`WriteConcern::Fast`], when the master has answered.
    pub write_concern: WriteConcern,
    /// How often the servers' health is checked. Default: 5 s.
    pub health_interval: Duration,
    /// Answers reads (`get`, `contains`, `batch_get`) while Redis cannot be used: an open breaker, no connection, no
    /// answer in time. Writes never go there. Default: none, such reads fail.
    pub fallback: Option<Arc<dyn StateBackend>>,
    pub(crate) connection: Option<Connection>,

    /// How values are compressed when they are written; reading follows what is stored. Default: `None`.
    #[cfg(feature = "codec")]
    #[cfg_attr(docsrs, doc(cfg(feature = "codec")))]
    pub compression: Compression,
    /// Values shorter than this many bytes are stored as they are. Default: 1,024.
    #[cfg(feature = "codec")]
    #[cfg_attr(docsrs, doc(cfg(feature = "codec")))]
    pub compression_threshold: usize,
    /// The dictionary that Zstandard compresses small values with; it is saved to the dictionary store before the
    /// first value. Default: none.
    #[cfg(feature = "codec")]
    #[cfg_attr(docsrs, doc(cfg(feature = "codec")))]
    pub dictionary: Option<Dictionary>,
    /// Where dictionaries are kept. Default: none, which keeps them on the same servers beside the data.
    #[cfg(feature = "codec")]
    #[cfg_attr(docsrs, doc(cfg(feature = "codec")))]
    pub dictionary_store: Option<Arc<dyn DictionaryStore>>,
    /// The format of [`RedisBackend::typed`](crate::RedisBackend::typed). Default: MessagePack.
    #[cfg(feature = "codec")]
    #[cfg_attr(docsrs, doc(cfg(feature = "codec")))]
    pub serialization: SerializationFormat,
    /// The keys that values are encrypted with. Default: none, they are not.
    #[cfg(feature = "encrypt")]
    #[cfg_attr(docsrs, doc(cfg(feature = "encrypt")))]
    pub encryption_keys: Option<KeyRing>,
    /// Whether values that are not encrypted may be read. Default: `Plaintext::Accept`.
    #[cfg(feature = "encrypt")]
    #[cfg_attr(docsrs, doc(cfg(feature = "encrypt")))]
    pub plaintext: Plaintext,

    /// How often and with which delays a failed operation is attempted, where that can do no harm. Default: three
    /// attempts in all, 100 ms apart, doubling up to 5 s, with up to 30 % on top at random.
    #[cfg(feature = "resilience")]
    #[cfg_attr(docsrs, doc(cfg(feature = "resilience")))]
    pub retry: Retry,
    /// The bank that repeats and hedges of all operations draw from. Default: see [`BudgetConfig`]; `None` for no
    /// bound.
    #[cfg(feature = "resilience")]
    #[cfg_attr(docsrs, doc(cfg(feature = "resilience")))]
    pub retry_budget: Option<BudgetConfig>,
    /// How long a single attempt may take, below `command_timeout`. Default: none, it has all the time that is left.
    #[cfg(feature = "resilience")]
    #[cfg_attr(docsrs, doc(cfg(feature = "resilience")))]
    pub attempt_timeout: Option<Duration>,
    /// Whether each server has a circuit breaker. Default: true.
    #[cfg(feature = "resilience")]
    #[cfg_attr(docsrs, doc(cfg(feature = "resilience")))]
    pub enable_circuit_breaker: bool,
    /// When a server's breaker opens, and for how long. A new connection to the server closes it at once. Default: see
    /// [`BreakerConfig`]; ten failures in a row, or half of at least twenty calls within 10 s, for 5 s.
    #[cfg(feature = "resilience")]
    #[cfg_attr(docsrs, doc(cfg(feature = "resilience")))]
    pub breaker: BreakerConfig,
    /// After which time a read that is not answered is sent a second time, the first answer counting. Worth it where
    /// [`read_from`](Self::read_from) names replicas: the second copy then goes to the master. Default: none, never.
    #[cfg(feature = "resilience")]
    #[cfg_attr(docsrs, doc(cfg(feature = "resilience")))]
    pub hedge_after: Option<Duration>,
    /// The most attempts a second. Default: none, no bound.
    #[cfg(feature = "resilience")]
    #[cfg_attr(docsrs, doc(cfg(feature = "resilience")))]
    pub rate_limit: Option<RateLimitConfig>,
    /// The most operations at a time. Default: none; the connection bounds what is in flight by itself.
    #[cfg(feature = "resilience")]
    #[cfg_attr(docsrs, doc(cfg(feature = "resilience")))]
    pub bulkhead: Option<BulkheadConfig>,

    /// Whether figures are published to the metrics recorder of the process. Statistics and the slow log work either
    /// way. Default: true.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub enable_metrics: bool,
    /// Names, constant labels, slow log, hot keys and spans. Default: see [`InstrumentsConfig`].
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub instruments: InstrumentsConfig,
    /// Whether slow operations are logged and kept, from `instruments.slow_log.threshold` on. Default: true, from
    /// 100 ms.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub enable_slow_query_log: bool,

    /// URLs of the independent masters that grant locks by majority: none, or 3, 5, 7 or 9. What the query of a URL sets,
    /// holds for that one. Default: none, locks are granted by the backend's own servers.
    #[cfg(feature = "locks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "locks")))]
    pub redlock_nodes: Vec<String>,
    /// Who we are to those of [`redlock_nodes`](Self::redlock_nodes) whose URL does not say. Default: none.
    #[cfg(feature = "locks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "locks")))]
    pub redlock_credentials: Option<Credentials>,
    /// How TLS connections to [`redlock_nodes`](Self::redlock_nodes) are made, which all have to be `rediss` URLs then;
    /// what a URL's query names is preferred. Default: as the URLs say, or else with the authorities that the operating
    /// system trusts.
    #[cfg(all(feature = "locks", feature = "tls"))]
    #[cfg_attr(docsrs, doc(cfg(all(feature = "locks", feature = "tls"))))]
    pub redlock_tls: Option<redis_conn::Tls>,
    #[cfg(feature = "locks")]
    pub(crate) redlock_connection: Option<Connection>,
    /// How locks are taken; the prefix is always that of this backend. Default: see [`LockConfig`], with TTLs of up to
    /// 10 min.
    #[cfg(feature = "locks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "locks")))]
    pub locks: LockConfig,
    /// How long `acquire_lock` waits. Default: none, as long as the TTL that is asked for.
    #[cfg(feature = "locks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "locks")))]
    pub lock_wait: Option<Duration>,
}

/// What is done to the settings of the connection, after all of ours.
pub(crate) type Connection = Arc<dyn Fn(redis_conn::Config) -> redis_conn::Config + Send + Sync>;

impl RedisConfig {
    /// A builder with the defaults.
    pub fn builder() -> RedisConfigBuilder {
        RedisConfigBuilder::default()
    }

    /// Checks every setting; [`RedisBackend::new`](crate::RedisBackend::new) does it first of all.
    ///
    /// # Errors
    /// `InvalidConfig`, naming the field; `Unsupported` for what needs a feature that is off.
    pub fn validate(&self) -> StateResult<()> {
        crate::validate::all(self)
    }
}

impl Default for RedisConfig {
    // One line a setting.
    #[allow(clippy::too_many_lines)]
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
            pool_idle_timeout: Duration::from_secs(5 * 60),
            pool_max_lifetime: Duration::from_secs(30 * 60),
            pipeline_batch_size: 1_000,
            atomic_batches: false,
            clear_whole_database: false,
            read_from: ReadFrom::Master,
            write_concern: WriteConcern::Fast,
            health_interval: Duration::from_secs(5),
            fallback: None,
            connection: None,
            #[cfg(feature = "codec")]
            compression: Compression::None,
            #[cfg(feature = "codec")]
            compression_threshold: 1_024,
            #[cfg(feature = "codec")]
            dictionary: None,
            #[cfg(feature = "codec")]
            dictionary_store: None,
            #[cfg(feature = "codec")]
            serialization: SerializationFormat::default(),
            #[cfg(feature = "encrypt")]
            encryption_keys: None,
            #[cfg(feature = "encrypt")]
            plaintext: Plaintext::Accept,
            #[cfg(feature = "resilience")]
            retry: crate::policy::retry(3, Duration::from_millis(100), Duration::from_secs(5), 0.3),
            #[cfg(feature = "resilience")]
            retry_budget: Some(BudgetConfig::default()),
            #[cfg(feature = "resilience")]
            attempt_timeout: None,
            #[cfg(feature = "resilience")]
            enable_circuit_breaker: true,
            #[cfg(feature = "resilience")]
            breaker: BreakerConfig::default(),
            #[cfg(feature = "resilience")]
            hedge_after: None,
            #[cfg(feature = "resilience")]
            rate_limit: None,
            #[cfg(feature = "resilience")]
            bulkhead: None,
            #[cfg(feature = "metrics")]
            enable_metrics: true,
            #[cfg(feature = "metrics")]
            instruments: InstrumentsConfig::default(),
            #[cfg(feature = "metrics")]
            enable_slow_query_log: true,
            #[cfg(feature = "locks")]
            redlock_nodes: Vec::new(),
            #[cfg(feature = "locks")]
            redlock_credentials: None,
            #[cfg(all(feature = "locks", feature = "tls"))]
            redlock_tls: None,
            #[cfg(feature = "locks")]
            redlock_connection: None,
            #[cfg(feature = "locks")]
            locks: LockConfig::default().with_max_ttl(Duration::from_secs(600)),
            #[cfg(feature = "locks")]
            lock_wait: None,
        }
    }
}

/// Where it connects and under which prefix, in full; of the rest, what tells one backend from another.
impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RedisConfig");
        shown
            .field("mode", &self.mode)
            .field("credentials", &self.credentials)
            .field("key_prefix", &self.key_prefix)
            .field("layout", &self.layout)
            .field("default_ttl", &self.default_ttl)
            .field("max_value_len", &self.max_value_len)
            .field("connect_timeout", &self.connect_timeout)
            .field("command_timeout", &self.command_timeout)
            .field("pool", &(self.pool_min, self.pool_max, self.pool_timeout))
            .field("pool_ages", &(self.pool_idle_timeout, self.pool_max_lifetime))
            .field("pipeline_batch_size", &self.pipeline_batch_size)
            .field("atomic_batches", &self.atomic_batches)
            .field("read_from", &self.read_from)
            .field("write_concern", &self.write_concern)
            .field("fallback", &self.fallback.is_some());
        #[cfg(feature = "codec")]
        shown
            .field("compression", &self.compression)
            .field("compression_threshold", &self.compression_threshold)
            .field("dictionary", &self.dictionary.is_some())
            .field("serialization", &self.serialization);
        #[cfg(feature = "encrypt")]
        shown.field("encryption_keys", &self.encryption_keys.is_some()).field("plaintext", &self.plaintext);
        #[cfg(feature = "resilience")]
        shown
            .field("retry", &self.retry)
            .field("retry_budget", &self.retry_budget)
            .field("attempt_timeout", &self.attempt_timeout)
            .field("breaker", &self.enable_circuit_breaker.then_some(&self.breaker))
            .field("hedge_after", &self.hedge_after)
            .field("rate_limit", &self.rate_limit)
            .field("bulkhead", &self.bulkhead);
        #[cfg(feature = "metrics")]
        shown
            .field("enable_metrics", &self.enable_metrics)
            .field("instruments", &self.instruments)
            .field("enable_slow_query_log", &self.enable_slow_query_log);
        #[cfg(feature = "locks")]
        shown.field("redlock_nodes", &self.redlock_nodes.len()).field("lock_wait", &self.lock_wait);
        shown.finish_non_exhaustive()
    }
}
