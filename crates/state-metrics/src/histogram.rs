//! A lock-free log-linear histogram whose grid contains the exported bucket bounds exactly.
//!
//! Values are integers (nanoseconds, or counts). Each octave is cut into 32 cells of equal width, as in
//! HdrHistogram (Tene), and a cell that an exported bound falls into is cut in two there. So the exported
//! bucket counts are exact, and a quantile read from a cell's middle is at most 1/64 = 1.6 % from the true one.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::stripe::{self, CachePadded, Stripe};

const SUB_BITS: u32 = 5;
const SUB: usize = 1 << SUB_BITS;
/// Values from 2^42 on (73 minutes in nanoseconds) are counted in the last cell.
const MAX_BITS: u32 = 42;
const GRID: usize = (MAX_BITS - SUB_BITS + 1) as usize * SUB;

/// The cells of a histogram: the grid, cut at the exported bounds.
#[derive(Debug)]
pub(crate) struct Layout {
    /// By grid index: the slot of the cell's first part, and the last value that belongs to it.
    cells: Box<[(u16, u64)]>,
    /// By slot: its least and greatest value.
    edges: Box<[(u64, u64)]>,
}

impl Layout {
    /// Bounds are inclusive upper bounds, ascending, at most one within a cell.
    pub(crate) fn new(bounds: &[u64]) -> Self {
        let mut cells = Vec::with_capacity(GRID);
        let mut edges = Vec::with_capacity(GRID + bounds.len());
        for index in 0..GRID {
            let (low, high) = grid_edges(index);
            let cut = bounds.iter().copied().find(|bound| (low..high).contains(bound)).unwrap_or(high);
            let slot = u16::try_from(edges.len()).expect("a layout has under 65,536 slots by its constants");
            cells.push((slot, cut));
            edges.push((low, cut));
            if cut < high {
                edges.push((cut + 1, high));
            }
        }
        Self { cells: cells.into(), edges: edges.into() }
    }

    pub(crate) fn slots(&self) -> usize {
        self.edges.len()
    }

    pub(crate) fn edges(&self, slot: usize) -> (u64, u64) {
        self.edges[slot]
    }

    #[inline]
    fn slot(&self, value: u64) -> usize {
        let value = value.min((1 << MAX_BITS) - 1);
        let (slot, cut) = self.cells[grid_index(value)];
        slot as usize + usize::from(value > cut)
    }
}

#[inline]
fn grid_index(value: u64) -> usize {
    if value < SUB as u64 {
        return value as usize;
    }
    let exponent = value.ilog2();
    let sub = (value >> (exponent - SUB_BITS)) as usize & (SUB - 1);
    (exponent - SUB_BITS + 1) as usize * SUB + sub
}

fn grid_edges(index: usize) -> (u64, u64) {
    if index < SUB {
        return (index as u64, index as u64);
    }
    let shift = (index / SUB - 1) as u32;
    let low = ((SUB + index % SUB) as u64) << shift;
    (low, low + (1 << shift) - 1)
}

/// A histogram that many threads record into without locks; each writes to a stripe of its own.
#[derive(Debug)]
pub(crate) struct Histogram {
    layout: &'static Layout,
    stripes: Box<[CachePadded<Cells>]>,
}

/// Slots, then the sum; made at the first record of a thread of that stripe.
type Cells = OnceLock<Box<[AtomicU64]>>;

impl Histogram {
    pub(crate) fn new(layout: &'static Layout) -> Self {
        Self { layout, stripes: (0..stripe::count()).map(|_| CachePadded::default()).collect() }
    }

    #[inline]
    pub(crate) fn record(&self, value: u64) {
        self.record_on(Stripe::current(), value);
    }

    /// The same for a caller that knows its stripe.
    #[inline]
    pub(crate) fn record_on(&self, stripe: Stripe, value: u64) {
        let stripe = stripe.of(&self.stripes).0.get_or_init(|| self.allocate());
        stripe[self.layout.slot(value)].fetch_add(1, Ordering::Relaxed);
        stripe[self.layout.slots()].fetch_add(value, Ordering::Relaxed);
    }

    #[cold]
    fn allocate(&self) -> Box<[AtomicU64]> {
        (0..=self.layout.slots()).map(|_| AtomicU64::new(0)).collect()
    }

    pub(crate) fn layout(&self) -> &'static Layout {
        self.layout
    }

    /// Adds this histogram's slots, and last the sum, onto `totals`; `false` if nothing was ever recorded.
    pub(crate) fn add_to(&self, totals: &mut Vec<u64>) -> bool {
        let mut any = false;
        for stripe in self.stripes.iter().filter_map(|stripe| stripe.0.get()) {
            any = true;
            totals.resize(self.layout.slots() + 1, 0);
            for (total, slot) in totals.iter_mut().zip(stripe) {
                *total += slot.load(Ordering::Relaxed);
            }
        }
        any
    }

    /// The number of values recorded.
    pub(crate) fn count(&self) -> u64 {
        let mut totals = Vec::new();
        self.add_to(&mut totals);
        totals.pop();
        totals.iter().sum()
    }
}

/// A copy of one or several histograms: counts by value range.
///
/// Serializable, subtractable ([`since`](Self::since)), and able to answer quantiles within 1.6 %.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistogramSnapshot {
    cells: Vec<Cell>,
    sum: u64,
}

/// A range of values, both ends included, and how many fell into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cell {
    low: u64,
    high: u64,
    count: u64,
}

impl HistogramSnapshot {
    pub(crate) fn of<'a>(histograms: impl IntoIterator<Item = &'a Histogram>) -> Self {
        let mut totals = Vec::new();
        let mut layout = None;
        for histogram in histograms {
            layout = Some(histogram.layout);
            histogram.add_to(&mut totals);
        }
        let (Some(layout), Some(sum)) = (layout, totals.pop()) else { return Self::default() };
        let cells = totals
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(slot, &count)| {
                let (low, high) = layout.edges(slot);
                Cell { low, high, count }
            })
            .collect();
        Self { cells, sum }
    }

    /// How many values were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.cells.iter().map(|cell| cell.count).sum()
    }

    /// The sum of the values, exact.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The mean of the values; 0 if there are none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        match self.count() {
            0 => 0.0,
            count => self.sum as f64 / count as f64,
        }
    }

    /// The value at quantile `q` (0 to 1, clamped) by nearest rank, within 1.6 %; 0 if there are no values.
    ///
    /// Values from 2^42 on (73 minutes in nanoseconds) are counted as that.
    #[must_use]
    pub fn quantile(&self, q: f64) -> u64 {
        let rank = ((q.clamp(0.0, 1.0) * self.count() as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for cell in &self.cells {
            seen += cell.count;
            if seen >= rank {
                return cell.low + (cell.high - cell.low) / 2;
            }
        }
        0
    }

    /// What was recorded since `earlier`, an older snapshot of the same source.
    ///
    /// A source that was restarted in between yields this snapshot as it is.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |low: u64| match earlier.cells.binary_search_by_key(&low, |cell| cell.low) {
            Ok(index) => earlier.cells[index].count,
            Err(_) => 0,
        };
        if self.count() < earlier.count() || self.cells.iter().any(|cell| cell.count < before(cell.low)) {
            return self.clone();
        }
        let cells = self
            .cells
            .iter()
            .map(|cell| Cell { count: cell.count - before(cell.low), ..*cell })
            .filter(|cell| cell.count > 0)
            .collect();
        Self { cells, sum: self.sum.wrapping_sub(earlier.sum) }
    }
}

#[cfg(test)]
mod tests;
