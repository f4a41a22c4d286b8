//! The figures of a backend as a plain value.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::histogram::HistogramSnapshot;
use crate::instruments::Inner;
use crate::labels::{
    BatchKind, BreakerState, ConnectionEvent, HedgeOutcome, LockOutcome, Lookup, LossReason, Op, Pool,
    Rejection, Status,
};
use crate::store::Store;
use crate::table::{MAX_ENDPOINTS, Metric};

/// The figures of a backend since its start, or between two moments ([`delta`](Self::delta)).
///
/// Counts only grow. Latencies are in microseconds and cover operations of every status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BackendStats {
    /// Operations that ended.
    pub operations_total: u64,
    /// Operations that did what was asked; a miss did.
    pub operations_success: u64,
    /// Operations that failed.
    pub operations_failed: u64,
    /// Operations dropped by their caller before they ended.
    pub operations_cancelled: u64,
    /// Bytes of values returned to callers.
    pub bytes_read: u64,
    /// Bytes of values callers asked to write.
    pub bytes_written: u64,
    /// Bytes after compression, of values stored compressed.
    pub bytes_compressed: u64,
    /// Bytes before compression, of values stored compressed.
    pub bytes_before_compression: u64,
    /// Keys read that were there.
    pub cache_hits: u64,
    /// Keys read that were absent.
    pub cache_misses: u64,
    /// Mean latency in whole microseconds; [`latency`](Self::latency) has the fraction.
    pub avg_latency_us: u64,
    /// Operations that took the slow log's threshold or longer, failed ones included.
    pub slow_queries: u64,
    /// The latency distribution.
    pub latency: LatencyStats,
    /// Retries, refusals, hedges, fallbacks, breakers.
    pub resilience: ResilienceStats,
    /// Connections made and lost.
    pub connections: ConnectionStats,
    /// One entry a pool.
    pub pools: Vec<PoolStats>,
    /// Batches sent.
    pub batches: BatchStats,
    /// Locks.
    pub locks: LockStats,
    /// One entry an operation that was used.
    pub operations: Vec<OperationStats>,
}

/// A latency distribution in microseconds; quantiles are within 1.6 %.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LatencyStats {
    /// The mean, exact.
    pub mean_us: f64,
    /// The median.
    pub p50_us: f64,
    /// Nine in ten were at most this.
    pub p90_us: f64,
    /// 99 in 100 were at most this.
    pub p99_us: f64,
    /// 999 in 1,000 were at most this.
    pub p999_us: f64,
    /// The greatest, within 1.6 %.
    pub max_us: f64,
    /// The distribution itself, in nanoseconds.
    pub histogram: HistogramSnapshot,
}

/// What the resilience layers did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ResilienceStats {
    /// Attempts beyond the first.
    pub retries: u64,
    /// Retries and hedges not made because the budget was exhausted.
    pub retry_budget_exhausted: u64,
    /// Calls refused by an open circuit breaker.
    pub breaker_rejections: u64,
    /// Times a circuit breaker opened.
    pub breaker_openings: u64,
    /// Breakers that refuse calls now (open or forced open); not a count that grows.
    pub breakers_open: u64,
    /// Calls refused by bulkhead, rate limit or queue.
    pub overload_rejections: u64,
    /// Hedges that answered first.
    pub hedges_won: u64,
    /// Hedges that did not.
    pub hedges_lost: u64,
    /// Operations answered by the fallback.
    pub fallbacks: u64,
}

/// Connections made and lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Connections made.
    pub connected: u64,
    /// Attempts that failed.
    pub connect_failed: u64,
    /// Connections given up for another reason than their owner's wish.
    pub lost: u64,
    /// Times a group had another master.
    pub masters_switched: u64,
}

/// A pool of connections. The first four figures are of now, the others count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PoolStats {
    /// Which pool.
    pub pool: Pool,
    /// Connections in use.
    pub active: u64,
    /// Connections open and not in use.
    pub idle: u64,
    /// Callers waiting.
    pub pending: u64,
    /// The most connections it may open.
    pub max: u64,
    /// Waits that timed out.
    pub timeouts: u64,
    /// How long callers waited.
    pub wait: LatencyStats,
}

/// Batches sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BatchStats {
    /// Batches.
    pub sent: u64,
    /// Operations in them.
    pub operations: u64,
    /// The sizes.
    pub sizes: HistogramSnapshot,
}

/// Locks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LockStats {
    /// Locks granted.
    pub acquired: u64,
    /// Attempts that did not get the lock.
    pub not_acquired: u64,
    /// Locks lost while held.
    pub lost: u64,
    /// How long callers waited.
    pub wait: LatencyStats,
    /// How long locks were held.
    pub hold: LatencyStats,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OperationStats {
    /// Which.
    pub operation: Op,
    /// How many succeeded.
    pub success: u64,
    /// How many failed.
    pub failed: u64,
    /// How many were dropped by their caller.
    pub cancelled: u64,
    /// Their latencies.
    pub latency: LatencyStats,
}

impl BackendStats {
    /// What happened since `earlier`, an older value of the same backend; quantiles are those of the interval.
    /// Figures of now (pools' connections, open breakers) stay as they are.
    #[must_use]
    pub fn delta(&self, earlier: &Self) -> Self {
        crate::delta::backend(self, earlier)
    }

    /// The share of keys read that were there, 0 to 1; `None` before the first read.
    #[must_use]
    pub fn hit_ratio(&self) -> Option<f64> {
        ratio(self.cache_hits, self.cache_hits + self.cache_misses)
    }

    /// Bytes before compression over bytes after; `None` before the first compressed value.
    #[must_use]
    pub fn compression_ratio(&self) -> Option<f64> {
        ratio(self.bytes_before_compression, self.bytes_compressed)
    }

    pub(crate) fn of(inner: &Inner) -> Self {
        let store = &inner.store;
        let operations: Vec<OperationStats> =
            Op::ALL.iter().filter_map(|op| OperationStats::of(store, *op)).collect();
        let latency = LatencyStats::of(store.merged(Metric::OperationDuration));
        let sum = |of: fn(&OperationStats) -> u64| operations.iter().map(of).sum::<u64>();
        let (success, failed, cancelled) = (sum(|o| o.success), sum(|o| o.failed), sum(|o| o.cancelled));
        Self {
            operations_total: success + failed + cancelled,
            operations_success: success,
            operations_failed: failed,
            operations_cancelled: cancelled,
            bytes_read: store.sum(Metric::ReadBytes),
            bytes_written: store.sum(Metric::WrittenBytes),
            bytes_compressed: store.sum(Metric::CompressionOutput),
            bytes_before_compression: store.sum(Metric::CompressionInput),
            cache_hits: store.total(Metric::Lookups, &[Lookup::Hit as usize]),
            cache_misses: store.total(Metric::Lookups, &[Lookup::Miss as usize]),
            avg_latency_us: latency.mean_us.round() as u64,
            slow_queries: store.sum(Metric::SlowOperations),
            latency,
            resilience: ResilienceStats::of(store),
            connections: ConnectionStats::of(store),
            pools: Pool::ALL.iter().map(|pool| PoolStats::of(store, *pool)).collect(),
            batches: BatchStats::of(store),
            locks: LockStats::of(store),
            operations,
        }
    }
}

impl LatencyStats {
    pub(crate) fn of(histogram: HistogramSnapshot) -> Self {
        let quantile = |q| histogram.quantile(q) as f64 / 1e3;
        Self {
            mean_us: histogram.mean() / 1e3,
            p50_us: quantile(0.5),
            p90_us: quantile(0.9),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            max_us: quantile(1.0),
            histogram,
        }
    }

    /// The mean as a duration.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.histogram.mean().round() as u64)
    }
}

impl ResilienceStats {
    fn of(store: &Store) -> Self {
        let rejected = |reason: Rejection| store.total(Metric::Rejections, &[reason as usize]);
        let hedges = |outcome: HedgeOutcome| store.total(Metric::Hedges, &[outcome as usize]);
        let entered = |state: BreakerState| -> u64 {
            (0..=MAX_ENDPOINTS)
                .map(|node| store.total(Metric::BreakerTransitions, &[node, state as usize]))
                .sum()
        };
        let refuses = |node: &usize| {
            let state = store.gauge(Metric::BreakerState, &[*node]);
            state == BreakerState::Open as usize as f64 || state == BreakerState::ForcedOpen as usize as f64
        };
        Self {
            retries: store.sum(Metric::Retries),
            retry_budget_exhausted: rejected(Rejection::RetryBudget),
            breaker_rejections: rejected(Rejection::CircuitOpen),
            breaker_openings: entered(BreakerState::Open) + entered(BreakerState::ForcedOpen),
            breakers_open: (0..MAX_ENDPOINTS).filter(refuses).count() as u64,
            overload_rejections: rejected(Rejection::Bulkhead)
                + rejected(Rejection::RateLimit)
                + rejected(Rejection::QueueFull),
            hedges_won: hedges(HedgeOutcome::Won),
            hedges_lost: hedges(HedgeOutcome::Lost),
            fallbacks: store.sum(Metric::Fallbacks),
        }
    }
}

impl ConnectionStats {
    fn of(store: &Store) -> Self {
        let event = |event: ConnectionEvent| store.total(Metric::ConnectionEvents, &[event as usize]);
        let closed = store.total(Metric::ConnectionLosses, &[LossReason::Closed as usize]);
        Self {
            connected: event(ConnectionEvent::Connected),
            connect_failed: event(ConnectionEvent::ConnectFailed),
            lost: store.sum(Metric::ConnectionLosses) - closed,
            masters_switched: event(ConnectionEvent::MasterSwitched),
        }
    }
}

impl PoolStats {
    fn of(store: &Store, pool: Pool) -> Self {
        let labels = [pool as usize];
        let gauge = |metric| store.gauge(metric, &labels) as u64;
        Self {
            pool,
            active: gauge(Metric::PoolActive),
            idle: gauge(Metric::PoolIdle),
            pending: gauge(Metric::PoolPending),
            max: gauge(Metric::PoolMax),
            timeouts: store.total(Metric::PoolTimeouts, &labels),
            wait: LatencyStats::of(HistogramSnapshot::of([store.histogram(Metric::PoolWait, &labels)])),
        }
    }
}

impl BatchStats {
    fn of(store: &Store) -> Self {
        let kinds = BatchKind::ALL.iter().map(|kind| store.histogram(Metric::BatchSize, &[*kind as usize]));
        Self::from_sizes(HistogramSnapshot::of(kinds))
    }

    pub(crate) fn from_sizes(sizes: HistogramSnapshot) -> Self {
        Self { sent: sizes.count(), operations: sizes.sum(), sizes }
    }
}

impl LockStats {
    fn of(store: &Store) -> Self {
        let spec = Metric::LockAcquisitions.spec();
        let granted = |labels: &Vec<usize>| labels[2] == LockOutcome::Acquired as usize;
        let acquired = (0..spec.series())
            .map(|position| spec.values(position))
            .filter(granted)
            .map(|labels| store.total(Metric::LockAcquisitions, &labels))
            .sum();
        Self {
            acquired,
            not_acquired: store.sum(Metric::LockAcquisitions) - acquired,
            lost: store.sum(Metric::LocksLost),
            wait: LatencyStats::of(store.merged(Metric::LockWait)),
            hold: LatencyStats::of(store.merged(Metric::LockHold)),
        }
    }
}

impl OperationStats {
    fn of(store: &Store, operation: Op) -> Option<Self> {
        let of = |status: Status| {
            store.histogram(Metric::OperationDuration, &[operation as usize, status as usize])
        };
        let latency = LatencyStats::of(HistogramSnapshot::of(Status::ALL.iter().map(|status| of(*status))));
        (latency.histogram.count() > 0).then(|| Self {
            operation,
            success: of(Status::Success).count(),
            failed: of(Status::Error).count(),
            cancelled: of(Status::Cancelled).count(),
            latency,
        })
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
