//! Without the feature `resilience`: one attempt, until the deadline.

use redis_conn::Error;
use state_core::StateResult;
use tokio::time::Instant;

use crate::config::RedisConfig;
use crate::instruments::Instruments;
use crate::operation::Operation;

pub(crate) struct Policy;

/// Why the one attempt failed.
pub(crate) struct Failure(pub(crate) Error);

impl Failure {
    pub(crate) fn attempts(&self) -> u32 {
        1
    }
}

impl Policy {
    pub(crate) fn new(_config: &RedisConfig) -> StateResult<Self> {
        Ok(Self)
    }

    pub(crate) async fn run<T, F>(
        &self,
        _operation: Operation,
        _instruments: &Instruments,
        _started: Instant,
        deadline: Instant,
        attempt: impl Fn(Instant, bool) -> F,
    ) -> Result<(T, u32), Failure>
    where
        F: Future<Output = Result<T, Error>>,
    {
        Ok((attempt(deadline, false).await.map_err(Failure)?, 1))
    }
}
