//! Settings of the instruments.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::key::KeyDisplay;
use crate::table::TABLE;

/// Settings of [`Instruments`](crate::Instruments).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InstrumentsConfig {
    /// What precedes each name under [`Naming::Prometheus`]: `redis` gives `redis_operations_total`.
    /// Lower-case letters, digits and underscores, at most 64. Default: `redis`.
    pub prefix: String,
    /// Tells several backends of one process apart, exported as the label `backend` on each series (the label
    /// `instance` is Prometheus's own name for the scraped target). At most 128 bytes. Default: none.
    pub instance: Option<String>,
    /// Further labels on each series, fixed for the life of the instruments. At most 16. Default: none.
    pub labels: Vec<(String, String)>,
    /// How metrics and labels are named. Default: [`Naming::Prometheus`].
    pub naming: Naming,
    /// When counts reach the recorder. Default: every 250 ms.
    pub publishing: Publishing,
    /// The slow log. Default: see [`SlowLogConfig`].
    pub slow_log: SlowLogConfig,
    /// The hot-key sketch. Default: off.
    pub hot_keys: Option<HotKeysConfig>,
    /// How keys appear in the slow log and in events. Default: [`KeyDisplay::Digest`].
    pub keys: KeyDisplay,
    /// Whether each operation gets a `tracing` span. Default: [`Spans::Off`].
    pub spans: Spans,
}

/// How metrics and labels are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Naming {
    /// `redis_operation_duration_seconds{operation="get"}`.
    #[default]
    Prometheus,
    /// The OpenTelemetry semantic conventions for database clients where they have a name
    /// (`db.client.operation.duration`, `db.operation.name`, `db.system.name="redis"`), and names under `state.`
    /// where they have none. The prefix is not used.
    OpenTelemetry,
}

/// When counts reach the recorder.
///
/// Operations are counted in cells of our own, which cost less than a recorder's handles and do not contend;
/// publishing moves what was added since the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Publishing {
    /// By a background thread, this often (10 ms to 1 min). It also finds a recorder installed later.
    Every(Duration),
    /// When [`Instruments::publish`](crate::Instruments::publish) is called, and before each render of
    /// [`Prometheus`](crate::Prometheus).
    Manual,
    /// Never: statistics, slow log and hot keys work, and no recorder is touched.
    Off,
}

/// Settings of the slow log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowLogConfig {
    /// Operations that take this long or longer are slow; zero logs all, `Duration::MAX` none. Default: 100 ms.
    pub threshold: Duration,
    /// How many of the latest slow operations are kept, 1 to 65,536. Default: 128.
    pub capacity: usize,
    /// How many log events a second each of slow and failed operations may emit, and how many at once, 1 to
    /// 10,000; those left out are counted in the next one. Default: 10.
    pub events_per_second: u32,
}

/// Settings of the hot-key sketch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HotKeysConfig {
    /// How many keys the sketch follows at once, 8 to 4,096; a key's count is at most `samples / capacity` too
    /// high. Default: 256.
    pub capacity: usize,
    /// One access in so many is sampled, 1 to 65,536. Default: 16.
    pub sample_one_in: u32,
    /// How many ranks are exported, 0 to 16. Default: 10.
    pub exported_ranks: usize,
    /// How keys are told apart and shown. [`KeyDisplay::Normalised`] finds hot groups instead of single keys.
    /// Default: [`KeyDisplay::Digest`].
    pub keys: KeyDisplay,
}

/// Whether each operation gets a `tracing` span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Spans {
    /// No spans; slow, failed and retried operations emit events.
    #[default]
    Off,
    /// A debug-level span for each operation, with OpenTelemetry field names.
    EveryOperation,
}

impl Default for InstrumentsConfig {
    fn default() -> Self {
        Self {
            prefix: "redis".to_owned(),
            instance: None,
            labels: Vec::new(),
            naming: Naming::default(),
            publishing: Publishing::default(),
            slow_log: SlowLogConfig::default(),
            hot_keys: None,
            keys: KeyDisplay::default(),
            spans: Spans::default(),
        }
    }
}

impl Default for Publishing {
    fn default() -> Self {
        Self::Every(Duration::from_millis(250))
    }
}

impl Default for SlowLogConfig {
    fn default() -> Self {
        Self { threshold: Duration::from_millis(100), capacity: 128, events_per_second: 10 }
    }
}

impl Default for HotKeysConfig {
    fn default() -> Self {
        Self { capacity: 256, sample_one_in: 16, exported_ranks: 10, keys: KeyDisplay::default() }
    }
}

/// Consuming setters, one a field.
macro_rules! setters {
    ($config:ident { $($setter:ident $field:ident: $kind:ty,)+ }) => {
        impl $config {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $setter(mut self, $field: impl Into<$kind>) -> Self {
                    self.$field = $field.into();
                    self
                }
            )+
        }
    };
}

setters!(InstrumentsConfig {
    with_prefix prefix: String,
    with_naming naming: Naming,
    with_publishing publishing: Publishing,
    with_slow_log slow_log: SlowLogConfig,
    with_hot_keys hot_keys: Option<HotKeysConfig>,
    with_keys keys: KeyDisplay,
    with_spans spans: Spans,
});
setters!(SlowLogConfig {
    with_threshold threshold: Duration,
    with_capacity capacity: usize,
    with_events_per_second events_per_second: u32,
});
setters!(HotKeysConfig {
    with_capacity capacity: usize,
    with_sample_one_in sample_one_in: u32,
    with_exported_ranks exported_ranks: usize,
    with_keys keys: KeyDisplay,
});

impl InstrumentsConfig {
    /// Sets [`instance`](Self::instance).
    #[must_use]
    pub fn with_instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// Adds a constant label to [`labels`](Self::labels).
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let prefix_fits = self.prefix.len() <= 64
            && self.prefix.starts_with(|c: char| c.is_ascii_lowercase())
            && !self.prefix.ends_with('_')
            && self.prefix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        require(
            prefix_fits,
            "prefix: a letter, then letters, digits and underscores, lower case, at most 64",
        )?;
        require(
            self.instance.as_ref().is_none_or(|name| !name.is_empty() && name.len() <= 128),
            "instance: 1 to 128 bytes",
        )?;
        if let Publishing::Every(interval) = self.publishing {
            let range = Duration::from_millis(10)..=Duration::from_secs(60);
            require(range.contains(&interval), "publishing: 10 ms to 1 min")?;
        }
        require((1..=65_536).contains(&self.slow_log.capacity), "slow_log.capacity: 1 to 65,536")?;
        let rate = self.slow_log.events_per_second;
        require((1..=10_000).contains(&rate), "slow_log.events_per_second: 1 to 10,000")?;
        self.hot_keys.map_or(Ok(()), HotKeysConfig::validate)?;
        self.validate_labels()
    }

    fn validate_labels(&self) -> Result<()> {
        require(self.labels.len() <= 16, "labels: at most 16")?;
        for (index, (name, value)) in self.labels.iter().enumerate() {
            let fits = name.len() <= 64
                && name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
            require(
                fits,
                "labels: a name is a letter, then letters, digits, underscores or dots, at most 64",
            )?;
            require(value.len() <= 128, "labels: a value has at most 128 bytes")?;
            let flat = name.replace('.', "_");
            require(!is_taken(&flat), "labels: a name is already used by the metrics themselves")?;
            let repeated = self.labels[..index].iter().any(|(earlier, _)| earlier.replace('.', "_") == flat);
            require(!repeated, "labels: a name is given twice")?;
        }
        Ok(())
    }
}

impl HotKeysConfig {
    fn validate(self) -> Result<()> {
        require((8..=4096).contains(&self.capacity), "hot_keys.capacity: 8 to 4,096")?;
        require((1..=65_536).contains(&self.sample_one_in), "hot_keys.sample_one_in: 1 to 65,536")?;
        require(self.exported_ranks <= crate::table::MAX_RANKS, "hot_keys.exported_ranks: 0 to 16")
    }
}

/// Whether a label name, dots flattened as Prometheus does, belongs to the metrics themselves.
fn is_taken(flat: &str) -> bool {
    matches!(flat, "le" | "quantile" | "backend" | "state_backend" | "db_system_name")
        || TABLE
            .iter()
            .flat_map(|spec| spec.labels)
            .any(|label| label.name == flat || label.otel_name.replace('.', "_") == flat)
}

fn require(holds: bool, what: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::invalid(what)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn defaults_are_valid() {
        InstrumentsConfig::default().with_hot_keys(HotKeysConfig::default()).validate().unwrap();
    }

    #[test]
    fn errors_name_the_field() {
        let cases = [
            (InstrumentsConfig::default().with_prefix("Redis"), "prefix"),
            (InstrumentsConfig::default().with_prefix("redis_"), "prefix"),
            (InstrumentsConfig::default().with_prefix(""), "prefix"),
            (InstrumentsConfig::default().with_instance(""), "instance"),
            (InstrumentsConfig::default().with_label("operation", "x"), "labels"),
            (InstrumentsConfig::default().with_label("db.operation.name", "x"), "labels"),
            (InstrumentsConfig::default().with_label("le", "x"), "labels"),
            (InstrumentsConfig::default().with_label("__name__", "x"), "labels"),
            (InstrumentsConfig::default().with_label("a.b", "x").with_label("a_b", "y"), "labels"),
            (InstrumentsConfig::default().with_publishing(Publishing::Every(Duration::ZERO)), "publishing"),
            (
                InstrumentsConfig::default().with_slow_log(SlowLogConfig::default().with_capacity(0_usize)),
                "slow_log.capacity",
            ),
            (
                InstrumentsConfig::default()
                    .with_hot_keys(HotKeysConfig::default().with_exported_ranks(17_usize)),
                "hot_keys.exported_ranks",
            ),
        ];
        for (config, field) in cases {
            let error = config.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.context().starts_with(field), "{error}");
        }
    }
}
