//! What the other layers report: connections, pools, batches, resilience, compression, locks.

use std::time::Duration;

use tracing::Span;

use crate::config::Spans;
use crate::instruments::{Inner, Instruments, nanoseconds};
use crate::labels::{
    BatchKind, BreakerState, Codec, ConnectionEvent, ErrorType, HedgeOutcome, LockEnd, LockKind, LockMode,
    LockOutcome, LossReason, Op, Pool, Rejection,
};
use crate::store::Endpoint;
use crate::table::Metric;

/// How many connections a pool has and how many callers wait for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    /// Connections in use.
    pub active: usize,
    /// Connections open and not in use.
    pub idle: usize,
    /// Callers waiting.
    pub pending: usize,
    /// The most connections the pool may open.
    pub max: usize,
}

/// Which lock an event is about: who grants it, and of what kind it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lock {
    /// Who grants it.
    pub mode: LockMode,
    /// Of what kind it is.
    pub kind: LockKind,
}

impl Lock {
    /// A lock of `kind`, granted by `mode`.
    #[must_use]
    pub const fn new(mode: LockMode, kind: LockKind) -> Self {
        Self { mode, kind }
    }

    fn labels(self) -> [usize; 2] {
        [self.mode as usize, self.kind as usize]
    }
}

/// Connections and batches.
impl Instruments {
    /// A connection to `endpoint` is ready, `took` after dialing.
    pub fn connected(&self, endpoint: Endpoint, took: Duration) {
        self.with(|inner| {
            inner.store.add(Metric::ConnectionEvents, &[ConnectionEvent::Connected as usize], 1);
            inner.store.histogram(Metric::ConnectDuration, &[]).record(nanoseconds(took));
            inner.store.set(Metric::ConnectionUp, &[endpoint.index()], 1.0);
        });
    }

    /// The connection to `endpoint` was given up.
    pub fn disconnected(&self, endpoint: Endpoint, reason: LossReason) {
        self.with(|inner| {
            inner.store.add(Metric::ConnectionLosses, &[reason as usize], 1);
            inner.store.set(Metric::ConnectionUp, &[endpoint.index()], 0.0);
        });
    }

    /// Something else happened to a connection or a topology: a failed attempt, another master, other slots.
    ///
    /// For a connection made use [`connected`](Self::connected), which also sets the endpoint's gauge.
    pub fn connection_event(&self, event: ConnectionEvent) {
        self.with(|inner| inner.store.add(Metric::ConnectionEvents, &[event as usize], 1));
    }

    /// The pool stands like this now.
    pub fn pool_state(&self, pool: Pool, state: PoolState) {
        self.with(|inner| {
            let set = |metric, value: usize| inner.store.set(metric, &[pool as usize], value as f64);
            set(Metric::PoolActive, state.active);
            set(Metric::PoolIdle, state.idle);
            set(Metric::PoolPending, state.pending);
            set(Metric::PoolMax, state.max);
        });
    }

    /// A caller waited this long for a connection and got one.
    pub fn pool_waited(&self, pool: Pool, waited: Duration) {
        self.with(|inner| {
            inner.store.histogram(Metric::PoolWait, &[pool as usize]).record(nanoseconds(waited))
        });
    }

    /// A caller waited this long for a connection and got none.
    pub fn pool_timed_out(&self, pool: Pool, waited: Duration) {
        self.pool_waited(pool, waited);
        self.with(|inner| inner.store.add(Metric::PoolTimeouts, &[pool as usize], 1));
    }

    /// An operation waited this long for room among those in flight.
    pub fn queue_waited(&self, waited: Duration) {
        self.with(|inner| inner.store.histogram(Metric::QueueWait, &[]).record(nanoseconds(waited)));
    }

    /// This many operations were sent together.
    #[inline]
    pub fn batch_sent(&self, kind: BatchKind, operations: usize) {
        self.with(|inner| {
            inner.store.histogram(Metric::BatchSize, &[kind as usize]).record(operations as u64)
        });
    }

    /// A value of `raw` bytes is stored compressed in `stored` bytes.
    #[inline]
    pub fn compressed(&self, codec: Codec, raw: usize, stored: usize) {
        self.with(|inner| {
            inner.store.add(Metric::CompressionInput, &[codec as usize], raw as u64);
            inner.store.add(Metric::CompressionOutput, &[codec as usize], stored as u64);
        });
    }
}

/// Resilience.
impl Instruments {
    /// Attempt number `attempt` (1 is the first) of `op` failed, and another follows after `delay`.
    pub fn retry(&self, op: Op, error_type: ErrorType, attempt: u32, delay: Duration) {
        self.with(|inner| {
            inner.store.add(Metric::Retries, &[op as usize], 1);
            tracing::debug!(target: "state_metrics", operation = op.as_str(), error_type = error_type.as_str(),
                attempt, delay_us = delay.as_micros() as u64, "retrying");
        });
    }

    /// A call, retry or hedge was refused before anything was sent.
    pub fn rejected(&self, reason: Rejection) {
        self.with(|inner| inner.store.add(Metric::Rejections, &[reason as usize], 1));
    }

    /// A hedged read ended.
    pub fn hedged(&self, outcome: HedgeOutcome) {
        self.with(|inner| inner.store.add(Metric::Hedges, &[outcome as usize], 1));
    }

    /// The fallback answered `op`.
    pub fn fell_back(&self, op: Op) {
        self.with(|inner| inner.store.add(Metric::Fallbacks, &[op as usize], 1));
    }

    /// The breaker of `endpoint` entered `state`. Call it once at the start too, so that the gauge exists.
    ///
    /// Entering [`BreakerState::Closed`] from the start is not counted as a transition: pass `None` as `from`.
    pub fn breaker(&self, endpoint: Endpoint, from: Option<BreakerState>, state: BreakerState) {
        self.with(|inner| {
            inner.store.set(Metric::BreakerState, &[endpoint.index()], state as usize as f64);
            let Some(from) = from else { return };
            inner.store.add(Metric::BreakerTransitions, &[endpoint.index(), state as usize], 1);
            log_transition(inner, endpoint, from, state);
        });
    }
}

/// Locks.
impl Instruments {
    /// An attempt to acquire a lock ended after `waited`.
    pub fn lock_attempted(&self, lock: Lock, outcome: LockOutcome, waited: Duration) {
        self.with(|inner| {
            let [mode, kind] = lock.labels();
            inner.store.add(Metric::LockAcquisitions, &[mode, kind, outcome as usize], 1);
            inner.store.histogram(Metric::LockWait, &[mode, kind]).record(nanoseconds(waited));
        });
    }

    /// A lock held for `held` was released.
    pub fn lock_released(&self, lock: Lock, end: LockEnd, held: Duration) {
        self.with(|inner| {
            let [mode, kind] = lock.labels();
            inner.store.add(Metric::LockReleases, &[mode, kind, end as usize], 1);
            inner.store.histogram(Metric::LockHold, &[mode, kind]).record(nanoseconds(held));
        });
    }

    /// A guard extended its lock.
    pub fn lock_renewed(&self, lock: Lock) {
        self.with(|inner| inner.store.add(Metric::LockRenewals, &lock.labels(), 1));
    }

    /// A lock held for `held` was lost while its guard was alive.
    pub fn lock_lost(&self, lock: Lock, held: Duration) {
        self.with(|inner| {
            inner.store.add(Metric::LocksLost, &lock.labels(), 1);
            inner.store.histogram(Metric::LockHold, &lock.labels()).record(nanoseconds(held));
            tracing::warn!(target: "state_metrics", mode = lock.mode.as_str(), kind = lock.kind.as_str(),
                held_ms = held.as_millis() as u64, "lock lost");
        });
    }
}

impl Instruments {
    #[inline]
    fn with(&self, record: impl FnOnce(&Inner)) {
        if let Some(inner) = self.inner() {
            record(inner);
        }
    }
}

/// Opening is a warning; what leads back is information.
fn log_transition(inner: &Inner, endpoint: Endpoint, from: BreakerState, to: BreakerState) {
    let node = inner.store.endpoint_label(endpoint.index());
    let (from, to_name) = (from.as_str(), to.as_str());
    if matches!(to, BreakerState::Open | BreakerState::ForcedOpen) {
        tracing::warn!(target: "state_metrics", node, from, to = to_name, "circuit breaker opened");
    } else {
        tracing::info!(target: "state_metrics", node, from, to = to_name, "circuit breaker changed state");
    }
}

/// A span with the fields of the OpenTelemetry conventions for database clients.
pub(crate) fn span(spans: Spans, op: Op) -> Span {
    match spans {
        Spans::Off => Span::none(),
        Spans::EveryOperation => tracing::debug_span!(
            target: "state_metrics",
            "state_operation",
            otel.name = op.as_str(),
            otel.kind = "client",
            db.system.name = "redis",
            db.operation.name = op.as_str(),
        ),
    }
}
