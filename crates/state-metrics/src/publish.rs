//! From our cells to the recorder: what was added since the last time, series by series.

use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use metrics::{Level, Metadata, Recorder};
use parking_lot::Mutex;

use crate::binding::Binding;
use crate::config::Publishing;
use crate::error::{Error, ErrorKind, Result};
use crate::instruments::{Inner, Instruments};
use crate::labels::Codec;
use crate::table::{Metric, MetricSpec, TABLE};

pub(crate) static METADATA: Metadata<'_> = Metadata::new("state_metrics", Level::INFO, Some("state_metrics"));

/// Every enabled instrument of the process, so that an endpoint can publish before it renders.
static ALIVE: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());

/// Held while a recorder is given samples, and while ours drains them: the exporter (metrics-util 0.20) loses a
/// sample that is added to a bucket while that is emptied, or a whole chain of them while it grows.
static EXCHANGE: Mutex<()> = Mutex::new(());

/// What publishing needs to remember.
#[derive(Default)]
pub(crate) struct Publisher {
    binding: Mutex<Binding>,
    thread: OnceLock<Thread>,
    sampler: OnceLock<Sampler>,
}

/// What brings gauges up to date.
type Sampler = Box<dyn Fn(&Instruments) + Send + Sync>;

impl Instruments {
    /// Moves what was counted since the last time to the recorder, now.
    ///
    /// Of use with [`Publishing::Manual`], or before a look at the recorder that has to be exact to the last
    /// operation.
    pub fn publish(&self) {
        if let Some(inner) = self.inner() {
            publish(inner);
        }
    }

    /// Turns to the recorder that `metrics` yields on this thread now. `true` if it is another one than before.
    ///
    /// The new recorder gets everything counted since the start, except the samples of histograms with more than
    /// 262,144 of them, which start afresh. A global recorder installed later is found by the next publishing
    /// without this call.
    pub fn rebind(&self) -> bool {
        let Some(inner) = self.exporting() else { return false };
        metrics::with_recorder(|recorder| {
            let mut binding = inner.publisher.binding.lock();
            let another = !binding.is_ambient(recorder);
            if another {
                *binding = Binding::ambient(inner, recorder);
                give(&mut binding, inner, Some(recorder));
            }
            another
        })
    }

    /// Turns to `recorder`, which need not be the global one, and stays there. `true` if it is another one than
    /// before.
    ///
    /// Bind to one handle of a registry only: two handles of the same registry would count twice.
    pub fn bind(&self, recorder: Arc<dyn Recorder + Send + Sync>) -> bool {
        let Some(inner) = self.exporting() else { return false };
        let mut binding = inner.publisher.binding.lock();
        if binding.is_own(&recorder) {
            return false;
        }
        *binding = Binding::own(inner, Arc::clone(&recorder));
        give(&mut binding, inner, Some(&*recorder));
        true
    }

    /// Sets what brings gauges up to date that somebody else keeps, such as those of a pool: it runs before each
    /// publishing, a scrape included, and before [`stats`](Self::stats), on their thread, so it must not block. Only
    /// the first one stays.
    ///
    /// It lives as long as the instruments do, so let it hold what it asks by a `Weak`.
    pub fn sample_with(&self, sampler: impl Fn(&Self) + Send + Sync + 'static) {
        if let Some(inner) = self.inner() {
            // A second one is refused, as documented.
            let _ = inner.publisher.sampler.set(Box::new(sampler));
        }
    }

    /// Brings gauges up to date that somebody else keeps.
    pub(crate) fn sample(&self) {
        if let Some(sampler) = self.inner().and_then(|inner| inner.publisher.sampler.get()) {
            sampler(self);
        }
    }

    fn exporting(&self) -> Option<&Arc<Inner>> {
        self.inner().filter(|inner| inner.config.publishing != Publishing::Off)
    }
}

/// Binds to the recorder of this thread and starts the publishing thread, as configured.
pub(crate) fn start(inner: &Arc<Inner>) -> Result<()> {
    if inner.config.publishing == Publishing::Off {
        return Ok(());
    }
    derive_gauges(inner);
    metrics::with_recorder(|recorder| {
        let mut binding = inner.publisher.binding.lock();
        *binding = Binding::ambient(inner, recorder);
        give(&mut binding, inner, Some(recorder));
    });
    let mut alive = ALIVE.lock();
    alive.retain(|other| other.strong_count() > 0);
    alive.push(Arc::downgrade(inner));
    drop(alive);
    match inner.config.publishing {
        Publishing::Every(interval) => start_thread(inner, interval),
        Publishing::Manual | Publishing::Off => Ok(()),
    }
}

fn start_thread(inner: &Arc<Inner>, interval: Duration) -> Result<()> {
    let weak = Arc::downgrade(inner);
    let handle = thread::Builder::new()
        .name("state-metrics".to_owned())
        .stack_size(256 * 1024)
        .spawn(move || {
            loop {
                thread::park_timeout(interval);
                let Some(inner) = weak.upgrade() else { return };
                publish(&inner);
            }
        })
        .map_err(|error| Error::new(ErrorKind::Resource, "publishing thread").with_source(error))?;
    let _ = inner.publisher.thread.set(handle.thread().clone());
    Ok(())
}

/// Gives the recorder what is new, with nobody draining meanwhile.
fn give(binding: &mut Binding, inner: &Inner, recorder: Option<&dyn Recorder>) {
    let _exchange = EXCHANGE.lock();
    binding.publish(inner, recorder);
}

/// Runs `drain` with nobody giving samples meanwhile.
#[cfg(feature = "prometheus")]
pub(crate) fn undisturbed<T>(drain: impl FnOnce() -> T) -> T {
    let _exchange = EXCHANGE.lock();
    drain()
}

/// Publishes all instruments of the process.
#[cfg(feature = "prometheus")]
pub(crate) fn publish_all() {
    let alive: Vec<_> = ALIVE.lock().iter().filter_map(Weak::upgrade).collect();
    alive.iter().for_each(publish);
}

fn publish(inner: &Arc<Inner>) {
    if inner.config.publishing == Publishing::Off {
        return;
    }
    Instruments::of(inner).sample();
    derive_gauges(inner);
    push(inner);
}

/// Gives the recorder what is new.
fn push(inner: &Inner) {
    let mut binding = inner.publisher.binding.lock();
    if let Some(own) = binding.own_recorder() {
        give(&mut binding, inner, Some(&*own));
        return;
    }
    metrics::with_recorder(|recorder| {
        if binding.may_be_noop() && !binding.is_ambient(recorder) {
            *binding = Binding::ambient(inner, recorder);
        }
        // Seen from another thread, a thread-local recorder is out of reach: its known series are fed, and new
        // ones wait.
        let reachable = binding.is_ambient(recorder).then_some(recorder);
        give(&mut binding, inner, reachable);
    });
}

/// Gauges that follow from counters.
fn derive_gauges(inner: &Inner) {
    for codec in Codec::ALL.iter().map(|codec| *codec as usize) {
        let input = inner.store.total(Metric::CompressionInput, &[codec]);
        let output = inner.store.total(Metric::CompressionOutput, &[codec]);
        let ratio = if output > 0 { input as f64 / output as f64 } else { 1.0 };
        inner.store.set(Metric::CompressionRatio, &[codec], ratio);
    }
    let shares = inner.hot_keys.as_ref().map(|keys| keys.exported_shares()).unwrap_or_default();
    for (rank, share) in shares.into_iter().enumerate() {
        inner.store.set(Metric::HotKeyShare, &[rank], share);
    }
}

/// A backend that is gone has no connections, no open breaker and no hot keys, and what it counted last is not
/// lost.
impl Drop for Inner {
    fn drop(&mut self) {
        if self.config.publishing == Publishing::Off {
            return;
        }
        derive_gauges(self);
        let keeps = |spec: &&MetricSpec| std::ptr::eq(*spec, Metric::CompressionRatio.spec());
        TABLE.iter().filter(|spec| !keeps(spec)).for_each(|spec| self.store.zero_gauges(spec));
        push(self);
        if let Some(thread) = self.publisher.thread.get() {
            thread.unpark();
        }
    }
}
