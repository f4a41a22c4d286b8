//! The calls that a breaker judges by: a ring of the last calls, or of slices of time. Lock-free.
//!
//! Entries are tagged with the breaker's generation, so that a transition starts with an empty window without
//! anything being cleared, and a late report of an older generation can never be counted.

use super::config::Window;
use crate::sync::{AtomicU32, AtomicU64, Ordering, Padded, fence};

/// One finished call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) failed: bool,
    pub(super) slow: bool,
}

impl Sample {
    /// What it adds to a [`Bucket`].
    #[inline]
    fn as_count(self) -> u64 {
        1 << Bucket::CALLS | u64::from(self.failed) << Bucket::FAILED | u64::from(self.slow)
    }
}

/// Sums over the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) calls: u32,
    pub(super) failed: u32,
    pub(super) slow: u32,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each endpoint, and a box costs each call a load"
)]
pub(super) enum Ring {
    Count(CountRing),
    Time(TimeRing),
}

impl Ring {
    pub(super) fn new(window: Window) -> Self {
        match window {
            Window::Count(calls) => Self::Count(CountRing::new(calls)),
            Window::Time(length) => Self::Time(TimeRing::new(length.as_nanos() as u64)),
        }
    }

    /// `elapsed_ns` is asked for only where it is needed, since telling it costs as much as recording.
    #[inline]
    pub(super) fn record(&self, generation: u32, elapsed_ns: impl FnOnce() -> u64, sample: Sample) {
        match self {
            Self::Count(ring) => ring.record(generation, sample),
            Self::Time(ring) => ring.record(generation, elapsed_ns(), sample),
        }
    }

    pub(super) fn totals(&self, generation: u32, elapsed_ns: u64) -> Totals {
        // Of two calls that fail at the same time, at least one must see the other's sample, or neither opens the
        // breaker.
        fence(Ordering::SeqCst);
        match self {
            Self::Count(ring) => ring.totals(generation),
            Self::Time(ring) => ring.totals(generation, elapsed_ns),
        }
    }
}

/// The last `length` calls. A slot is `generation:21 | present | failed | slow`.
#[derive(Debug)]
pub(super) struct CountRing {
    length: u64,
    cursor: Padded<AtomicU64>,
    /// A power of two of slots, so that a position is a mask and not a division.
    slots: Box<[AtomicU32]>,
}

impl CountRing {
    const SLOW: u32 = 1;
    const FAILED: u32 = 2;
    const PRESENT: u32 = 4;

    fn new(length: u32) -> Self {
        let slots = (0..length.next_power_of_two()).map(|_| AtomicU32::new(0)).collect();
        Self { length: u64::from(length), cursor: Padded(AtomicU64::new(0)), slots }
    }

    #[inline]
    fn slot(&self, position: u64) -> &AtomicU32 {
        &self.slots[position as usize & (self.slots.len() - 1)]
    }

    #[inline]
    fn record(&self, generation: u32, sample: Sample) {
        let flags =
            Self::PRESENT | (u32::from(sample.failed) * Self::FAILED) | (u32::from(sample.slow) * Self::SLOW);
        let position = self.cursor.0.fetch_add(1, Ordering::Relaxed);
        self.slot(position).store(generation << 3 | flags, Ordering::Release);
    }

    fn totals(&self, generation: u32) -> Totals {
        let end = self.cursor.0.load(Ordering::Relaxed);
        let mut totals = Totals::default();
        for position in end.saturating_sub(self.length)..end {
            let slot = self.slot(position).load(Ordering::Acquire);
            if slot >> 3 == generation && slot & Self::PRESENT != 0 {
                totals.calls += 1;
                totals.failed += u32::from(slot & Self::FAILED != 0);
                totals.slow += u32::from(slot & Self::SLOW != 0);
            }
        }
        totals
    }
}

/// The calls of the last sixteen slices of time, the current one included.
#[derive(Debug)]
pub(super) struct TimeRing {
    /// `2^64 / slice length in ns`, rounded up: a multiplication instead of a division on the hot path.
    reciprocal: u64,
    slices: Box<[Padded<AtomicU64>; Self::SLICES as usize]>,
}

impl TimeRing {
    /// A power of two, so that no slice costs a division.
    const SLICES: u64 = 16;

    fn new(length_ns: u64) -> Self {
        let slice_ns = (length_ns / Self::SLICES).max(2);
        let slices: Vec<_> = (0..Self::SLICES).map(|_| Padded(AtomicU64::new(0))).collect();
        let slices = slices.try_into().expect("as many slices as there are");
        Self { reciprocal: u64::MAX / slice_ns + 1, slices }
    }

    /// The slice that a time falls into. Early by 5 us for each day of uptime if a slice is a second long.
    #[inline]
    fn slice(&self, elapsed_ns: u64) -> u64 {
        ((u128::from(elapsed_ns) * u128::from(self.reciprocal)) >> 64) as u64
    }

    /// The tag of a slice in its bucket: its lap round the ring. A generation is two laps ahead of the one before,
    /// so that nothing of that one falls into its window.
    #[inline]
    fn tag(generation: u32, slice: u64) -> u64 {
        (slice / Self::SLICES + 2 * u64::from(generation)) & Bucket::TAG
    }

    #[inline]
    fn record(&self, generation: u32, elapsed_ns: u64, sample: Sample) {
        let slice = self.slice(elapsed_ns);
        let tag = Self::tag(generation, slice);
        let bucket = &self.slices[(slice % Self::SLICES) as usize].0;
        if Bucket(bucket.load(Ordering::Relaxed)).has_room(tag) {
            // An addition waits for nothing, where a compare-and-swap waits for the load before it.
            let seen = Bucket(bucket.fetch_add(sample.as_count(), Ordering::AcqRel));
            if seen.tag() == tag {
                return;
            }
            Self::take_back(bucket, seen.tag(), sample);
        }
        Self::record_slowly(bucket, tag, sample);
    }

    /// Records where a bucket has to change its slice or is full.
    #[cold]
    fn record_slowly(bucket: &AtomicU64, tag: u64, sample: Sample) {
        let mut seen = bucket.load(Ordering::Relaxed);
        while let Some(next) = Bucket(seen).with(tag, sample) {
            match bucket.compare_exchange_weak(seen, next.0, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Undoes an addition to a bucket that had changed its slice, unless it has changed once more since.
    #[cold]
    fn take_back(bucket: &AtomicU64, tag: u64, sample: Sample) {
        let undo = |seen| (Bucket(seen).tag() == tag).then(|| seen - sample.as_count());
        let _ = bucket.fetch_update(Ordering::AcqRel, Ordering::Relaxed, undo);
    }

    fn totals(&self, generation: u32, elapsed_ns: u64) -> Totals {
        let last = self.slice(elapsed_ns);
        let mut totals = Totals::default();
        for slice in last.saturating_sub(Self::SLICES - 1)..=last {
            let bucket = Bucket(self.slices[(slice % Self::SLICES) as usize].0.load(Ordering::Acquire));
            if bucket.tag() == Self::tag(generation, slice) {
                totals.calls += bucket.count(Bucket::CALLS);
                totals.failed += bucket.count(Bucket::FAILED);
                totals.slow += bucket.count(Bucket::SLOW);
            }
        }
        totals
    }
}

/// `tag:22 | calls:14 | failed:14 | slow:14`, changed as one, so that a rollover loses no sample.
#[derive(Clone, Copy)]
struct Bucket(u64);

impl Bucket {
    const COUNT: u64 = (1 << 14) - 1;
    const TAG: u64 = (1 << 22) - 1;
    /// So many laps back a sample is late; from further away it is the bucket that is old and the tags that have
    /// wrapped (after four million laps).
    const LATE: u64 = 64;
    const CALLS: u32 = 28;
    const FAILED: u32 = 14;
    const SLOW: u32 = 0;

    /// Full before the counts overflow, with room for as many threads as may add at the same time.
    const FULL: u64 = Self::COUNT - 1_024;

    #[inline]
    fn tag(self) -> u64 {
        self.0 >> 42
    }

    /// Whether it belongs to the slice and one more can simply be added.
    #[inline]
    fn has_room(self, tag: u64) -> bool {
        self.tag() == tag && u64::from(self.count(Self::CALLS)) < Self::FULL
    }

    #[inline]
    fn count(self, shift: u32) -> u32 {
        (self.0 >> shift & Self::COUNT) as u32
    }

    /// The bucket with one more sample, or `None` if it has moved on to a later slice.
    fn with(self, tag: u64, sample: Sample) -> Option<Self> {
        let behind = self.tag().wrapping_sub(tag) & Self::TAG;
        let counts = match behind {
            0 => self.halved_if_full().0 & ((1 << 42) - 1),
            _ if behind < Self::LATE && self.count(Self::CALLS) > 0 => return None,
            _ => 0,
        };
        Some(Self(tag << 42 | (counts + sample.as_count())))
    }

    /// At 15,359 calls in a slice all counts are halved: the rates stay, and the calls stay above any
    /// `minimum_calls`.
    fn halved_if_full(self) -> Self {
        if u64::from(self.count(Self::CALLS)) < Self::FULL {
            return self;
        }
        let half = |shift| u64::from(self.count(shift) / 2) << shift;
        Self(self.tag() << 42 | half(Self::CALLS) | half(Self::FAILED) | half(Self::SLOW))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Sample = Sample { failed: true, slow: false };
    const FINE: Sample = Sample { failed: false, slow: false };

    #[test]
    fn a_full_slice_keeps_its_rates() {
        let ring = TimeRing::new(1_000_000_000);
        for call in 0..100_000 {
            ring.record(0, 0, if call % 4 == 0 { FAILED } else { FINE });
        }
        let totals = ring.totals(0, 0);
        let rate = f64::from(totals.failed) / f64::from(totals.calls);
        assert!(totals.calls >= 7_679, "{totals:?}");
        assert!((rate - 0.25).abs() < 0.001, "{totals:?}");
    }

    #[test]
    fn a_late_sample_of_a_slice_that_is_gone_is_not_counted() {
        let ring = TimeRing::new(1_600);
        ring.record(0, 3_250, FINE);
        ring.record(0, 1_650, FAILED);
        assert_eq!(ring.totals(0, 3_250), Totals { calls: 1, failed: 0, slow: 0 });
    }

    #[test]
    fn a_sample_of_an_older_generation_is_not_counted_before_or_after_the_new_one_writes() {
        for ring in [Ring::new(Window::Count(3)), Ring::new(Window::Time(std::time::Duration::from_secs(1)))]
        {
            ring.record(5, || 0, FAILED);
            assert_eq!(ring.totals(6, 0).calls, 0);
            ring.record(6, || 0, FINE);
            ring.record(5, || 0, FAILED);
            assert_eq!(ring.totals(6, 0), Totals { calls: 1, failed: 0, slow: 0 });
        }
    }

    #[test]
    fn slices_start_at_exact_multiples_for_days() {
        let ring = TimeRing::new(16_000_000_000);
        for slice in (0..200_000).step_by(997) {
            let start = slice * 1_000_000_000;
            assert_eq!(ring.slice(start), slice);
            assert_eq!(ring.slice(start + 999_000_000), slice);
        }
    }

    #[test]
    fn a_window_left_alone_for_years_counts_again_at_once() {
        let ring = TimeRing::new(10_000_000);
        ring.record(0, 0, FAILED);
        for hours in [3_u64, 6, 9, 12, 100_000] {
            let now = hours * 3_600_000_000_000;
            ring.record(0, now, FINE);
            assert_eq!(ring.totals(0, now), Totals { calls: 1, failed: 0, slow: 0 }, "after {hours} h");
        }
    }

    #[test]
    fn the_tag_wraps_with_the_generation() {
        let ring = TimeRing::new(1_000);
        let last = (1 << 21) - 1;
        ring.record(last, 5_000, FAILED);
        ring.record(0, 5_000, FINE);
        assert_eq!(ring.totals(0, 5_000), Totals { calls: 1, failed: 0, slow: 0 });
    }
}
