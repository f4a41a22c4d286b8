//! The one table of every metric: registration, descriptions, docs/metrics.md and the tests come from it.

use crate::labels::{
    BatchKind, BreakerState, Codec, ConnectionEvent, ErrorType, HedgeOutcome, LockEnd, LockKind, LockMode,
    LockOutcome, Lookup, LossReason, Op, Pool, Rejection, Status,
};

/// One metric, as exported.
#[derive(Debug)]
#[non_exhaustive]
pub struct MetricSpec {
    /// The name without the prefix, in the scheme of [`Naming::Prometheus`](crate::Naming::Prometheus).
    pub name: &'static str,
    /// The name in the scheme of [`Naming::OpenTelemetry`](crate::Naming::OpenTelemetry).
    pub otel_name: &'static str,
    /// What it counts.
    pub kind: MetricKind,
    /// The unit of its value.
    pub unit: MetricUnit,
    /// Its labels, beside the constant ones.
    pub labels: &'static [LabelSet],
    /// One sentence of help.
    pub help: &'static str,
}

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down. Exported as 0 from the start, or only once there is something to say.
    Gauge {
        /// Whether the series exists before the first value.
        from_start: bool,
    },
    /// A distribution with these upper bounds, in the metric's unit. A series appears with its first sample.
    Histogram {
        /// Inclusive upper bounds; `+Inf` follows.
        buckets: &'static [f64],
    },
}

/// The unit of a metric's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricUnit {
    /// A plain number.
    One,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

/// A label and the values it can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LabelSet {
    /// The label's name.
    pub name: &'static str,
    /// Its name in the OpenTelemetry scheme.
    pub otel_name: &'static str,
    /// Every value, or `None` for endpoints, which are bounded by [`MAX_ENDPOINTS`].
    pub values: Option<&'static [&'static str]>,
}

/// The number of distinct endpoints that get a label value of their own; later ones share `other`.
pub const MAX_ENDPOINTS: usize = 64;

/// The number of ranks exported for hot keys.
pub(crate) const MAX_RANKS: usize = 16;

/// Upper bounds for latencies, in seconds: 50 us to 5 s.
pub const LATENCY_BUCKETS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0,
];
/// Upper bounds for how long locks are waited for and held, in seconds: 1 ms to 10 min.
const LOCK_BUCKETS: &[f64] = &[
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0,
];
/// Upper bounds for batch sizes.
const SIZE_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// A metric's position in [`TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    Operations,
    OperationDuration,
    PoolActive,
    PoolIdle,
    BreakerState,
    CompressionRatio,
    Errors,
    Lookups,
    ReadBytes,
    WrittenBytes,
    CompressionInput,
    CompressionOutput,
    SlowOperations,
    Retries,
    Rejections,
    Hedges,
    Fallbacks,
    BreakerTransitions,
    ConnectionEvents,
    ConnectionLosses,
    ConnectDuration,
    ConnectionUp,
    PoolPending,
    PoolMax,
    PoolWait,
    QueueWait,
    PoolTimeouts,
    BatchSize,
    LockAcquisitions,
    LockReleases,
    LockRenewals,
    LocksLost,
    LockWait,
    LockHold,
    HotKeyShare,
}

const GAUGE: MetricKind = MetricKind::Gauge { from_start: true };
const LATE_GAUGE: MetricKind = MetricKind::Gauge { from_start: false };
const LATENCY: MetricKind = MetricKind::Histogram { buckets: LATENCY_BUCKETS };
const LOCK_TIME: MetricKind = MetricKind::Histogram { buckets: LOCK_BUCKETS };
const SIZE: MetricKind = MetricKind::Histogram { buckets: SIZE_BUCKETS };

const fn label(name: &'static str, otel_name: &'static str, values: &'static [&'static str]) -> LabelSet {
    LabelSet { name, otel_name, values: Some(values) }
}

const OPERATION: LabelSet = label("operation", "db.operation.name", Op::NAMES);
const STATUS: LabelSet = label("status", "state.status", Status::NAMES);
const ERROR_TYPE: LabelSet = label("error_type", "error.type", ErrorType::NAMES);
const LOOKUP: LabelSet = label("result", "state.lookup.result", Lookup::NAMES);
const POOL: LabelSet = label("pool", "db.client.connection.pool.name", Pool::NAMES);
const CODEC: LabelSet = label("codec", "state.codec", Codec::NAMES);
const STATE: LabelSet = label("state", "state.breaker.state", BreakerState::NAMES);
const EVENT: LabelSet = label("event", "state.connection.event", ConnectionEvent::NAMES);
const LOSS: LabelSet = label("reason", "state.connection.loss_reason", LossReason::NAMES);
const REASON: LabelSet = label("reason", "state.rejection.reason", Rejection::NAMES);
const HEDGE: LabelSet = label("outcome", "state.hedge.outcome", HedgeOutcome::NAMES);
const BATCH: LabelSet = label("kind", "state.batch.kind", BatchKind::NAMES);
const LOCK_MODE: LabelSet = label("mode", "state.lock.mode", LockMode::NAMES);
const LOCK_KIND: LabelSet = label("kind", "state.lock.kind", LockKind::NAMES);
const LOCK_OUTCOME: LabelSet = label("outcome", "state.lock.outcome", LockOutcome::NAMES);
const LOCK_END: LabelSet = label("outcome", "state.lock.outcome", LockEnd::NAMES);
const RANK: LabelSet = label(
    "rank",
    "state.hot_key.rank",
    &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"],
);
const ENDPOINT: LabelSet = LabelSet { name: "endpoint", otel_name: "server.address", values: None };

/// Every metric: the seven a dashboard starts from, then the others by layer.
#[rustfmt::skip]
pub static TABLE: &[MetricSpec] = &[
    spec("operations_total", "state.client.operations", MetricKind::Counter, &[OPERATION, STATUS],
        "Operations that ended, by how they ended."),
    spec("operation_duration_seconds", "db.client.operation.duration", LATENCY, &[OPERATION, STATUS],
        "Time from call to result, retries and waits included.").unit(MetricUnit::Seconds),
    spec("pool_connections_active", "state.client.connections.used", GAUGE, &[POOL],
        "Connections in use."),
    spec("pool_connections_idle", "state.client.connections.idle", GAUGE, &[POOL],
        "Connections open and not in use."),
    spec("circuit_breaker_state", "state.breaker.state", LATE_GAUGE, &[ENDPOINT],
        "0 closed, 1 open, 2 half-open, 3 disabled, 4 forced open, 5 metrics only."),
    spec("compression_ratio", "state.compression.ratio", GAUGE, &[CODEC],
        "Bytes before compression over bytes after, of all values compressed so far; 1 before the first."),
    spec("errors_total", "state.client.errors", MetricKind::Counter, &[ERROR_TYPE],
        "Operations that failed, by reason."),
    spec("lookups_total", "state.client.lookups", MetricKind::Counter, &[LOOKUP],
        "Keys read, by whether they were there."),
    spec("read_bytes_total", "state.client.read", MetricKind::Counter, &[],
        "Bytes of values returned to callers.").unit(MetricUnit::Bytes),
    spec("written_bytes_total", "state.client.written", MetricKind::Counter, &[],
        "Bytes of values callers asked to write.").unit(MetricUnit::Bytes),
    spec("compression_input_bytes_total", "state.compression.input", MetricKind::Counter, &[CODEC],
        "Bytes of values before compression, of values stored compressed.").unit(MetricUnit::Bytes),
    spec("compression_output_bytes_total", "state.compression.output", MetricKind::Counter, &[CODEC],
        "Bytes of values after compression, of values stored compressed.").unit(MetricUnit::Bytes),
    spec("slow_operations_total", "state.client.slow_operations", MetricKind::Counter, &[OPERATION],
        "Operations that took the slow log's threshold or longer, failed ones included."),
    spec("retries_total", "state.client.retries", MetricKind::Counter, &[OPERATION],
        "Attempts beyond the first."),
    spec("rejections_total", "state.client.rejections", MetricKind::Counter, &[REASON],
        "Calls refused before anything was sent."),
    spec("hedges_total", "state.client.hedges", MetricKind::Counter, &[HEDGE],
        "Hedged reads, by which request answered first."),
    spec("fallbacks_total", "state.client.fallbacks", MetricKind::Counter, &[OPERATION],
        "Operations answered by the fallback."),
    spec("circuit_breaker_transitions_total", "state.breaker.transitions", MetricKind::Counter, &[ENDPOINT, STATE],
        "Transitions of circuit breakers, by the state entered."),
    spec("connection_events_total", "state.connection.events", MetricKind::Counter, &[EVENT],
        "Connections made and failed, masters switched, topologies changed, credentials rotated."),
    spec("connection_losses_total", "state.connection.losses", MetricKind::Counter, &[LOSS],
        "Connections given up, by reason."),
    spec("connect_duration_seconds", "db.client.connection.create_time", LATENCY, &[],
        "Time from dialing to a connection that is ready.").unit(MetricUnit::Seconds),
    spec("connection_up", "state.connection.up", LATE_GAUGE, &[ENDPOINT],
        "1 while the connection to the endpoint is up, 0 while it is down."),
    spec("pool_connections_pending", "db.client.connection.pending_requests", GAUGE, &[POOL],
        "Callers waiting for a connection."),
    spec("pool_connections_max", "db.client.connection.max", GAUGE, &[POOL],
        "The most connections the pool may open."),
    spec("pool_wait_duration_seconds", "db.client.connection.wait_time", LATENCY, &[POOL],
        "Time callers waited for a connection, timeouts included.").unit(MetricUnit::Seconds),
    spec("queue_wait_duration_seconds", "state.client.queue.wait_time", LATENCY, &[],
        "Time operations waited for room among those in flight, of those that waited.").unit(MetricUnit::Seconds),
    spec("pool_timeouts_total", "db.client.connection.timeouts", MetricKind::Counter, &[POOL],
        "Waits for a connection that timed out."),
    spec("batch_size", "state.batch.size", SIZE, &[BATCH],
        "Operations sent together."),
    spec("lock_acquisitions_total", "state.lock.acquisitions", MetricKind::Counter, &[LOCK_MODE, LOCK_KIND, LOCK_OUTCOME],
        "Attempts to acquire a lock, by how they ended."),
    spec("lock_releases_total", "state.lock.releases", MetricKind::Counter, &[LOCK_MODE, LOCK_KIND, LOCK_END],
        "Releases, by what they found."),
    spec("lock_renewals_total", "state.lock.renewals", MetricKind::Counter, &[LOCK_MODE, LOCK_KIND],
        "Locks extended by their guards."),
    spec("locks_lost_total", "state.lock.lost", MetricKind::Counter, &[LOCK_MODE, LOCK_KIND],
        "Locks lost while their guard was alive."),
    spec("lock_wait_duration_seconds", "state.lock.wait_time", LOCK_TIME, &[LOCK_MODE, LOCK_KIND],
        "Time callers waited for a lock, failures included.").unit(MetricUnit::Seconds),
    spec("lock_hold_duration_seconds", "state.lock.hold_time", LOCK_TIME, &[LOCK_MODE, LOCK_KIND],
        "Time locks were held.").unit(MetricUnit::Seconds),
    spec("hot_key_share", "state.hot_key.share", LATE_GAUGE, &[RANK],
        "Estimated share of sampled accesses that the key of this rank takes, 0 to 1."),
];

const fn spec(
    name: &'static str,
    otel_name: &'static str,
    kind: MetricKind,
    labels: &'static [LabelSet],
    help: &'static str,
) -> MetricSpec {
    MetricSpec { name, otel_name, kind, unit: MetricUnit::One, labels, help }
}

impl MetricSpec {
    const fn unit(mut self, unit: MetricUnit) -> Self {
        self.unit = unit;
        self
    }

    /// The number of series this metric can have.
    #[must_use]
    pub const fn series(&self) -> usize {
        let mut product = 1;
        let mut index = 0;
        while index < self.labels.len() {
            product *= self.labels[index].cardinality();
            index += 1;
        }
        product
    }

    /// The position of a label combination among this metric's series; `values` in the order of `labels`.
    #[inline]
    pub(crate) fn position(&self, values: &[usize]) -> usize {
        debug_assert_eq!(values.len(), self.labels.len());
        self.labels
            .iter()
            .zip(values)
            .fold(0, |position, (label, value)| position * label.cardinality() + value)
    }

    /// The label values at a position: the inverse of [`position`](Self::position).
    pub(crate) fn values(&self, position: usize) -> Vec<usize> {
        let mut rest = position;
        let mut values: Vec<usize> = self
            .labels
            .iter()
            .rev()
            .map(|label| {
                let value = rest % label.cardinality();
                rest /= label.cardinality();
                value
            })
            .collect();
        values.reverse();
        values
    }
}

impl LabelSet {
    /// The number of values this label can take.
    #[must_use]
    pub const fn cardinality(&self) -> usize {
        match self.values {
            Some(values) => values.len(),
            None => MAX_ENDPOINTS + 1,
        }
    }
}

impl Metric {
    pub(crate) fn spec(self) -> &'static MetricSpec {
        &TABLE[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_finds_its_own_row() {
        assert_eq!(Metric::HotKeyShare as usize + 1, TABLE.len());
        assert_eq!(Metric::OperationDuration.spec().name, "operation_duration_seconds");
        assert_eq!(Metric::BreakerTransitions.spec().name, "circuit_breaker_transitions_total");
        assert_eq!(Metric::LocksLost.spec().name, "locks_lost_total");
        assert_eq!(Metric::PoolTimeouts.spec().name, "pool_timeouts_total");
    }

    #[test]
    fn positions_and_label_values_are_inverse() {
        for spec in TABLE {
            for position in 0..spec.series() {
                assert_eq!(spec.position(&spec.values(position)), position, "{}", spec.name);
            }
        }
    }

    #[test]
    fn names_follow_the_conventions_and_are_unique() {
        for (index, spec) in TABLE.iter().enumerate() {
            assert_eq!(spec.kind == MetricKind::Counter, spec.name.ends_with("_total"), "{}", spec.name);
            assert!(!spec.name.contains("_total_total"));
            assert_eq!(spec.unit == MetricUnit::Seconds, spec.name.ends_with("_seconds"), "{}", spec.name);
            assert!(spec.help.ends_with('.'), "{}", spec.name);
            for other in &TABLE[..index] {
                assert_ne!(spec.name, other.name);
                assert_ne!(spec.otel_name, other.otel_name);
            }
        }
    }

    #[test]
    fn the_series_are_few_enough_to_export() {
        let closed: usize = TABLE
            .iter()
            .filter(|spec| spec.labels.iter().all(|l| l.values.is_some()))
            .map(|s| s.series())
            .sum();
        println!("closed series: {closed}");
        assert!(closed < 600, "{closed} series with an empty workload");
    }
}
