//! The settings that text can express, each with its name, how it is read, and its value now.

use redis_conn::Credentials;
use state_core::StateResult;

use crate::config::RedisConfig;
use crate::mode::RedisMode;
use crate::text::Text;
use crate::validate::invalid;

/// A value as it was given.
#[derive(Clone)]
pub(crate) enum Given {
    One(String),
    Many(Vec<String>),
}

/// What could not be read, said without repeating it.
type Expected = &'static str;

/// A setting by its name.
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    read: fn(&mut Draft, &Given) -> Result<(), Expected>,
    /// Its value, as it would be given; empty for what only a caller can know.
    pub(crate) show: fn(&RedisConfig) -> String,
}

/// Settings as they come in; some belong together.
pub(crate) struct Draft {
    config: RedisConfig,
    url: Option<String>,
    sentinels: Option<Vec<String>>,
    service_name: Option<String>,
    nodes: Option<Vec<String>>,
    username: Option<String>,
    password: Option<String>,
    #[cfg(feature = "resilience")]
    retry: Option<resilience::RetryParts>,
    locks: locks::Parts,
    given: Vec<&'static str>,
}

impl Draft {
    /// Begins with `config`, over which settings are laid.
    pub(crate) fn over(config: RedisConfig) -> Self {
        Self {
            config,
            url: None,
            sentinels: None,
            service_name: None,
            nodes: None,
            username: None,
            password: None,
            #[cfg(feature = "resilience")]
            retry: None,
            locks: locks::Parts::default(),
            given: Vec::new(),
        }
    }

    /// Takes the setting `name`, by either of its spellings.
    ///
    /// # Errors
    /// `InvalidConfig`, naming it.
    pub(crate) fn set(&mut self, name: &str, given: &Given) -> StateResult<()> {
        let proper = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, proper)| proper);
        let Some(setting) = all().find(|setting| setting.name == proper) else {
            let advice = near::advice(name, &all().map(|setting| setting.name).collect::<Vec<_>>());
            return Err(invalid(format!("`{name}` is no setting of this build{advice}")));
        };
        if self.given.contains(&setting.name) {
            return Err(invalid(format!("`{name}` is given twice, counting both its spellings")));
        }
        self.given.push(setting.name);
        (setting.read)(self, given).map_err(|expected| invalid(format!("{name}: expected {expected}")))
    }

    /// The settings, once all of them are checked.
    ///
    /// # Errors
    /// `InvalidConfig`, naming the field; `Unsupported` for what needs a feature that is off.
    pub(crate) fn finish(mut self) -> StateResult<RedisConfig> {
        if let Some(mode) = self.mode()? {
            self.config.mode = mode;
        }
        if let Some(credentials) = login(&mut self.username, &mut self.password, "")? {
            self.config.credentials = Some(credentials);
        }
        std::mem::take(&mut self.locks).join(&mut self.config)?;
        #[cfg(feature = "resilience")]
        if let Some(parts) = self.retry.take() {
            self.config.retry = parts.join();
        }
        self.config.validate()?;
        Ok(self.config)
    }

    fn mode(&mut self) -> StateResult<Option<RedisMode>> {
        let parts = (self.url.take(), self.sentinels.take(), self.service_name.take(), self.nodes.take());
        Ok(Some(match parts {
            (None, None, None, None) => return Ok(None),
            (Some(url), None, None, None) => RedisMode::Standalone { url },
            (None, Some(sentinels), Some(service_name), None) => {
                RedisMode::Sentinel { sentinels, service_name }
            }
            (None, None, None, Some(nodes)) => RedisMode::Cluster { nodes },
            _ => return Err(invalid("servers are given by url, by sentinels and service_name, or by nodes")),
        }))
    }
}

/// The credentials that two settings make up, whose names begin with `prefix`.
fn login(
    username: &mut Option<String>,
    password: &mut Option<String>,
    prefix: &str,
) -> StateResult<Option<Credentials>> {
    match (username.take(), password.take()) {
        (Some(user), Some(password)) => Ok(Some(Credentials::user(user, password))),
        (None, Some(password)) => Ok(Some(Credentials::password(password))),
        (Some(_), None) => Err(invalid(format!("{prefix}username is given without {prefix}password"))),
        (None, None) => Ok(None),
    }
}

/// Every setting of this build.
pub(crate) fn all() -> impl Iterator<Item = &'static Setting> {
    let layers: [&[Setting]; 5] = [BASE, CODEC, resilience::RESILIENCE, METRICS, locks::LOCKS];
    layers.into_iter().flatten()
}

/// Further spellings: those of the builder's setters that take several settings.
const ALIASES: &[(&str, &str)] = &[
    ("timeouts_connect", "connect_timeout"),
    ("timeouts_command", "command_timeout"),
    ("pool_config_min", "pool_min"),
    ("pool_config_max", "pool_max"),
    ("pool_config_timeout", "pool_timeout"),
    ("pool_config_idle_timeout", "pool_idle_timeout"),
    ("pool_config_max_lifetime", "pool_max_lifetime"),
    ("retry_config_max", "retry_max_attempts"),
    ("retry_config_initial_delay", "retry_initial_delay"),
    ("retry_config_max_delay", "retry_max_delay"),
    ("retry_config_jitter", "retry_jitter"),
    ("max_retries", "retry_max_attempts"),
    ("circuit_breaker_enabled", "enable_circuit_breaker"),
    ("slow_query_log_enabled", "enable_slow_query_log"),
    ("slow_query_log_threshold", "slow_query_threshold"),
    ("metrics_enabled", "enable_metrics"),
];

fn one<T: Text>(given: &Given) -> Result<T, Expected> {
    match given {
        Given::One(text) => T::read(text.trim()).ok_or(T::EXPECTED),
        Given::Many(_) => Err(T::EXPECTED),
    }
}

/// As it was written: spaces may belong to it.
fn exact(given: &Given) -> Result<String, Expected> {
    match given {
        Given::One(text) => Ok(text.clone()),
        Given::Many(_) => Err(String::EXPECTED),
    }
}

/// A list, or one text with commas.
#[allow(clippy::unnecessary_wraps)]
fn many(given: &Given) -> Result<Vec<String>, Expected> {
    Ok(match given {
        Given::Many(texts) => texts.clone(),
        Given::One(text) => {
            text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()
        }
    })
}

/// A setting that is a field, of the settings themselves or of those of a layer; `in` for one of a part that is
/// switched on by setting it, and off by `none`.
macro_rules! setting {
    ($name:literal, $about:literal, $($field:ident).+) => {
        Setting {
            name: $name,
            about: $about,
            read: |draft, given| {
                draft.config.$($field).+ = one(given)?;
                Ok(())
            },
            show: |config| config.$($field).+.show(),
        }
    };
    ($name:literal, $about:literal, in $($part:ident).+ => $field:ident) => {
        Setting {
            name: $name,
            about: $about,
            read: |draft, given| {
                let part = &mut draft.config.$($part).+;
                match one(given)? {
                    Some(value) => part.get_or_insert_with(Default::default).$field = value,
                    None => *part = None,
                }
                Ok(())
            },
            show: |config| config.$($part).+.as_ref().map(|part| part.$field).show(),
        }
    };
}

fn unknown(_config: &RedisConfig) -> String {
    String::new()
}

mod near;

// After the macro, which it uses.
#[cfg(feature = "locks")]
mod locks;
#[cfg(not(feature = "locks"))]
#[path = "settings/locks_off.rs"]
mod locks;
#[cfg(feature = "resilience")]
mod resilience;
#[cfg(not(feature = "resilience"))]
mod resilience {
    pub(super) const RESILIENCE: &[super::Setting] = &[];
}

const BASE: &[Setting] = &[
    Setting {
        name: "url",
        about: "The servers, in any form of URL",
        read: |draft, given| exact(given).map(|url| draft.url = Some(url)),
        show: |config| match &config.mode {
            RedisMode::Standalone { url } => url.clone(),
            _ => String::new(),
        },
    },
    Setting {
        name: "sentinels",
        about: "Instead of `url`: URLs of the sentinels, on port 26379 if none is named",
        read: |draft, given| many(given).map(|urls| draft.sentinels = Some(urls)),
        show: unknown,
    },
    Setting {
        name: "service_name",
        about: "What the sentinels call the service",
        read: |draft, given| exact(given).map(|name| draft.service_name = Some(name)),
        show: unknown,
    },
    Setting {
        name: "nodes",
        about: "Instead of `url`: URLs of some nodes of a cluster",
        read: |draft, given| many(given).map(|urls| draft.nodes = Some(urls)),
        show: unknown,
    },
    Setting {
        name: "username",
        about: "The ACL user; preferred over that of the URL",
        read: |draft, given| exact(given).map(|name| draft.username = Some(name)),
        show: unknown,
    },
    Setting {
        name: "password",
        about: "The password; preferred over that of the URL",
        read: |draft, given| exact(given).map(|password| draft.password = Some(password)),
        show: unknown,
    },
    Setting {
        name: "key_prefix",
        about: "What the server's keys begin with",
        read: |draft, given| exact(given).map(|prefix| draft.config.key_prefix = prefix),
        show: |config| config.key_prefix.clone(),
    },
    setting!("layout", "`namespaced`, or `plain` for foreign data", layout),
    setting!("default_ttl", "The TTL of keys stored without one of their own", default_ttl),
    setting!("max_value_len", "The longest value, in bytes", max_value_len),
    setting!("connect_timeout", "How long connecting may take", connect_timeout),
    setting!("command_timeout", "How long an operation may take in all", command_timeout),
    setting!("pool_min", "Dedicated connections that are open from the start", pool_min),
    setting!("pool_max", "The most dedicated connections to a node", pool_max),
    setting!("pool_timeout", "How long to wait for a dedicated connection", pool_timeout),
    setting!("pool_idle_timeout", "For how long one that nobody uses is kept", pool_idle_timeout),
    setting!("pool_max_lifetime", "How old one may be and still be lent", pool_max_lifetime),
    setting!("pipeline_batch_size", "The most items of a batch in one request", pipeline_batch_size),
    setting!("atomic_batches", "Whether each request of a batch is a transaction", atomic_batches),
    setting!("clear_whole_database", "Whether `clear` may empty the whole database", clear_whole_database),
    setting!("read_from", "`master`, `prefer_replica` or `replica`", read_from),
    setting!("write_concern", "`fast`, or `wait(replicas, time)`", write_concern),
    setting!("health_interval", "How often the servers' health is checked", health_interval),
];

#[cfg(not(feature = "codec"))]
const CODEC: &[Setting] = &[];
#[cfg(feature = "codec")]
const CODEC: &[Setting] = &[
    setting!("compression", "`none`, `lz4`, `snappy`, `zstd` or `zstd(level)`", compression),
    setting!("compression_threshold", "Shorter values are not compressed; bytes", compression_threshold),
    setting!("serialization", "`messagepack`, `json` or `postcard`", serialization),
    #[cfg(feature = "encrypt")]
    setting!("plaintext", "Whether unencrypted values are read: `accept` or `refuse`", plaintext),
];

#[cfg(not(feature = "metrics"))]
const METRICS: &[Setting] = &[];
#[cfg(feature = "metrics")]
const METRICS: &[Setting] = &[
    setting!("enable_metrics", "Whether figures are published", enable_metrics),
    setting!("metrics_prefix", "What the metrics' names begin with", instruments.prefix),
    setting!("metrics_instance", "The label `backend` on each metric", instruments.instance),
    Setting {
        name: "metrics_labels",
        about: "Further labels on each metric, as `name=value`",
        read: |draft, given| {
            let pair = |text: &String| {
                let (name, value) = text.split_once('=')?;
                Some((name.trim().to_owned(), value.trim().to_owned()))
            };
            let labels: Option<Vec<_>> = many(given)?.iter().map(pair).collect();
            draft.config.instruments.labels = labels.ok_or("name=value for each label")?;
            Ok(())
        },
        show: unknown,
    },
    setting!("enable_slow_query_log", "Whether slow operations are kept and logged", enable_slow_query_log),
    setting!("slow_query_threshold", "From when on an operation is slow", instruments.slow_log.threshold),
    setting!("slow_query_capacity", "How many slow operations are kept", instruments.slow_log.capacity),
    setting!("hot_keys_capacity", "Keys that are followed", in instruments.hot_keys => capacity),
    setting!("hot_keys_sample_one_in", "One access in so many is looked at", in instruments.hot_keys => sample_one_in),
];
