//! The breaker's state in one word, so that the closed path reads it with one load.

use std::fmt;

/// What a breaker does with calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BreakerState {
    /// Lets calls through and counts them.
    Closed = 0,
    /// Rejects calls until its time is up.
    Open = 1,
    /// Lets a bounded number of calls through to see whether the service is back.
    HalfOpen = 2,
    /// Switched off by hand: lets everything through and counts nothing.
    Disabled = 3,
    /// Opened by hand: rejects everything until changed by hand.
    ForcedOpen = 4,
    /// Counts and reports when it would have opened, but lets everything through: for a trial roll-out.
    MetricsOnly = 5,
}

impl BreakerState {
    /// A fixed number for gauges: closed 0, open 1, half-open 2, disabled 3, forced open 4, metrics only 5.
    #[must_use]
    pub const fn as_gauge(self) -> u8 {
        self as u8
    }

    /// Whether results of calls are counted.
    pub(super) const fn counts(self) -> bool {
        matches!(self, Self::Closed | Self::MetricsOnly)
    }
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::Disabled => "disabled",
            Self::ForcedOpen => "forced open",
            Self::MetricsOnly => "metrics only",
        })
    }
}

/// `state:3 | generation:21 | until:40`.
///
/// The generation grows with each transition; a permit carries the one it was given under, and reports of another
/// one are ignored. It wraps after two million transitions, which a permit would have to outlive exactly.
/// `until` is the millisecond since the breaker's epoch at which an open breaker lets the first probe through;
/// 40 bits last 34 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

impl Word {
    const UNTIL_BITS: u32 = 40;
    const GENERATION_BITS: u32 = 21;
    const UNTIL: u64 = (1 << Self::UNTIL_BITS) - 1;
    const GENERATION: u32 = (1 << Self::GENERATION_BITS) - 1;

    pub(super) const fn new(state: BreakerState, generation: u32, until_ms: u64) -> Self {
        let until = if until_ms > Self::UNTIL { Self::UNTIL } else { until_ms };
        let generation = (generation & Self::GENERATION) as u64;
        Self(
            (state as u64) << (Self::GENERATION_BITS + Self::UNTIL_BITS)
                | generation << Self::UNTIL_BITS
                | until,
        )
    }

    pub(super) const fn state(self) -> BreakerState {
        match self.0 >> (Self::GENERATION_BITS + Self::UNTIL_BITS) {
            0 => BreakerState::Closed,
            1 => BreakerState::Open,
            2 => BreakerState::HalfOpen,
            3 => BreakerState::Disabled,
            4 => BreakerState::ForcedOpen,
            _ => BreakerState::MetricsOnly,
        }
    }

    pub(super) const fn generation(self) -> u32 {
        (self.0 >> Self::UNTIL_BITS) as u32 & Self::GENERATION
    }

    pub(super) const fn until_ms(self) -> u64 {
        self.0 & Self::UNTIL
    }

    /// Whether the breaker is closed, and in this generation: one comparison, since `Closed` is zero.
    #[inline]
    pub(super) const fn is_closed_in(self, generation: u32) -> bool {
        self.0 >> Self::UNTIL_BITS == generation as u64
    }

    /// The word after a transition to `state`.
    pub(super) const fn next(self, state: BreakerState, until_ms: u64) -> Self {
        Self::new(state, self.generation().wrapping_add(1), until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_word_survives_packing() {
        use BreakerState::{Closed, Disabled, ForcedOpen, HalfOpen, MetricsOnly, Open};
        for state in [Closed, Open, HalfOpen, Disabled, ForcedOpen, MetricsOnly] {
            for (generation, until) in [(0, 0), (Word::GENERATION, Word::UNTIL), (12_345, 67_890)] {
                let word = Word::new(state, generation, until);
                assert_eq!((word.state(), word.generation(), word.until_ms()), (state, generation, until));
            }
        }
    }

    #[test]
    fn the_generation_wraps_without_touching_the_state() {
        let word = Word::new(BreakerState::Open, Word::GENERATION, 7).next(BreakerState::HalfOpen, 0);
        assert_eq!((word.state(), word.generation(), word.until_ms()), (BreakerState::HalfOpen, 0, 0));
    }
}
