//! The reference of all metrics as Markdown, written from the table.

use std::fmt::Write;

use crate::table::{LabelSet, MAX_ENDPOINTS, MetricKind, MetricSpec, MetricUnit, TABLE};

/// The reference of all metrics as Markdown: the text of `docs/metrics.md`.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(HEADER);
    text.push_str(
        "| Name | Type | Unit | Labels | OpenTelemetry name | Meaning |\n|---|---|---|---|---|---|\n",
    );
    TABLE.iter().for_each(|spec| row(&mut text, spec));
    text.push_str("\n## Label values\n\n| Label | OpenTelemetry name | Values |\n|---|---|---|\n");
    let mut seen: Vec<LabelSet> = Vec::new();
    for label in TABLE.iter().flat_map(|spec| spec.labels) {
        if !seen.contains(label) {
            seen.push(*label);
            let _ = writeln!(text, "| `{}` | `{}` | {} |", label.name, label.otel_name, values(label));
        }
    }
    text.push_str(
        "\n## Buckets\n\nUpper bounds, inclusive; `+Inf` follows.\n\n| Metric | Bounds |\n|---|---|\n",
    );
    for spec in TABLE {
        if let MetricKind::Histogram { buckets } = spec.kind {
            let bounds: Vec<String> = buckets.iter().map(f64::to_string).collect();
            let _ = writeln!(text, "| `redis_{}` | {} |", spec.name, bounds.join(", "));
        }
    }
    text
}

const HEADER: &str = "# Metrics\n\n\
    Written from the table in `crates/state-metrics/src/table.rs` by `UPDATE_DOCS=1 cargo test -p state-metrics`; \
    a test fails when it is stale.\n\n\
    Names are shown with the default prefix `redis`. \
    Counters exist at 0 from the start. A histogram's series appears with its first sample, and a gauge marked *late* \
    once there is something to say.\n\n";

fn row(text: &mut String, spec: &MetricSpec) {
    let kind = match spec.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge { from_start: true } => "gauge",
        MetricKind::Gauge { from_start: false } => "gauge, late",
        MetricKind::Histogram { .. } => "histogram",
    };
    let unit = match spec.unit {
        MetricUnit::One => "",
        MetricUnit::Seconds => "seconds",
        MetricUnit::Bytes => "bytes",
    };
    let labels: Vec<String> = spec.labels.iter().map(|label| format!("`{}`", label.name)).collect();
    let (name, labels, otel, help) = (spec.name, labels.join(", "), spec.otel_name, spec.help);
    let _ = writeln!(text, "| `redis_{name}` | {kind} | {unit} | {labels} | `{otel}` | {help} |");
}

fn values(label: &LabelSet) -> String {
    match label.values {
        Some(values) => values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", "),
        None => format!("`host:port` of the first {MAX_ENDPOINTS} nodes, then `other`"),
    }
}
