//! The instruments, in the words of this crate.

use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::{Duration, Instant as Clock};

use redis_conn::{DownReason, Endpoint};
use state_core::{ErrorKind, StateError, StateResult};
use state_metrics::{
    BatchKind, ConnectionEvent, ErrorType, Instruments as Cells, LossReason, Op, Operation as Record,
    Outcome, Pool, PoolState, Publishing,
};
#[cfg(feature = "resilience")]
use state_metrics::{BreakerState, HedgeOutcome, Rejection};

use crate::config::RedisConfig;
use crate::exec::{Finished, Moved};
use crate::operation::Operation;

/// The instruments of one backend.
#[derive(Clone)]
pub(crate) struct Instruments(pub(crate) Cells, Arc<Open>);

/// How many connections are open beside dedicated ones. Below zero for a moment when the end of one is told before its
/// beginning, by another thread.
#[derive(Default)]
struct Open {
    /// Those that all commands share.
    shared: AtomicIsize,
    /// Those that subscribe.
    subscribers: AtomicIsize,
}

impl Instruments {
    pub(crate) fn new(config: &RedisConfig) -> StateResult<Self> {
        let mut settings = config.instruments.clone();
        if !config.enable_metrics {
            settings.publishing = Publishing::Off;
        }
        if !config.enable_slow_query_log {
            settings.slow_log.threshold = Duration::MAX;
        }
        Cells::new(&settings).map(|cells| Self(cells, Arc::default())).map_err(|cause| {
            StateError::new(ErrorKind::InvalidConfig, format!("instruments.{}", cause.context()))
                .with_source(cause)
        })
    }

    #[cfg(feature = "resilience")]
    pub(crate) fn disabled() -> Self {
        Self(Cells::disabled(), Arc::default())
    }

    #[inline]
    pub(crate) fn record(&self, finished: &Finished<'_>) {
        let Some(op) = op(finished.operation) else { return };
        let outcome = match finished.outcome {
            None => Outcome::Cancelled,
            Some(None) => Outcome::Success,
            Some(Some(error)) => Outcome::Error(error_type(error.kind())),
        };
        let Moved { read, written, hits, misses } = finished.moved;
        let mut record = Record::new(op, outcome, finished.started.into_std(), Clock::now())
            .with_bytes(read, written)
            .with_lookups(hits, misses)
            .with_attempts(finished.attempts.max(1), Duration::ZERO);
        if let Some(key) = finished.key {
            record = record.with_key(key);
        }
        self.0.record(&record);
    }

    pub(crate) fn fell_back(&self, operation: Operation) {
        if let Some(op) = op(operation) {
            self.0.fell_back(op);
        }
    }

    #[cfg(feature = "codec")]
    pub(crate) fn compressed(&self, compression: state_codec::Compression, raw: usize, stored: usize) {
        use state_codec::Compression;
        use state_metrics::Codec;
        let codec = match compression {
            Compression::Lz4 => Codec::Lz4,
            Compression::Snappy => Codec::Snappy,
            Compression::Zstd { .. } => Codec::Zstd,
            _ => return,
        };
        self.0.compressed(codec, raw, stored);
    }
}

/// What the connection tells.
impl Instruments {
    pub(crate) fn connected(&self, endpoint: &Endpoint, took: Duration) {
        self.1.shared.fetch_add(1, Ordering::Relaxed);
        self.0.connected(self.0.endpoint(&endpoint.to_string()), took);
    }

    pub(crate) fn connect_failed(&self) {
        self.0.connection_event(ConnectionEvent::ConnectFailed);
    }

    pub(crate) fn disconnected(&self, endpoint: &Endpoint, reason: DownReason) {
        self.1.shared.fetch_sub(1, Ordering::Relaxed);
        let reason = match reason {
            DownReason::Stalled => LossReason::Stalled,
            DownReason::WrongRole => LossReason::WrongRole,
            DownReason::Auth => LossReason::Auth,
            DownReason::Switched => {
                self.0.connection_event(ConnectionEvent::MasterSwitched);
                LossReason::Switched
            }
            DownReason::Closed => LossReason::Closed,
            _ => LossReason::Lost,
        };
        self.0.disconnected(self.0.endpoint(&endpoint.to_string()), reason);
    }

    pub(crate) fn subscriber_opened(&self) {
        self.1.subscribers.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn subscriber_closed(&self) {
        self.1.subscribers.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn queued(&self, waited: Duration) {
        self.0.queue_waited(waited);
    }

    #[inline]
    pub(crate) fn batch_sent(&self, kind: redis_conn::BatchKind, members: usize) {
        let kind = match kind {
            redis_conn::BatchKind::Get => BatchKind::Read,
            redis_conn::BatchKind::Set => BatchKind::Write,
            _ => BatchKind::Mixed,
        };
        self.0.batch_sent(kind, members);
    }

    /// Lets the gauges of connections follow what is open, and of dedicated ones `stats`.
    pub(crate) fn sample_pool(
        &self,
        stats: impl Fn() -> Option<redis_conn::PoolStats> + Send + Sync + 'static,
    ) {
        let open = Arc::clone(&self.1);
        self.0.sample_with(move |cells| {
            // They belong to nobody, so none is ever idle or waited for, and no setting bounds their number.
            for (pool, count) in [(Pool::Shared, &open.shared), (Pool::PubSub, &open.subscribers)] {
                let active = usize::try_from(count.load(Ordering::Relaxed)).unwrap_or(0);
                cells.pool_state(pool, PoolState { active, ..PoolState::default() });
            }
            if let Some(stats) = stats() {
                let state = PoolState {
                    active: stats.in_use,
                    idle: stats.idle,
                    pending: usize::try_from(stats.waiting).unwrap_or(usize::MAX),
                    max: stats.max,
                };
                cells.pool_state(Pool::Dedicated, state);
            }
        });
    }

    pub(crate) fn pool_waited(&self, waited: Duration) {
        self.0.pool_waited(Pool::Dedicated, waited);
    }

    pub(crate) fn pool_timed_out(&self, waited: Duration) {
        self.0.pool_timed_out(Pool::Dedicated, waited);
    }
}

/// What the policy and the breakers tell.
#[cfg(feature = "resilience")]
impl Instruments {
    pub(crate) fn retried(&self, operation: Operation, kind: ErrorKind, attempt: u32, delay: Duration) {
        if let Some(op) = op(operation) {
            self.0.retry(op, error_type(kind), attempt, delay);
        }
    }

    pub(crate) fn hedged(&self, won: bool) {
        self.0.hedged(if won { HedgeOutcome::Won } else { HedgeOutcome::Lost });
    }

    pub(crate) fn refused(&self, failure: &crate::policy::Failure) {
        use state_resilience::FailureKind;
        let reason = match failure.kind() {
            FailureKind::RateLimited => Rejection::RateLimit,
            FailureKind::BulkheadFull => Rejection::Bulkhead,
            FailureKind::BudgetExhausted => Rejection::RetryBudget,
            FailureKind::Shed => match failure.last().map(redis_conn::Error::kind) {
                Some(redis_conn::ErrorKind::Rejected) => Rejection::CircuitOpen,
                _ => Rejection::QueueFull,
            },
            _ => return,
        };
        self.0.rejected(reason);
    }

    /// A breaker was made, and is closed.
    pub(crate) fn breaker_known(&self, name: &str) {
        self.0.breaker(self.0.endpoint(name), None, BreakerState::Closed);
    }

    pub(crate) fn breaker_changed(&self, change: &state_resilience::BreakerChange<'_>) {
        let endpoint = self.0.endpoint(change.name);
        self.0.breaker(endpoint, Some(breaker_state(change.from)), breaker_state(change.to));
    }
}

#[cfg(feature = "resilience")]
fn breaker_state(state: state_resilience::BreakerState) -> BreakerState {
    use state_resilience::BreakerState as Theirs;
    match state {
        Theirs::Closed => BreakerState::Closed,
        Theirs::Open => BreakerState::Open,
        Theirs::HalfOpen => BreakerState::HalfOpen,
        Theirs::Disabled => BreakerState::Disabled,
        Theirs::ForcedOpen => BreakerState::ForcedOpen,
        Theirs::MetricsOnly => BreakerState::MetricsOnly,
    }
}

/// Checks the settings of the layer.
pub(crate) fn check(config: &RedisConfig) -> StateResult<()> {
    let mut settings = config.clone();
    // A check starts no publishing.
    settings.enable_metrics = false;
    Instruments::new(&settings)?;
    Ok(())
}

/// The label of an operation; lending a connection is none.
fn op(operation: Operation) -> Option<Op> {
    Some(match operation {
        Operation::Get => Op::Get,
        Operation::Put => Op::Put,
        Operation::PutIf | Operation::PutIfAbsentOnce => Op::PutWith,
        Operation::Delete => Op::Delete,
        Operation::ListKeys => Op::ListKeys,
        Operation::Clear => Op::Clear,
        Operation::Count => Op::Count,
        Operation::Contains => Op::Contains,
        Operation::GetAndDelete => Op::GetAndDelete,
        Operation::CompareAndSwap | Operation::CompareAndSwapOnce => Op::CompareAndSwap,
        Operation::Increment | Operation::IncrementOnce => Op::Increment,
        Operation::Ttl => Op::Ttl,
        Operation::Expire => Op::Expire,
        Operation::Persist => Op::Persist,
        Operation::BatchGet => Op::BatchGet,
        Operation::BatchPut => Op::BatchPut,
        Operation::BatchPutIfAbsent => Op::BatchPutIfAbsent,
        Operation::BatchDelete => Op::BatchDelete,
        Operation::Scan => Op::Scan,
        Operation::ScanEntries => Op::ScanEntries,
        Operation::HealthCheck => Op::HealthCheck,
        Operation::Command(_) | Operation::ScriptOnce => Op::Command,
        Operation::Dedicated => return None,
    })
}

fn error_type(kind: ErrorKind) -> ErrorType {
    match kind {
        ErrorKind::InvalidConfig => ErrorType::InvalidConfig,
        ErrorKind::InvalidInput => ErrorType::InvalidInput,
        ErrorKind::TooLarge => ErrorType::TooLarge,
        ErrorKind::Unavailable => ErrorType::Unavailable,
        ErrorKind::Timeout => ErrorType::Timeout,
        ErrorKind::CircuitOpen => ErrorType::CircuitOpen,
        ErrorKind::Overloaded => ErrorType::Overloaded,
        ErrorKind::ReadOnly => ErrorType::ReadOnly,
        ErrorKind::Auth => ErrorType::Auth,
        ErrorKind::LockHeld => ErrorType::LockHeld,
        ErrorKind::LockLost => ErrorType::LockLost,
        ErrorKind::Conflict => ErrorType::Conflict,
        ErrorKind::WrongType => ErrorType::WrongType,
        ErrorKind::OutOfRange => ErrorType::OutOfRange,
        ErrorKind::Corrupt => ErrorType::Corrupt,
        ErrorKind::Unsupported => ErrorType::Unsupported,
        ErrorKind::Io => ErrorType::Io,
        ErrorKind::Closed => ErrorType::Closed,
        _ => ErrorType::Internal,
    }
}
