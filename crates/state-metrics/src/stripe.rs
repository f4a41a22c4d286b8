//! Striping: each thread adds to a cell of its own, a reader adds the cells up, so that threads do not fight
//! over a cache line.

use std::cell::Cell;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// More stripes than this cost memory and reading time without relieving anything measurable.
const MAX_STRIPES: usize = 16;
/// Words of padding behind an array, so that two stripes' arrays never share a cache line (or its neighbour,
/// which x86-64 prefetches with it).
const PADDING: usize = 16;

/// The number of stripes: the next power of two from the number of processors, at most 16.
pub(crate) fn count() -> usize {
    static COUNT: LazyLock<usize> = LazyLock::new(|| {
        std::thread::available_parallelism().map_or(1, |n| n.get().next_power_of_two()).min(MAX_STRIPES)
    });
    *COUNT
}

/// A thread's stripe.
#[derive(Clone, Copy)]
pub(crate) struct Stripe(usize);

impl Stripe {
    /// The calling thread's, handed out in turn.
    #[inline]
    pub(crate) fn current() -> Self {
        const UNSET: usize = usize::MAX;
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static NUMBER: Cell<usize> = const { Cell::new(UNSET) });
        NUMBER.with(|number| {
            if number.get() == UNSET {
                number.set(NEXT.fetch_add(1, Ordering::Relaxed) & (UNSET >> 1));
            }
            Self(number.get())
        })
    }

    /// This thread's share of `stripes`, whose number is a power of two.
    #[inline]
    pub(crate) fn of<T>(self, stripes: &[T]) -> &T {
        &stripes[self.0 & (stripes.len() - 1)]
    }

    /// A number that differs from thread to thread.
    pub(crate) fn number(self) -> u64 {
        self.0 as u64
    }
}

/// A value that shares no cache line with its neighbours.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct CachePadded<T>(pub(crate) T);

/// Many counters, each striped.
#[derive(Debug)]
pub(crate) struct Counters {
    stripes: Box<[Box<[AtomicU64]>]>,
}

impl Counters {
    pub(crate) fn new(len: usize) -> Self {
        let stripe = || (0..len + PADDING).map(|_| AtomicU64::new(0)).collect();
        Self { stripes: (0..count()).map(|_| stripe()).collect() }
    }

    #[inline]
    pub(crate) fn add(&self, stripe: Stripe, index: usize, n: u64) {
        stripe.of(&self.stripes)[index].fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn total(&self, index: usize) -> u64 {
        self.stripes.iter().map(|stripe| stripe[index].load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_of_all_threads_are_counted() {
        let counters = Counters::new(2);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1000).for_each(|_| counters.add(Stripe::current(), 1, 3)));
            }
        });
        assert_eq!(counters.total(0), 0);
        assert_eq!(counters.total(1), 24_000);
        assert!(count().is_power_of_two());
    }
}
