//! A recorder and what it was given so far.

use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Recorder};

use crate::histogram::{Histogram as Cells, Layout};
use crate::instruments::Inner;
use crate::naming;
use crate::publish::METADATA;
use crate::store;
use crate::table::{Metric, MetricKind, MetricSpec, TABLE};

/// A histogram with more samples than this does not bring its past to a new recorder: exporters keep each
/// sample (16 bytes in the Prometheus one) until they render.
const HISTORY_LIMIT: u64 = 1 << 18;

/// A recorder, the handles registered with it, and what each was given.
#[derive(Default)]
pub(crate) struct Binding {
    own: Option<Arc<dyn Recorder + Send + Sync>>,
    /// The address of the ambient recorder; 0 while not bound.
    ambient: usize,
    may_be_noop: bool,
    counters: Vec<Option<(Counter, u64)>>,
    gauges: Vec<Option<Gauge>>,
    histograms: Vec<Option<Histogram>>,
    /// By histogram: the counts of its cells and its sum, as given; empty while nothing was.
    given: Vec<Vec<u64>>,
}

impl Binding {
    /// Bound to a recorder that `metrics::with_recorder` yielded.
    pub(crate) fn ambient(inner: &Inner, recorder: &dyn Recorder) -> Self {
        naming::describe(&inner.config, recorder);
        Self {
            ambient: identity(recorder),
            // The one that stands in while none is installed has no size; telling it from a real one without
            // size is not needed, since such a one is published to just the same.
            may_be_noop: size_of_val(recorder) == 0,
            given: long_histories(inner),
            ..Self::default()
        }
    }

    /// Bound to a recorder for good.
    pub(crate) fn own(inner: &Inner, recorder: Arc<dyn Recorder + Send + Sync>) -> Self {
        naming::describe(&inner.config, &*recorder);
        Self { own: Some(recorder), given: long_histories(inner), ..Self::default() }
    }

    pub(crate) fn own_recorder(&self) -> Option<Arc<dyn Recorder + Send + Sync>> {
        self.own.clone()
    }

    pub(crate) fn is_own(&self, recorder: &Arc<dyn Recorder + Send + Sync>) -> bool {
        self.own.as_ref().is_some_and(|own| std::ptr::addr_eq(Arc::as_ptr(own), Arc::as_ptr(recorder)))
    }

    pub(crate) fn is_ambient(&self, recorder: &dyn Recorder) -> bool {
        self.own.is_none() && self.ambient == identity(recorder)
    }

    pub(crate) fn may_be_noop(&self) -> bool {
        self.may_be_noop
    }

    /// Gives the recorder what is new; series not registered yet need `recorder`.
    pub(crate) fn publish(&mut self, inner: &Inner, recorder: Option<&dyn Recorder>) {
        for (row, spec) in TABLE.iter().enumerate() {
            for position in 0..spec.series() {
                let series =
                    Series { inner, spec, position, index: store::base_of(row) + position, recorder };
                match spec.kind {
                    MetricKind::Counter => self.publish_counter(&series),
                    MetricKind::Gauge { .. } => self.publish_gauge(&series),
                    MetricKind::Histogram { .. } => self.publish_histogram(&series),
                }
            }
        }
    }

    fn publish_counter(&mut self, series: &Series<'_>) {
        let total = series.counter_total();
        let slot = slot(&mut self.counters, series.index);
        if slot.is_none() {
            *slot = series.register(|recorder, key| (recorder.register_counter(key, &METADATA), 0));
        }
        if let Some((counter, given)) = slot
            && total > *given
        {
            counter.increment(total - *given);
            *given = total;
        }
    }

    fn publish_gauge(&mut self, series: &Series<'_>) {
        let value = series.inner.store.gauge_at(series.index);
        if value.is_nan() {
            return;
        }
        let slot = slot(&mut self.gauges, series.index);
        if slot.is_none() {
            *slot = series.register(|recorder, key| recorder.register_gauge(key, &METADATA));
        }
        if let Some(gauge) = slot {
            gauge.set(value);
        }
    }

    fn publish_histogram(&mut self, series: &Series<'_>) {
        let source = series.inner.store.histogram_at(series.index);
        let mut totals = Vec::new();
        if !source.add_to(&mut totals) {
            return;
        }
        let slot = slot(&mut self.histograms, series.index);
        if slot.is_none() {
            *slot = series.register(|recorder, key| recorder.register_histogram(key, &METADATA));
        }
        if let Some(histogram) = slot {
            let given = &mut self.given[series.index];
            given.resize(totals.len(), 0);
            give(histogram, source.layout(), &totals, given, store::scale(series.spec.unit));
        }
    }
}

/// What a new recorder is taken to have been given: the whole of histograms with a long history, nothing of the
/// others.
fn long_histories(inner: &Inner) -> Vec<Vec<u64>> {
    let history = |histogram: &Cells| {
        let mut totals = Vec::new();
        histogram.add_to(&mut totals);
        let samples: u64 = totals.iter().rev().skip(1).sum();
        if samples > HISTORY_LIMIT { totals } else { Vec::new() }
    };
    inner.store.histograms().iter().map(history).collect()
}

/// One series on its way to the recorder.
struct Series<'a> {
    inner: &'a Inner,
    spec: &'static MetricSpec,
    position: usize,
    index: usize,
    recorder: Option<&'a dyn Recorder>,
}

impl Series<'_> {
    fn register<T>(&self, register: impl FnOnce(&dyn Recorder, &metrics::Key) -> T) -> Option<T> {
        let recorder = self.recorder?;
        let key = naming::key(&self.inner.config, &self.inner.store, self.spec, self.position)?;
        Some(register(recorder, &key))
    }

    /// Operations are not counted a second time: their counter is the count of their histogram.
    fn counter_total(&self) -> u64 {
        let store = &self.inner.store;
        if std::ptr::eq(self.spec, Metric::Operations.spec()) {
            store.histogram_at(store::base(Metric::OperationDuration) + self.position).count()
        } else {
            store.counters.total(self.index)
        }
    }
}

/// Records what fell into each cell since the last time as so many samples of one value within that cell.
///
/// `totals` and `given` hold a count for each cell and, last, the sum of the values. The samples are moved from
/// the middles of their cells by a common share of the half widths such that they add up to the sum: bucket
/// counts, count and sum come out exact. A sample whose value is not in the sum yet, since another thread is
/// between the two additions, leaves a remainder, which the next publishing evens out.
fn give(histogram: &Histogram, layout: &Layout, totals: &[u64], given: &mut [u64], scale: f64) {
    let (Some((sum, counts)), Some((given_sum, given))) = (totals.split_last(), given.split_last_mut())
    else {
        return;
    };
    let mut new = Vec::new();
    let (mut middles, mut halves) = (0.0, 0.0);
    for (slot, (count, given)) in
        counts.iter().zip(given).enumerate().filter(|(_, (count, given))| **count > **given)
    {
        let (low, high) = layout.edges(slot);
        let (half, samples) = ((high - low) as f64 / 2.0, *count - *given);
        middles += (low as f64 + half) * samples as f64;
        halves += half * samples as f64;
        new.push((low as f64 + half, half, samples as usize));
        *given = *count;
    }
    let missing = sum.wrapping_sub(*given_sum).cast_signed() as f64;
    let shift = if halves > 0.0 { ((missing - middles) / halves).clamp(-1.0, 1.0) } else { 0.0 };
    for (middle, half, samples) in new {
        histogram.record_many((middle + shift * half) / scale, samples);
    }
    *given_sum = given_sum.wrapping_add((middles + shift * halves).round() as u64);
}

fn slot<T>(slots: &mut Vec<Option<T>>, index: usize) -> &mut Option<T> {
    if slots.len() <= index {
        slots.resize_with(index + 1, || None);
    }
    &mut slots[index]
}

/// Two recorders alive at the same time have different addresses.
fn identity(recorder: &dyn Recorder) -> usize {
    std::ptr::from_ref(recorder).cast::<()>() as usize
}
