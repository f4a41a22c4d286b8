//! The difference of two values of the statistics.

use crate::stats::{
    BackendStats, BatchStats, ConnectionStats, LatencyStats, LockStats, OperationStats, PoolStats,
    ResilienceStats,
};

/// Subtracts the named counters, and takes the other fields from the struct update's base.
macro_rules! subtract {
    ($now:ident - $then:ident, { $($field:ident),+ } ..$rest:expr) => {{
        let mut difference = $rest;
        $(difference.$field = $now.$field.saturating_sub($then.$field);)+
        difference
    }};
}

pub(crate) fn backend(now: &BackendStats, then: &BackendStats) -> BackendStats {
    let latency = latency(&now.latency, &then.latency);
    let mut stats = subtract!(now - then, {
        operations_total, operations_success, operations_failed, operations_cancelled, bytes_read, bytes_written,
        bytes_compressed, bytes_before_compression, cache_hits, cache_misses, slow_queries
    } ..now.clone());
    stats.avg_latency_us = latency.mean_us.round() as u64;
    stats.latency = latency;
    stats.resilience = resilience(now.resilience, then.resilience);
    stats.connections = connections(now.connections, then.connections);
    stats.pools = paired(&now.pools, &then.pools, |stats| stats.pool, pool);
    stats.batches = BatchStats::from_sizes(now.batches.sizes.since(&then.batches.sizes));
    stats.locks = locks(&now.locks, &then.locks);
    stats.operations = paired(&now.operations, &then.operations, |stats| stats.operation, operation);
    stats.operations.retain(|operation| operation.latency.histogram.count() > 0);
    stats
}

fn latency(now: &LatencyStats, then: &LatencyStats) -> LatencyStats {
    LatencyStats::of(now.histogram.since(&then.histogram))
}

fn resilience(now: ResilienceStats, then: ResilienceStats) -> ResilienceStats {
    subtract!(now - then, {
        retries, retry_budget_exhausted, breaker_rejections, breaker_openings, overload_rejections, hedges_won,
        hedges_lost, fallbacks
    } ..now)
}

fn connections(now: ConnectionStats, then: ConnectionStats) -> ConnectionStats {
    subtract!(now - then, { connected, connect_failed, lost, masters_switched } ..now)
}

fn pool(now: &PoolStats, then: &PoolStats) -> PoolStats {
    let mut stats = subtract!(now - then, { timeouts }..now.clone());
    stats.wait = latency(&now.wait, &then.wait);
    stats
}

fn locks(now: &LockStats, then: &LockStats) -> LockStats {
    let mut stats = subtract!(now - then, { acquired, not_acquired, lost } ..now.clone());
    stats.wait = latency(&now.wait, &then.wait);
    stats.hold = latency(&now.hold, &then.hold);
    stats
}

fn operation(now: &OperationStats, then: &OperationStats) -> OperationStats {
    let mut stats = subtract!(now - then, { success, failed, cancelled } ..now.clone());
    stats.latency = latency(&now.latency, &then.latency);
    stats
}

/// Subtracts entries with the same key; an entry that is new stays whole.
fn paired<T: Clone, K: PartialEq>(
    now: &[T],
    then: &[T],
    key: impl Fn(&T) -> K,
    subtract: impl Fn(&T, &T) -> T,
) -> Vec<T> {
    now.iter()
        .map(|entry| match then.iter().find(|earlier| key(earlier) == key(entry)) {
            Some(earlier) => subtract(entry, earlier),
            None => entry.clone(),
        })
        .collect()
}
