//! The policy that attempts pass through: deadline, repeats and their budget, rate limit, bulkhead, hedge.
//!
//! Breakers are not in it: there is one for each server, and only the connection knows which server it will be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis_conn::Error;
use state_core::{ErrorKind, StateError, StateResult};
use state_resilience::{
    Attempt, AttemptTimer, Backoff, Call, Hedge, Idempotency as Repeats, Jitter, Origin, Policy as Layers,
    Retry,
};
use tokio::time::Instant;

use crate::classify::classify;
use crate::config::RedisConfig;
use crate::error::judge;
use crate::instruments::Instruments;
use crate::operation::{Idempotency, Operation};
use crate::validate;

/// The policy of one backend.
pub(crate) struct Policy(Layers);

pub(crate) type Failure = state_resilience::Failure<Error>;

impl Policy {
    pub(crate) fn new(config: &RedisConfig) -> StateResult<Self> {
        let mut layers = Layers::builder("redis")
            .deadline(config.command_timeout)
            .attempt_timeout(config.attempt_timeout.unwrap_or(config.command_timeout))
            .attempt_timer(AttemptTimer::Operation)
            .retry(config.retry.clone());
        if let Some(budget) = config.retry_budget {
            layers = layers.budget(budget);
        }
        if let Some(rate_limit) = config.rate_limit {
            layers = layers.rate_limit(rate_limit);
        }
        if let Some(bulkhead) = config.bulkhead {
            layers = layers.bulkhead(bulkhead);
        }
        if let Some(after) = config.hedge_after {
            layers =
                layers.hedge(Arc::new(Hedge::new(after).map_err(|cause| in_config("hedge_after", cause))?));
        }
        layers
            .build()
            .map(Self)
            .map_err(|cause| in_config("retry, rate_limit, bulkhead or hedge_after", cause))
    }

    /// Runs `attempt`, which is told its deadline and whether it is a second copy, until it succeeds or the policy
    /// says to stop. Returns the attempts made beside the value.
    pub(crate) async fn run<T, F>(
        &self,
        operation: Operation,
        instruments: &Instruments,
        started: Instant,
        deadline: Instant,
        attempt: impl Fn(Instant, bool) -> F,
    ) -> Result<(T, u32), Failure>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let call = Call::new(operation.idempotency().into()).started(started).deadline(deadline);
        let story =
            Story { operation, instruments, failed: Mutex::new(None), has_copy: AtomicBool::new(false) };
        let classify = |error: &Error| {
            story.attempt_failed(error);
            classify(error)
        };
        let attempt = |this: Attempt| {
            story.attempt_begins(&this);
            attempt(this.deadline.unwrap_or(deadline), this.is_hedge)
        };
        let completed =
            self.0.run(call, classify, attempt).await.inspect_err(|failure| story.failed(failure))?;
        story.completed(completed.origin);
        Ok((completed.value, completed.attempts))
    }
}

/// What the instruments are told of one call.
struct Story<'a> {
    operation: Operation,
    instruments: &'a Instruments,
    /// How and when the last attempt failed.
    failed: Mutex<Option<(ErrorKind, Instant)>>,
    has_copy: AtomicBool,
}

impl Story<'_> {
    fn attempt_failed(&self, error: &Error) {
        *self.failed.lock() = Some((judge(error).0, Instant::now()));
    }

    #[inline]
    fn attempt_begins(&self, attempt: &Attempt) {
        if attempt.is_hedge {
            self.has_copy.store(true, Ordering::Relaxed);
        } else if attempt.number > 1
            && let Some((kind, at)) = self.failed.lock().take()
        {
            let delay = attempt.started.saturating_duration_since(at);
            self.instruments.retried(self.operation, kind, attempt.number - 1, delay);
        }
    }

    #[inline]
    fn completed(&self, origin: Origin) {
        if self.has_copy.load(Ordering::Relaxed) {
            self.instruments.hedged(origin == Origin::Hedge);
        }
    }

    fn failed(&self, failure: &Failure) {
        self.instruments.refused(failure);
    }
}

impl From<Idempotency> for Repeats {
    fn from(idempotency: Idempotency) -> Self {
        match idempotency {
            Idempotency::Safe => Self::Safe,
            Idempotency::Idempotent => Self::Idempotent,
            Idempotency::Unsafe => Self::Unsafe,
        }
    }
}

/// The repeats that `retry_config` describes.
pub(crate) fn retry(max: u32, initial_delay: Duration, max_delay: Duration, jitter: f64) -> Retry {
    let jitter = if jitter == 0.0 { Jitter::None } else { Jitter::Proportional(jitter) };
    Retry::new(max, Backoff::exponential(initial_delay, max_delay).with_jitter(jitter))
}

/// Checks the settings of the layer.
pub(crate) fn check(config: &RedisConfig) -> StateResult<()> {
    if let Some(timeout) = config.attempt_timeout {
        validate::demand(timeout <= config.command_timeout, "attempt_timeout is above command_timeout")?;
    }
    Policy::new(config)?;
    crate::breakers::Breakers::new(config, &Instruments::disabled()).map(drop)
}

pub(crate) fn in_config(field: &str, cause: state_resilience::Error) -> StateError {
    StateError::new(ErrorKind::InvalidConfig, format!("{field}: {}", cause.context())).with_source(cause)
}
