//! Names and labels as a recorder sees them, by scheme.

use metrics::{Key, KeyName, Label, Recorder, Unit};

use crate::config::{InstrumentsConfig, Naming};
use crate::store::Store;
use crate::table::{LabelSet, MAX_ENDPOINTS, MetricKind, MetricSpec, MetricUnit, TABLE};

/// The full name of a metric.
pub(crate) fn name(config: &InstrumentsConfig, spec: &MetricSpec) -> String {
    match config.naming {
        Naming::Prometheus => format!("{}_{}", config.prefix, spec.name),
        Naming::OpenTelemetry => spec.otel_name.to_owned(),
    }
}

/// Tells the recorder the help and unit of every metric.
pub(crate) fn describe(config: &InstrumentsConfig, recorder: &dyn Recorder) {
    for spec in TABLE {
        let name = KeyName::from(name(config, spec));
        let unit = unit(spec);
        match spec.kind {
            MetricKind::Counter => recorder.describe_counter(name, unit, spec.help.into()),
            MetricKind::Gauge { .. } => recorder.describe_gauge(name, unit, spec.help.into()),
            MetricKind::Histogram { .. } => recorder.describe_histogram(name, unit, spec.help.into()),
        }
    }
}

/// The key of one series, or `None` while its endpoint does not exist or its gauge would stand for several.
pub(crate) fn key(
    config: &InstrumentsConfig,
    store: &Store,
    spec: &'static MetricSpec,
    position: usize,
) -> Option<Key> {
    let mut labels = constant_labels(config);
    for (label, value) in spec.labels.iter().zip(spec.values(position)) {
        labels.push(Label::new(label_name(config, label), label_value(store, spec, label, value)?));
    }
    Some(Key::from_parts(name(config, spec), labels))
}

fn label_value(store: &Store, spec: &MetricSpec, label: &LabelSet, value: usize) -> Option<String> {
    match label.values {
        Some(values) => Some(values[value].to_owned()),
        None if value == MAX_ENDPOINTS && spec.kind != MetricKind::Counter => None,
        None => store.endpoint_label(value),
    }
}

fn label_name(config: &InstrumentsConfig, label: &LabelSet) -> &'static str {
    match config.naming {
        Naming::Prometheus => label.name,
        Naming::OpenTelemetry => label.otel_name,
    }
}

fn constant_labels(config: &InstrumentsConfig) -> Vec<Label> {
    let (instance, system) = match config.naming {
        Naming::Prometheus => ("backend", None),
        Naming::OpenTelemetry => ("state.backend", Some(Label::new("db.system.name", "redis"))),
    };
    let instance = config.instance.as_ref().map(|name| Label::new(instance, name.clone()));
    let users = config.labels.iter().map(|(name, value)| Label::new(name.clone(), value.clone()));
    system.into_iter().chain(instance).chain(users).collect()
}

fn unit(spec: &MetricSpec) -> Option<Unit> {
    match spec.unit {
        MetricUnit::One => None,
        MetricUnit::Seconds => Some(Unit::Seconds),
        MetricUnit::Bytes => Some(Unit::Bytes),
    }
}
