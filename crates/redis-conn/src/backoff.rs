//! The pause between two connection attempts.

use std::time::Duration;

use rand::RngExt as _;

use crate::config::Backoff;

/// Doubles from the minimum to the maximum and draws each pause from the upper half ("equal jitter"), so
/// that many clients neither reconnect in step nor more often than `2 / maximum` times a second.
#[derive(Debug)]
pub(crate) struct Schedule {
    settings: Backoff,
    next: Duration,
}

impl Schedule {
    pub(crate) fn new(settings: Backoff) -> Self {
        Self { settings, next: settings.min }
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.settings.min;
    }

    pub(crate) fn pause(&mut self) -> Duration {
        let ceiling = self.next;
        self.next = (ceiling * 2).min(self.settings.max);
        ceiling.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

/// A span around `mean`, so that many clients do not act in step.
pub(crate) fn jittered(mean: Duration) -> Duration {
    mean.mul_f64(rand::rng().random_range(0.75..=1.25))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_maximum_and_stay_in_the_upper_half() {
        let (min, max) = (Duration::from_millis(10), Duration::from_millis(200));
        let mut schedule = Schedule::new(Backoff { min, max });
        let mut ceiling = min;
        for _ in 0..20 {
            let pause = schedule.pause();
            assert!(
                pause >= ceiling / 2 && pause <= ceiling,
                "{pause:?} outside of the half below {ceiling:?}"
            );
            ceiling = (ceiling * 2).min(max);
        }
        assert_eq!(ceiling, max);
        schedule.reset();
        assert!(schedule.pause() <= min);
    }
}
