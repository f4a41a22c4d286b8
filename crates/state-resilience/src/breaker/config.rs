//! The breaker's settings.

use std::time::Duration;

use crate::error::{Error, Result, check_duration, check_range, check_share};

/// Over which past calls the rates are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Window {
    /// The last so many calls; 1 to 4,096. Suits few or irregular calls.
    Count(u32),
    /// The calls of the last so long, in sixteen slices; 16 ms to a year. Suits a steady stream.
    Time(Duration),
}

/// When calls are too slow to call the service healthy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowCalls {
    /// A call that took at least this long is slow, whether it succeeded or failed.
    pub threshold: Duration,
    /// The share of slow calls, above 0 and up to 1, from which the breaker opens.
    pub rate: f64,
}

/// When a [`Breaker`](crate::Breaker) opens, for how long, and how it closes again.
///
/// The breaker opens as soon as one of `failure_rate`, `slow_calls` and `consecutive_failures` is reached; they are
/// judged whenever a failed or slow call is recorded, so a successful call never opens it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BreakerConfig {
    /// The calls that the rates are taken over. Default: `Window::Time` of 10 s.
    pub window: Window,
    /// The rates are not judged on fewer calls; 1 to 7,500, and at most the length of a count window. Default: 20.
    pub minimum_calls: u32,
    /// The share of failed calls, above 0 and up to 1, from which the breaker opens. Default: 0.5.
    pub failure_rate: Option<f64>,
    /// When the share of slow calls opens the breaker. Default: none.
    pub slow_calls: Option<SlowCalls>,
    /// So many failures in a row open the breaker, whatever the window says. Default: 10.
    pub consecutive_failures: Option<u32>,
    /// For how long the breaker rejects everything once it has opened. Default: 5 s.
    pub open_duration: Duration,
    /// By how much that grows each time that the probes fail too; at least 1. Default: 2.
    pub open_multiplier: f64,
    /// Up to where it grows. Default: 60 s.
    pub max_open_duration: Duration,
    /// At most so many calls are let through to probe the service, and so many have to succeed before the breaker
    /// closes; 1 to 10,000. One failed (or, with `slow_calls`, slow) probe opens it again. Default: 3.
    pub half_open_probes: u32,
    /// Probes that have not reported after this time are given up and the breaker opens again; slots of probes
    /// that were dropped are free at once. Default: 10 s.
    pub max_half_open: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            window: Window::Time(Duration::from_secs(10)),
            minimum_calls: 20,
            failure_rate: Some(0.5),
            slow_calls: None,
            consecutive_failures: Some(10),
            open_duration: Duration::from_secs(5),
            open_multiplier: 2.0,
            max_open_duration: Duration::from_secs(60),
            half_open_probes: 3,
            max_half_open: Duration::from_secs(10),
        }
    }
}

impl BreakerConfig {
    /// Sets [`window`](Self::window).
    #[must_use]
    pub fn with_window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// Sets [`minimum_calls`](Self::minimum_calls).
    #[must_use]
    pub fn with_minimum_calls(mut self, calls: u32) -> Self {
        self.minimum_calls = calls;
        self
    }

    /// Sets [`failure_rate`](Self::failure_rate).
    #[must_use]
    pub fn with_failure_rate(mut self, rate: impl Into<Option<f64>>) -> Self {
        self.failure_rate = rate.into();
        self
    }

    /// Sets [`slow_calls`](Self::slow_calls).
    #[must_use]
    pub fn with_slow_calls(mut self, slow: impl Into<Option<SlowCalls>>) -> Self {
        self.slow_calls = slow.into();
        self
    }

    /// Sets [`consecutive_failures`](Self::consecutive_failures).
    #[must_use]
    pub fn with_consecutive_failures(mut self, failures: impl Into<Option<u32>>) -> Self {
        self.consecutive_failures = failures.into();
        self
    }

    /// Sets [`open_duration`](Self::open_duration), and raises [`max_open_duration`](Self::max_open_duration) to it
    /// if that was shorter.
    #[must_use]
    pub fn with_open_duration(mut self, duration: Duration) -> Self {
        self.open_duration = duration;
        self.max_open_duration = self.max_open_duration.max(duration);
        self
    }

    /// Sets [`open_multiplier`](Self::open_multiplier) and [`max_open_duration`](Self::max_open_duration).
    #[must_use]
    pub fn with_open_growth(mut self, multiplier: f64, max: Duration) -> Self {
        self.open_multiplier = multiplier;
        self.max_open_duration = max;
        self
    }

    /// Sets [`half_open_probes`](Self::half_open_probes).
    #[must_use]
    pub fn with_half_open_probes(mut self, probes: u32) -> Self {
        self.half_open_probes = probes;
        self
    }

    /// Sets [`max_half_open`](Self::max_half_open).
    #[must_use]
    pub fn with_max_half_open(mut self, duration: Duration) -> Self {
        self.max_half_open = duration;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.check_window()?;
        if self.failure_rate.is_none() && self.slow_calls.is_none() && self.consecutive_failures.is_none() {
            return Err(Error::invalid(
                "failure_rate, slow_calls, consecutive_failures: without any of them the breaker never opens",
            ));
        }
        if let Some(rate) = self.failure_rate {
            check_share("failure_rate", rate)?;
        }
        if let Some(slow) = self.slow_calls {
            check_share("slow_calls.rate", slow.rate)?;
            check_duration("slow_calls.threshold", slow.threshold)?;
        }
        if let Some(failures) = self.consecutive_failures {
            check_range("consecutive_failures", failures, 1..=u32::MAX)?;
        }
        check_range("half_open_probes", self.half_open_probes, 1..=10_000)?;
        check_duration("max_half_open", self.max_half_open)?;
        self.check_open()
    }

    fn check_window(&self) -> Result<()> {
        check_range("minimum_calls", self.minimum_calls, 1..=7_500)?;
        match self.window {
            Window::Count(calls) => {
                check_range("window", calls, 1..=4_096)?;
                if self.minimum_calls > calls {
                    return Err(Error::invalid("minimum_calls is above the length of the count window"));
                }
                Ok(())
            }
            Window::Time(length) if length < Duration::from_millis(16) => {
                Err(Error::invalid(format!("window must be at least 16 ms long, not {length:?}")))
            }
            Window::Time(length) => check_duration("window", length),
        }
    }

    fn check_open(&self) -> Result<()> {
        check_duration("open_duration", self.open_duration)?;
        check_duration("max_open_duration", self.max_open_duration)?;
        if self.max_open_duration < self.open_duration {
            return Err(Error::invalid("max_open_duration is below open_duration"));
        }
        if !(self.open_multiplier >= 1.0 && self.open_multiplier.is_finite()) {
            return Err(Error::invalid(format!(
                "open_multiplier must be at least 1, not {}",
                self.open_multiplier
            )));
        }
        Ok(())
    }

    /// How long the breaker stays open when it opens for the `openings`-th time without having closed.
    pub(super) fn open_for(&self, openings: u32) -> Duration {
        let exponent = i32::try_from(openings.saturating_sub(1)).unwrap_or(i32::MAX);
        let factor = self.open_multiplier.powi(exponent);
        let seconds = (self.open_duration.as_secs_f64() * factor).min(self.max_open_duration.as_secs_f64());
        Duration::from_secs_f64(seconds).min(self.max_open_duration)
    }
}
