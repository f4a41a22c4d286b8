//! Without the feature `metrics`: nobody is told.

use std::time::Duration;

use redis_conn::{BatchKind, DownReason, Endpoint};
use state_core::StateResult;

use crate::config::RedisConfig;
use crate::exec::Finished;
use crate::operation::Operation;

#[derive(Clone)]
pub(crate) struct Instruments;

#[rustfmt::skip]
impl Instruments {
    pub(crate) fn new(_config: &RedisConfig) -> StateResult<Self> { Ok(Self) }
    #[cfg(feature = "resilience")]
    pub(crate) fn disabled() -> Self { Self }
    pub(crate) fn record(&self, _finished: &Finished<'_>) {}
    #[cfg(feature = "resilience")]
    pub(crate) fn retried(&self, _operation: Operation, _kind: state_core::ErrorKind, _attempt: u32, _delay: Duration) {}
    #[cfg(feature = "resilience")]
    pub(crate) fn hedged(&self, _won: bool) {}
    #[cfg(feature = "resilience")]
    pub(crate) fn refused(&self, _failure: &crate::policy::Failure) {}
    #[cfg(feature = "resilience")]
    pub(crate) fn breaker_known(&self, _name: &str) {}
    #[cfg(feature = "resilience")]
    pub(crate) fn breaker_changed(&self, _change: &state_resilience::BreakerChange<'_>) {}
    pub(crate) fn fell_back(&self, _operation: Operation) {}
    #[cfg(feature = "codec")]
    pub(crate) fn compressed(&self, _compression: state_codec::Compression, _raw: usize, _stored: usize) {}
    pub(crate) fn connected(&self, _endpoint: &Endpoint, _took: Duration) {}
    pub(crate) fn connect_failed(&self) {}
    pub(crate) fn disconnected(&self, _endpoint: &Endpoint, _reason: DownReason) {}
    pub(crate) fn subscriber_opened(&self) {}
    pub(crate) fn subscriber_closed(&self) {}
    pub(crate) fn queued(&self, _waited: Duration) {}
    pub(crate) fn batch_sent(&self, _kind: BatchKind, _members: usize) {}
    pub(crate) fn sample_pool(&self, _stats: impl Fn() -> Option<redis_conn::PoolStats> + Send + Sync + 'static) {}
    pub(crate) fn pool_waited(&self, _waited: Duration) {}
    pub(crate) fn pool_timed_out(&self, _waited: Duration) {}
}
