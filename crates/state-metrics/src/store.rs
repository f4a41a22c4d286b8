//! The cells behind every series, addressed by metric and label values.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::histogram::{Histogram, HistogramSnapshot, Layout};
use crate::key;
use crate::stripe::{Counters, Stripe};
use crate::table::{MAX_ENDPOINTS, Metric, MetricKind, MetricSpec, MetricUnit, TABLE};

/// By metric: the index of its first series among those of its kind.
static BASES: Bases = Bases::new();

/// A node of Redis as a label value: cheap to copy and to record with.
///
/// The first 64 distinct endpoints have a value of their own; later ones share `other`, whose gauges are not
/// exported, since one number cannot tell the state of several nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(u16);

impl Endpoint {
    pub(crate) const OTHER: Self = Self(MAX_ENDPOINTS as u16);

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) counters: Counters,
    /// Bits of an `f64`; NaN while there is nothing to say.
    gauges: Box<[AtomicU64]>,
    histograms: Box<[Histogram]>,
    endpoints: RwLock<Endpoints>,
}

#[derive(Debug, Default)]
struct Endpoints {
    by_name: HashMap<String, Endpoint>,
    names: Vec<String>,
    has_other: bool,
}

struct Bases {
    base: [usize; TABLE.len()],
    counters: usize,
}

impl Bases {
    const fn new() -> Self {
        let mut base = [0; TABLE.len()];
        let (mut counters, mut gauges, mut histograms, mut row) = (0, 0, 0, 0);
        while row < TABLE.len() {
            let next = match TABLE[row].kind {
                MetricKind::Counter => &mut counters,
                MetricKind::Gauge { .. } => &mut gauges,
                MetricKind::Histogram { .. } => &mut histograms,
            };
            base[row] = *next;
            *next += TABLE[row].series();
            row += 1;
        }
        Self { base, counters }
    }
}

impl Store {
    pub(crate) fn new() -> Self {
        let initial = |spec: &'static MetricSpec| match spec.kind {
            MetricKind::Gauge { from_start: true } => 0.0,
            _ => f64::NAN,
        };
        let gauges = TABLE
            .iter()
            .filter(|spec| matches!(spec.kind, MetricKind::Gauge { .. }))
            .flat_map(|spec| (0..spec.series()).map(move |_| AtomicU64::new(initial(spec).to_bits())))
            .collect();
        let histograms = TABLE
            .iter()
            .filter_map(|spec| layout(spec).map(|layout| (0..spec.series()).map(|_| Histogram::new(layout))))
            .flatten()
            .collect();
        Self { counters: Counters::new(BASES.counters), gauges, histograms, endpoints: RwLock::default() }
    }

    /// Adds to a counter; `labels` are the values in the order of the table.
    #[inline]
    pub(crate) fn add(&self, metric: Metric, labels: &[usize], n: u64) {
        self.counters.add(Stripe::current(), index(metric, labels), n);
    }

    /// The same on the path of every operation, which looks its stripe up once and often has nothing to add.
    #[inline]
    pub(crate) fn add_any(&self, stripe: Stripe, metric: Metric, labels: &[usize], n: u64) {
        if n > 0 {
            self.counters.add(stripe, index(metric, labels), n);
        }
    }

    pub(crate) fn total(&self, metric: Metric, labels: &[usize]) -> u64 {
        self.counters.total(index(metric, labels))
    }

    /// The sum over every series of a counter.
    pub(crate) fn sum(&self, metric: Metric) -> u64 {
        let base = base(metric);
        (base..base + metric.spec().series()).map(|index| self.counters.total(index)).sum()
    }

    pub(crate) fn set(&self, metric: Metric, labels: &[usize], value: f64) {
        self.gauges[index(metric, labels)].store(value.to_bits(), Ordering::Relaxed);
    }

    pub(crate) fn gauge(&self, metric: Metric, labels: &[usize]) -> f64 {
        self.gauge_at(index(metric, labels))
    }

    pub(crate) fn gauge_at(&self, index: usize) -> f64 {
        f64::from_bits(self.gauges[index].load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn histogram(&self, metric: Metric, labels: &[usize]) -> &Histogram {
        &self.histograms[index(metric, labels)]
    }

    pub(crate) fn histograms(&self) -> &[Histogram] {
        &self.histograms
    }

    pub(crate) fn histogram_at(&self, index: usize) -> &Histogram {
        &self.histograms[index]
    }

    /// All series of a histogram in one.
    pub(crate) fn merged(&self, metric: Metric) -> HistogramSnapshot {
        let base = base(metric);
        HistogramSnapshot::of(&self.histograms[base..base + metric.spec().series()])
    }

    /// Sets those series of a metric to 0 that ever had a value, if it is a gauge.
    pub(crate) fn zero_gauges(&self, spec: &'static MetricSpec) {
        let (Some(row), MetricKind::Gauge { .. }) =
            (TABLE.iter().position(|row| std::ptr::eq(row, spec)), spec.kind)
        else {
            return;
        };
        for gauge in &self.gauges[base_of(row)..base_of(row) + spec.series()] {
            if !f64::from_bits(gauge.load(Ordering::Relaxed)).is_nan() {
                gauge.store(0.0_f64.to_bits(), Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn endpoint(&self, address: &str) -> Endpoint {
        let name = key::endpoint_name(address);
        if let Some(known) = self.endpoints.read().by_name.get(&name) {
            return *known;
        }
        let mut endpoints = self.endpoints.write();
        if let Some(known) = endpoints.by_name.get(&name) {
            return *known;
        }
        if endpoints.names.len() == MAX_ENDPOINTS {
            endpoints.has_other = true;
            return Endpoint::OTHER;
        }
        let endpoint = Endpoint(endpoints.names.len() as u16);
        endpoints.names.push(name.clone());
        endpoints.by_name.insert(name, endpoint);
        endpoint
    }

    /// The label value of an endpoint's index; `None` while no endpoint has it.
    pub(crate) fn endpoint_label(&self, index: usize) -> Option<String> {
        let endpoints = self.endpoints.read();
        if index == MAX_ENDPOINTS {
            return endpoints.has_other.then(|| "other".to_owned());
        }
        endpoints.names.get(index).cloned()
    }
}

/// The index of a metric's first series among those of its kind.
#[inline]
pub(crate) fn base(metric: Metric) -> usize {
    base_of(metric as usize)
}

/// The same by row of the table.
#[inline]
pub(crate) fn base_of(row: usize) -> usize {
    BASES.base[row]
}

#[inline]
fn index(metric: Metric, labels: &[usize]) -> usize {
    base(metric) + metric.spec().position(labels)
}

/// The layout of a histogram's cells, made once for each list of bounds.
fn layout(spec: &'static MetricSpec) -> Option<&'static Layout> {
    static LAYOUTS: LazyLock<Vec<Option<Layout>>> = LazyLock::new(|| {
        let made = |spec: &MetricSpec| match spec.kind {
            MetricKind::Histogram { buckets } => {
                let bounds: Vec<u64> = buckets.iter().map(|bound| to_cells(*bound, spec.unit)).collect();
                Some(Layout::new(&bounds))
            }
            _ => None,
        };
        TABLE.iter().map(made).collect()
    });
    let row = TABLE.iter().position(|row| std::ptr::eq(row, spec))?;
    LAYOUTS[row].as_ref()
}

/// A histogram's exported value in the integers it counts: seconds are nanoseconds there.
fn to_cells(value: f64, unit: MetricUnit) -> u64 {
    (value * scale(unit)).round() as u64
}

/// How many of the integers a histogram counts make one of its exported unit.
pub(crate) fn scale(unit: MetricUnit) -> f64 {
    if unit == MetricUnit::Seconds { 1e9 } else { 1.0 }
}
