//! The instruments of one backend: the handle everything is recorded with.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::config::InstrumentsConfig;
use crate::error::Result;
use crate::events;
use crate::histogram::HistogramSnapshot;
use crate::hot_keys::{HotKey, HotKeys};
use crate::labels::{Lookup, Op, Status};
use crate::operation::{Operation, Outcome};
use crate::publish::{self, Publisher};
use crate::slow_log::{SlowLog, SlowOperation};
use crate::stats::BackendStats;
use crate::store::{Endpoint, Store};
use crate::stripe::Stripe;
use crate::table::Metric;

/// The instruments of one backend.
///
/// Cloning clones the handle; all clones count into the same cells. When the last clone is dropped, what was
/// counted is published once more and the gauges go to 0, but for the compression ratio.
#[derive(Clone)]
pub struct Instruments {
    inner: Option<Arc<Inner>>,
}

pub(crate) struct Inner {
    pub(crate) config: InstrumentsConfig,
    pub(crate) store: Store,
    pub(crate) slow_log: SlowLog,
    pub(crate) hot_keys: Option<HotKeys>,
    pub(crate) publisher: Publisher,
    /// Nanoseconds; `u64::MAX` switches the slow log off.
    slow_threshold: AtomicU64,
}

impl Instruments {
    /// Instruments bound to the recorder installed now, if there is one; one installed later is found by the
    /// next publishing or by [`rebind`](Self::rebind), and gets everything counted until then.
    ///
    /// # Errors
    /// `InvalidConfig` names the field that is wrong; `Resource` when the publishing thread cannot be started.
    pub fn new(config: &InstrumentsConfig) -> Result<Self> {
        config.validate()?;
        let inner = Arc::new(Inner {
            store: Store::new(),
            slow_log: SlowLog::new(&config.slow_log),
            hot_keys: config.hot_keys.map(HotKeys::new),
            publisher: Publisher::default(),
            slow_threshold: AtomicU64::new(nanoseconds(config.slow_log.threshold)),
            config: config.clone(),
        });
        publish::start(&inner)?;
        Ok(Self { inner: Some(inner) })
    }

    /// Instruments that record nothing: one branch a call.
    #[must_use]
    pub const fn disabled() -> Self {
        Self { inner: None }
    }

    /// Whether anything is recorded. A caller that reads the clock only for these instruments can skip it.
    #[must_use]
    #[inline]
    pub const fn is_enabled(&self) -> bool {
        self.inner.is_some()
    }

    /// Records a finished operation: counts, latency, slow log, hot keys, events.
    #[inline]
    pub fn record(&self, operation: &Operation<'_>) {
        if let Some(inner) = &self.inner {
            inner.record(operation);
        }
    }

    /// A handle for a node, given as `host:port`; a URL is cut down to what follows its `@`.
    #[must_use]
    pub fn endpoint(&self, address: &str) -> Endpoint {
        self.inner().map_or(Endpoint::OTHER, |inner| inner.store.endpoint(address))
    }

    /// The figures of this backend since its start.
    #[must_use]
    pub fn stats(&self) -> BackendStats {
        self.sample();
        self.inner().map(|inner| BackendStats::of(inner)).unwrap_or_default()
    }

    /// The latencies of an operation's successes so far, in nanoseconds: a source for hedge delays and
    /// thresholds.
    #[must_use]
    pub fn latency(&self, op: Op) -> HistogramSnapshot {
        let labels = [op as usize, Status::Success as usize];
        self.inner()
            .map(|inner| HistogramSnapshot::of([inner.store.histogram(Metric::OperationDuration, &labels)]))
            .unwrap_or_default()
    }

    /// The latest slow operations, oldest first.
    #[must_use]
    pub fn slow_operations(&self) -> Vec<SlowOperation> {
        self.inner().map(|inner| inner.slow_log.entries()).unwrap_or_default()
    }

    /// Changes the slow log's threshold; `Duration::MAX` switches it off.
    pub fn set_slow_threshold(&self, threshold: Duration) {
        if let Some(inner) = self.inner() {
            inner.slow_threshold.store(nanoseconds(threshold), Ordering::Relaxed);
        }
    }

    /// The keys accessed most, by the sketch's estimate, hottest first; empty while hot keys are off.
    #[must_use]
    pub fn hot_keys(&self) -> Vec<HotKey> {
        self.inner().and_then(|inner| inner.hot_keys.as_ref()).map(HotKeys::top).unwrap_or_default()
    }

    /// A span for an operation, or a disabled one unless spans are switched on.
    #[must_use]
    #[inline]
    pub fn span(&self, op: Op) -> tracing::Span {
        self.inner().map_or_else(tracing::Span::none, |inner| events::span(inner.config.spans, op))
    }

    pub(crate) fn of(inner: &Arc<Inner>) -> Self {
        Self { inner: Some(Arc::clone(inner)) }
    }

    #[inline]
    pub(crate) fn inner(&self) -> Option<&Arc<Inner>> {
        self.inner.as_ref()
    }
}

impl Inner {
    #[inline]
    fn record(&self, operation: &Operation<'_>) {
        let stripe = Stripe::current();
        let elapsed = nanoseconds(operation.elapsed());
        let labels = [operation.op as usize, operation.outcome.status() as usize];
        self.store.histogram(Metric::OperationDuration, &labels).record_on(stripe, elapsed);
        let add = |metric, labels: &[usize], n| self.store.add_any(stripe, metric, labels, n);
        add(Metric::ReadBytes, &[], operation.read_bytes);
        add(Metric::WrittenBytes, &[], operation.written_bytes);
        add(Metric::Lookups, &[Lookup::Hit as usize], u64::from(operation.hits));
        add(Metric::Lookups, &[Lookup::Miss as usize], u64::from(operation.misses));
        if let (Some(hot_keys), Some(key)) = (&self.hot_keys, operation.key) {
            hot_keys.observe(key);
        }
        let slow = elapsed >= self.slow_threshold.load(Ordering::Relaxed);
        if slow || operation.attempts > 1 || operation.outcome != Outcome::Success {
            self.record_notable(operation, slow);
        }
    }

    #[cold]
    fn record_notable(&self, operation: &Operation<'_>, slow: bool) {
        if let Outcome::Error(error_type) = operation.outcome {
            self.store.add(Metric::Errors, &[error_type as usize], 1);
        }
        if slow {
            self.store.add(Metric::SlowOperations, &[operation.op as usize], 1);
        }
        self.slow_log.note(operation, slow, self.config.keys);
    }
}

/// Saturates; `u64::MAX` nanoseconds are 584 years.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}

impl fmt::Debug for Instruments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instruments")
            .field("enabled", &self.is_enabled())
            .field("prefix", &self.inner().map(|inner| &inner.config.prefix))
            .field("instance", &self.inner().map(|inner| &inner.config.instance))
            .finish_non_exhaustive()
    }
}
