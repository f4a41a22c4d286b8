//! How long to wait before the next attempt.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::error::{Error, Result, check_duration, check_share};

/// The delays between the attempts of one call. Made anew for each call that has to repeat.
///
/// The retry loop clamps what a schedule gives to the maximal delay and to the remaining time.
pub trait Schedule: Send {
    /// The delay after the `attempt`-th attempt (from 1) has failed, or `None` to stop repeating.
    fn next_delay(&mut self, attempt: u32) -> Option<Duration>;
}

impl<F: FnMut(u32) -> Option<Duration> + Send> Schedule for F {
    fn next_delay(&mut self, attempt: u32) -> Option<Duration> {
        self(attempt)
    }
}

/// How delays are spread, so that many clients that failed together do not come back together.
///
/// With `base` for the undisturbed delay. Full, equal and decorrelated as in "Exponential Backoff And Jitter"
/// (AWS Architecture Blog, 2015).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Jitter {
    /// `base`: exponential growth as it is.
    None,
    /// Between 0 and `base`. The least load in all.
    Full,
    /// Between `base / 2` and `base`. Never returns at once.
    Equal,
    /// Between the initial delay and three times the delay before. Grows by chance; the multiplier is not used.
    Decorrelated,
    /// Between `base` and `base * (1 + share)`, for a share above 0 and up to 1.
    Proportional(f64),
}

/// Exponential backoff: `initial * multiplier^n`, spread by a [`Jitter`], never above `max_delay`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Backoff {
    /// The first delay before jitter. Default: 50 ms.
    pub initial: Duration,
    /// By how much each delay is longer than the one before; at least 1. Default: 2.
    pub multiplier: f64,
    /// No delay is longer, jitter included. Default: 1 s.
    pub max_delay: Duration,
    /// How delays are spread. Default: [`Jitter::Full`].
    pub jitter: Jitter,
    /// Makes the random part the same in each run; calls differ from each other all the same. Default: none, which
    /// takes the thread's generator.
    pub seed: Option<u64>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(50),
            multiplier: 2.0,
            max_delay: Duration::from_secs(1),
            jitter: Jitter::Full,
            seed: None,
        }
    }
}

impl Backoff {
    /// Delays from `initial` up to `max_delay`, doubling, with full jitter.
    #[must_use]
    pub fn exponential(initial: Duration, max_delay: Duration) -> Self {
        Self { initial, max_delay, ..Self::default() }
    }

    /// The same delay each time, without jitter.
    #[must_use]
    pub fn constant(delay: Duration) -> Self {
        Self { initial: delay, multiplier: 1.0, max_delay: delay, jitter: Jitter::None, seed: None }
    }

    /// Sets [`multiplier`](Self::multiplier).
    #[must_use]
    pub fn with_multiplier(mut self, multiplier: f64) -> Self {
        self.multiplier = multiplier;
        self
    }

    /// Sets [`jitter`](Self::jitter).
    #[must_use]
    pub fn with_jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets [`seed`](Self::seed).
    #[must_use]
    pub fn with_seed(mut self, seed: impl Into<Option<u64>>) -> Self {
        self.seed = seed.into();
        self
    }

    /// The delays of one call, to drive a loop of your own. `call` tells calls with the same seed apart.
    ///
    /// # Errors
    /// `InvalidConfig` when a setting is out of its range; the context names it.
    pub fn delays(&self, call: u64) -> Result<impl Schedule + use<>> {
        self.check()?;
        Ok(self.start(call))
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_duration("initial", self.initial)?;
        check_duration("max_delay", self.max_delay)?;
        if self.max_delay < self.initial {
            return Err(Error::invalid("max_delay is below initial"));
        }
        if !(self.multiplier >= 1.0 && self.multiplier.is_finite()) {
            return Err(Error::invalid(format!("multiplier must be at least 1, not {}", self.multiplier)));
        }
        match self.jitter {
            Jitter::Proportional(share) => check_share("jitter", share),
            _ => Ok(()),
        }
    }

    pub(crate) fn start(&self, call: u64) -> Delays {
        // Multiplied by an odd constant, so that neighbouring seeds do not share the sequences of their calls.
        let seed = self.seed.map(|seed| seed ^ call.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Delays {
            base: self.initial.as_secs_f64(),
            last: self.initial.as_secs_f64(),
            random: seed.map(StdRng::seed_from_u64),
            settings: *self,
        }
    }
}

/// The delays of one call under a [`Backoff`].
pub(crate) struct Delays {
    settings: Backoff,
    /// In seconds, and never above `max_delay`, so that no power can overflow.
    base: f64,
    last: f64,
    random: Option<StdRng>,
}

impl Delays {
    fn between(&mut self, low: f64, high: f64) -> f64 {
        let share = match &mut self.random {
            Some(random) => random.random_range(0.0..=1.0),
            None => rand::rng().random_range(0.0..=1.0),
        };
        low + (high - low) * share
    }
}

impl Schedule for Delays {
    fn next_delay(&mut self, _attempt: u32) -> Option<Duration> {
        let Backoff { initial, multiplier, max_delay, jitter, .. } = self.settings;
        let (base, max) = (self.base, max_delay.as_secs_f64());
        let delay = match jitter {
            Jitter::None => base,
            Jitter::Full => self.between(0.0, base),
            Jitter::Equal => self.between(base / 2.0, base),
            Jitter::Decorrelated => self.between(initial.as_secs_f64(), self.last * 3.0),
            Jitter::Proportional(share) => self.between(base, base * (1.0 + share)),
        };
        self.base = (base * multiplier).min(max);
        self.last = delay.min(max);
        // Clamped once more as a duration, because the way through seconds may round up.
        Some(Duration::from_secs_f64(self.last).min(max_delay))
    }
}

impl fmt::Debug for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delays").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn jitters() -> impl Strategy<Value = Jitter> {
        prop_oneof![
            Just(Jitter::None),
            Just(Jitter::Full),
            Just(Jitter::Equal),
            Just(Jitter::Decorrelated),
            (0.001..=1.0_f64).prop_map(Jitter::Proportional),
        ]
    }

    /// The bounds that each jitter promises for its n-th delay, before the clamp.
    fn bounds(backoff: &Backoff, attempt: u32, before: Duration) -> (f64, f64) {
        let max = backoff.max_delay.as_secs_f64();
        let exponent = i32::try_from(attempt - 1).unwrap();
        let base = (backoff.initial.as_secs_f64() * backoff.multiplier.powi(exponent)).min(max);
        match backoff.jitter {
            Jitter::None => (base, base),
            Jitter::Full => (0.0, base),
            Jitter::Equal => (base / 2.0, base),
            Jitter::Decorrelated => (backoff.initial.as_secs_f64(), before.as_secs_f64() * 3.0),
            Jitter::Proportional(share) => (base, base * (1.0 + share)),
        }
    }

    proptest! {
        #[test]
        fn every_delay_is_within_the_bounds_of_its_jitter(
            jitter in jitters(),
            initial in 1..31_536_000_000_000_000_u64,
            longer in 0..31_536_000_000_000_000_u64,
            multiplier in 1.0..1e6_f64,
            seed in proptest::option::of(any::<u64>()),
            call: u64,
        ) {
            let max_delay = Duration::from_nanos((initial.saturating_add(longer)).min(31_536_000_000_000_000));
            let backoff = Backoff { initial: Duration::from_nanos(initial), multiplier, max_delay, jitter, seed };
            let mut delays = backoff.delays(call).unwrap();
            let mut before = backoff.initial;
            for attempt in 1..40 {
                let delay = delays.next_delay(attempt).unwrap();
                let (low, high) = bounds(&backoff, attempt, before);
                // Powers taken step by step or at once differ in their last digits.
                let slack = 1e-9 + high.min(max_delay.as_secs_f64()) * 1e-9;
                prop_assert!(delay <= max_delay);
                prop_assert!(delay.as_secs_f64() >= low.min(max_delay.as_secs_f64()) - slack, "{delay:?} < {low}");
                prop_assert!(delay.as_secs_f64() <= high + slack, "{delay:?} > {high}");
                before = delay;
            }
        }
    }

    fn first(backoff: &Backoff, count: u32, call: u64) -> Vec<Duration> {
        let mut delays = backoff.delays(call).unwrap();
        (1..=count).map(|attempt| delays.next_delay(attempt).unwrap()).collect()
    }

    #[test]
    fn without_jitter_delays_double_up_to_the_maximum() {
        let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(1));
        let delays = first(&backoff.with_jitter(Jitter::None), 6, 0);
        assert_eq!(delays, [100, 200, 400, 800, 1000, 1000].map(Duration::from_millis));
    }

    #[test]
    fn a_seed_repeats_its_delays_and_calls_still_differ() {
        let backoff = Backoff::default().with_seed(7);
        assert_eq!(first(&backoff, 5, 1), first(&backoff, 5, 1));
        assert_ne!(first(&backoff, 5, 1), first(&backoff, 5, 2));
        assert_ne!(first(&backoff, 5, 1), first(&backoff.with_seed(8), 5, 1));
    }

    #[test]
    fn full_jitter_takes_half_of_the_base_on_average() {
        let backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(1)).with_seed(1);
        let sum: Duration = first(&backoff, 10_000, 0).into_iter().sum();
        let mean = sum.as_secs_f64() / 10_000.0;
        assert!((0.48..0.52).contains(&mean), "mean {mean} s with seed 1");
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let refused = |backoff: Backoff, field: &str| {
            let error = backoff.delays(0).err().expect(field);
            assert!(error.context().contains(field), "{error}");
        };
        refused(Backoff { initial: Duration::ZERO, ..Backoff::default() }, "initial");
        refused(Backoff { max_delay: Duration::from_millis(1), ..Backoff::default() }, "max_delay");
        refused(Backoff::default().with_multiplier(f64::NAN), "multiplier");
        refused(Backoff::default().with_multiplier(0.5), "multiplier");
        refused(Backoff::default().with_jitter(Jitter::Proportional(-0.1)), "jitter");
    }
}
