//! The slow log, and the events of slow, failed and retried operations.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::config::SlowLogConfig;
use crate::key::{self, KeyDisplay};
use crate::labels::{ErrorType, Op, Status};
use crate::operation::{Operation, Outcome};

/// A slow operation, as kept and as logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SlowOperation {
    /// When it ended.
    pub at: SystemTime,
    /// What was asked.
    pub operation: Op,
    /// How it ended; failures are slow too.
    pub status: Status,
    /// Why it failed, if it did.
    pub error_type: Option<ErrorType>,
    /// The key in the configured form, never as it is.
    pub key: Option<String>,
    /// From call to result.
    pub elapsed: Duration,
    /// The part of `elapsed` spent in queues, on permits and between attempts.
    pub waited: Duration,
    /// The rest: network and server.
    pub network: Duration,
    /// Attempts made.
    pub attempts: u32,
    /// The node that answered, without credentials.
    pub node: Option<String>,
    /// Bytes of values returned.
    pub read_bytes: u64,
    /// Bytes of values handed in.
    pub written_bytes: u64,
}

/// Keeps the latest slow operations and emits events within a rate.
#[derive(Debug)]
pub(crate) struct SlowLog {
    capacity: usize,
    ring: Mutex<VecDeque<SlowOperation>>,
    slow_events: Mutex<Limiter>,
    failure_events: Mutex<Limiter>,
}

impl SlowLog {
    pub(crate) fn new(config: &SlowLogConfig) -> Self {
        let limiter = || Mutex::new(Limiter::new(config.events_per_second));
        Self {
            capacity: config.capacity,
            ring: Mutex::default(),
            slow_events: limiter(),
            failure_events: limiter(),
        }
    }

    /// Takes an operation that is slow, failed, was cancelled or needed more than one attempt.
    pub(crate) fn note(&self, operation: &Operation<'_>, slow: bool, keys: KeyDisplay) {
        if slow {
            let entry = SlowOperation::of(operation, keys);
            if let Some(suppressed) = self.slow_events.lock().admit(operation.ended) {
                entry.log(suppressed);
            }
            self.keep(entry);
        } else if let Outcome::Error(error_type) = operation.outcome {
            self.log_failure(operation, error_type, keys);
        } else if operation.attempts > 1 && tracing::enabled!(target: "state_metrics", tracing::Level::DEBUG)
        {
            let key = operation.key.map(|key| keys.show(key));
            tracing::debug!(target: "state_metrics", operation = operation.op.as_str(), key,
                elapsed_us = operation.elapsed().as_micros() as u64, attempts = operation.attempts,
                "operation needed retries");
        }
    }

    pub(crate) fn entries(&self) -> Vec<SlowOperation> {
        self.ring.lock().iter().cloned().collect()
    }

    fn keep(&self, entry: SlowOperation) {
        let mut ring = self.ring.lock();
        if ring.len() == self.capacity {
            ring.pop_front();
        }
        ring.push_back(entry);
    }

    fn log_failure(&self, operation: &Operation<'_>, error_type: ErrorType, keys: KeyDisplay) {
        let key = || operation.key.map(|key| keys.show(key));
        let elapsed_us = operation.elapsed().as_micros() as u64;
        let op = operation.op.as_str();
        if !error_type.is_service_fault() {
            if tracing::enabled!(target: "state_metrics", tracing::Level::DEBUG) {
                tracing::debug!(target: "state_metrics", operation = op, error_type = error_type.as_str(),
                    key = key(), elapsed_us, attempts = operation.attempts, "operation refused");
            }
        } else if let Some(suppressed) = self.failure_events.lock().admit(operation.ended) {
            let node = operation.node.map(key::endpoint_name);
            tracing::warn!(target: "state_metrics", operation = op, error_type = error_type.as_str(),
                key = key(), node, elapsed_us, attempts = operation.attempts, suppressed, "operation failed");
        }
    }
}

impl SlowOperation {
    fn of(operation: &Operation<'_>, keys: KeyDisplay) -> Self {
        let elapsed = operation.elapsed();
        let waited = operation.waited.min(elapsed);
        Self {
            at: SystemTime::now(),
            operation: operation.op,
            status: operation.outcome.status(),
            error_type: operation.outcome.error_type(),
            key: operation.key.map(|key| keys.show(key)),
            elapsed,
            waited,
            network: elapsed - waited,
            attempts: operation.attempts,
            node: operation.node.map(key::endpoint_name),
            read_bytes: operation.read_bytes,
            written_bytes: operation.written_bytes,
        }
    }

    fn log(&self, suppressed: u64) {
        tracing::warn!(
            target: "state_metrics",
            operation = self.operation.as_str(),
            status = self.status.as_str(),
            error_type = self.error_type.map(ErrorType::as_str),
            key = self.key,
            elapsed_us = self.elapsed.as_micros() as u64,
            waited_us = self.waited.as_micros() as u64,
            network_us = self.network.as_micros() as u64,
            attempts = self.attempts,
            node = self.node,
            read_bytes = self.read_bytes,
            written_bytes = self.written_bytes,
            suppressed,
            "slow operation"
        );
    }
}

/// A token bucket of one second's events that counts what it refused.
#[derive(Debug)]
struct Limiter {
    per_second: f64,
    tokens: f64,
    refilled: Option<Instant>,
    suppressed: u64,
}

impl Limiter {
    fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, tokens: per_second, refilled: None, suppressed: 0 }
    }

    /// `Some(n)` admits an event, after `n` were refused; `None` refuses it.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        let since = self.refilled.map_or(Duration::ZERO, |then| now.saturating_duration_since(then));
        self.tokens = (self.tokens + since.as_secs_f64() * self.per_second).min(self.per_second);
        self.refilled = Some(self.refilled.map_or(now, |then| then.max(now)));
        if self.tokens < 1.0 {
            self.suppressed += 1;
            return None;
        }
        self.tokens -= 1.0;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow_get(ended: Instant) -> Operation<'static> {
        Operation::new(Op::Get, Outcome::Error(ErrorType::Timeout), ended - Duration::from_millis(300), ended)
            .with_key(b"user:1:s3cret")
            .with_node("redis://u:pw@10.0.0.1:6379")
            .with_attempts(3, Duration::from_millis(100))
    }

    #[test]
    fn an_entry_tells_wait_from_network_and_hides_key_and_credentials() {
        let log = SlowLog::new(&SlowLogConfig::default());
        log.note(&slow_get(Instant::now() + Duration::from_secs(1)), true, KeyDisplay::Normalised);
        let [entry] = &log.entries()[..] else { panic!("one entry") };
        assert_eq!(entry.elapsed, Duration::from_millis(300));
        assert_eq!((entry.waited, entry.network), (Duration::from_millis(100), Duration::from_millis(200)));
        assert_eq!(entry.key.as_deref(), Some("user:*:*"));
        assert_eq!(entry.node.as_deref(), Some("10.0.0.1:6379"));
        assert_eq!((entry.attempts, entry.error_type), (3, Some(ErrorType::Timeout)));
    }

    #[test]
    fn the_ring_keeps_the_latest() {
        let log = SlowLog::new(&SlowLogConfig::default().with_capacity(2_usize));
        let now = Instant::now() + Duration::from_secs(1);
        for attempts in 1..=5 {
            log.note(&slow_get(now).with_attempts(attempts, Duration::ZERO), true, KeyDisplay::Digest);
        }
        let attempts: Vec<u32> = log.entries().iter().map(|entry| entry.attempts).collect();
        assert_eq!(attempts, [4, 5]);
    }

    #[test]
    fn the_limiter_refills_with_time_and_reports_what_it_refused() {
        let start = Instant::now();
        let mut limiter = Limiter::new(2);
        let answers: Vec<_> = (0..5).map(|_| limiter.admit(start)).collect();
        assert_eq!(answers, [Some(0), Some(0), None, None, None]);
        assert_eq!(limiter.admit(start + Duration::from_millis(500)), Some(3));
        assert_eq!(
            limiter.admit(start + Duration::from_millis(400)),
            None,
            "a clock that goes back refills nothing"
        );
    }
}
