//! The grid, the error bound, and counting under threads.

use proptest::prelude::*;

use super::*;

fn layout(bounds: &[u64]) -> &'static Layout {
    Box::leak(Box::new(Layout::new(bounds)))
}

#[test]
fn cells_cover_every_value_once_in_order() {
    let layout = layout(&[50_000, 100_000, 5_000_000_000]);
    let mut next = 0;
    for slot in 0..layout.slots() {
        let (low, high) = layout.edges(slot);
        assert_eq!(low, next);
        assert_eq!((layout.slot(low), layout.slot(high)), (slot, slot));
        next = high + 1;
    }
    assert_eq!(next, 1 << MAX_BITS);
    assert_eq!(layout.slot(u64::MAX), layout.slots() - 1);
}

#[test]
fn an_exported_bound_ends_a_cell() {
    let layout = layout(&[50_000]);
    let at = layout.slot(50_000);
    assert_eq!(layout.edges(at).1, 50_000);
    assert_eq!(layout.slot(50_001), at + 1);
}

#[test]
fn concurrent_records_are_all_counted() {
    let histogram = Histogram::new(layout(&[]));
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let histogram = &histogram;
            scope.spawn(move || (0..10_000).for_each(|i| histogram.record(i * (thread + 1))));
        }
    });
    let snapshot = HistogramSnapshot::of([&histogram]);
    assert_eq!(snapshot.count(), 40_000);
    assert_eq!(snapshot.sum(), (0..10_000_u64).sum::<u64>() * 10);
}

#[test]
fn an_empty_snapshot_answers_zero() {
    let empty = HistogramSnapshot::of([&Histogram::new(layout(&[]))]);
    assert_eq!((empty.count(), empty.sum(), empty.quantile(0.99)), (0, 0, 0));
    assert!(empty.mean().abs() < f64::EPSILON);
}

#[test]
fn a_restarted_source_yields_the_later_snapshot_itself() {
    let (one, two) = (Histogram::new(layout(&[])), Histogram::new(layout(&[])));
    (0..10).for_each(|_| one.record(5));
    (0..3).for_each(|_| two.record(7));
    let later = HistogramSnapshot::of([&two]);
    assert_eq!(later.since(&HistogramSnapshot::of([&one])), later);
}

proptest! {
    #[test]
    fn quantiles_are_within_the_stated_error(
        mut values in prop::collection::vec(0_u64..(1 << 40), 1..300), q in 0.0_f64..=1.0,
    ) {
        let histogram = Histogram::new(layout(&[50_000, 100_000, 1_000_000_000]));
        values.iter().for_each(|&value| histogram.record(value));
        values.sort_unstable();
        let rank = ((q * values.len() as f64).ceil() as usize).max(1);
        let truth = values[rank - 1] as f64;
        let answer = HistogramSnapshot::of([&histogram]).quantile(q) as f64;
        prop_assert!((answer - truth).abs() <= truth / 64.0 + 1.0, "{answer} for {truth}");
    }

    #[test]
    fn the_difference_of_snapshots_is_what_came_between(
        first in prop::collection::vec(0_u64..1_000_000, 0..50),
        second in prop::collection::vec(0_u64..1_000_000, 0..50),
    ) {
        let (all, later) = (Histogram::new(layout(&[])), Histogram::new(layout(&[])));
        first.iter().for_each(|&value| all.record(value));
        let before = HistogramSnapshot::of([&all]);
        second.iter().for_each(|&value| { all.record(value); later.record(value); });
        prop_assert_eq!(HistogramSnapshot::of([&all]).since(&before), HistogramSnapshot::of([&later]));
    }
}
