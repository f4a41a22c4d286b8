//! The settings of the policy that operations run under.

use std::time::Duration;

use state_resilience::Retry;

use super::{Setting, one};
use crate::text::Text;

/// Settings that make up one schedule.
#[derive(Clone)]
pub(super) struct RetryParts {
    max_attempts: u32,
    initial_delay: Duration,
    max_delay: Duration,
    jitter: f64,
}

impl Default for RetryParts {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            initial_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(5),
            jitter: 0.3,
        }
    }
}

impl RetryParts {
    /// Puts together what belongs together.
    pub(super) fn join(self) -> Retry {
        crate::policy::retry(self.max_attempts, self.initial_delay, self.max_delay, self.jitter)
    }
}

/// A setting that is one of the [`RetryParts`].
macro_rules! retry_part {
    ($name:literal, $about:literal, $field:ident) => {
        Setting {
            name: $name,
            about: $about,
            read: |draft, given| {
                draft.retry.get_or_insert_default().$field = one(given)?;
                Ok(())
            },
            // The schedule does not tell its parts.
            show: |_config| RetryParts::default().$field.show(),
        }
    };
}

pub(super) const RESILIENCE: &[Setting] = &[
    retry_part!("retry_max_attempts", "Attempts in all, the first included", max_attempts),
    retry_part!("retry_initial_delay", "The pause before the second attempt; it doubles", initial_delay),
    retry_part!("retry_max_delay", "The longest pause", max_delay),
    retry_part!("retry_jitter", "The share added to pauses at random, 0 to 1", jitter),
    setting!("retry_budget_per_call", "Repeats that each operation pays for", in retry_budget => per_call),
    setting!("retry_budget_per_second", "Repeats a second that are always allowed", in retry_budget => per_second),
    setting!("retry_budget_bank", "The most repeats saved up", in retry_budget => bank),
    setting!("attempt_timeout", "How long one attempt may take", attempt_timeout),
    setting!("enable_circuit_breaker", "Whether each server has a breaker", enable_circuit_breaker),
    setting!("circuit_breaker_threshold", "Failures in a row that open it", breaker.consecutive_failures),
    setting!("circuit_breaker_timeout", "How long it is open at first", breaker.open_duration),
    setting!("circuit_breaker_max_timeout", "How long it is open at most", breaker.max_open_duration),
    setting!("circuit_breaker_failure_rate", "The share of failures that opens it", breaker.failure_rate),
    setting!(
        "circuit_breaker_minimum_calls",
        "The share is not judged on fewer calls",
        breaker.minimum_calls
    ),
    setting!("circuit_breaker_probes", "Successful probes that close it", breaker.half_open_probes),
    setting!("hedge_after", "When an unanswered read is sent again", hedge_after),
    setting!("rate_limit_per_second", "The most attempts a second", in rate_limit => per_second),
    setting!("rate_limit_burst", "The most attempts at once after a pause", in rate_limit => burst),
    setting!("rate_limit_max_wait", "The longest wait for a turn", in rate_limit => max_wait),
    setting!("bulkhead_max_concurrent", "The most operations at a time", in bulkhead => max_concurrent),
    setting!("bulkhead_max_queue", "The most operations waiting", in bulkhead => max_queue),
    setting!("bulkhead_max_wait", "The longest wait", in bulkhead => max_wait),
];
