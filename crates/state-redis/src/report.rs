//! What the backend tells about itself.

#[cfg(feature = "metrics")]
use std::sync::Arc;

use redis_conn::{Events, Health, PoolStats};
use state_core::StateResult;
#[cfg(feature = "metrics")]
use state_metrics::{BackendStats, HotKey, Instruments, Pool, PoolState, SlowOperation};
#[cfg(feature = "resilience")]
use state_resilience::BreakerSnapshot;

use crate::backend::{Inner, RedisBackend};
use crate::error;
use crate::operation::Operation;

/// How each layer stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackendHealth {
    /// The servers, as the latest check found them.
    pub servers: Health,
    /// The pool of dedicated connections.
    pub pool: PoolStats,
    /// The breakers, by server.
    #[cfg(feature = "resilience")]
    pub breakers: Vec<(String, BreakerSnapshot)>,
}

impl RedisBackend {
    /// How each layer stands, from what is known already: nothing is asked of the servers.
    ///
    /// # Errors
    /// `Unsupported` on a cluster, whose nodes have a health each.
    pub fn health(&self) -> StateResult<BackendHealth> {
        let conn = self.inner.door.conn();
        let servers = conn.health().map_err(|cause| error::from_conn(Operation::HealthCheck, cause))?;
        let servers = servers.borrow().clone();
        Ok(BackendHealth {
            servers,
            pool: conn.pool_stats(),
            #[cfg(feature = "resilience")]
            breakers: self.inner.breakers.as_ref().map(|breakers| breakers.snapshots()).unwrap_or_default(),
        })
    }

    /// What happens on the connections from now on.
    pub fn events(&self) -> Events {
        self.inner.door.conn().events()
    }
}

#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
impl RedisBackend {
    /// The figures since the start.
    // Waits for nothing today; it is asynchronous so that figures of the servers can join.
    #[allow(clippy::unused_async)]
    pub async fn stats(&self) -> BackendStats {
        self.inner.note_pool();
        self.inner.door.instruments.0.stats()
    }

    /// The instruments that publish to the process's recorder; `None` where `enable_metrics` is off.
    pub fn metrics(&self) -> Option<Arc<Instruments>> {
        let instruments = &self.inner.door.instruments.0;
        self.inner.config.enable_metrics.then(|| Arc::new(instruments.clone()))
    }

    /// The latest slow operations, oldest first; keys appear as digests.
    pub fn slow_operations(&self) -> Vec<SlowOperation> {
        self.inner.door.instruments.0.slow_operations()
    }

    /// The keys used most, hottest first; empty unless hot keys are switched on.
    pub fn hot_keys(&self) -> Vec<HotKey> {
        self.inner.door.instruments.0.hot_keys()
    }
}

#[cfg(feature = "metrics")]
impl Inner {
    /// Brings the pool's gauges up to date whenever figures are published, so that a scrape sees the present.
    pub(crate) fn keep_gauges(self: &Arc<Self>) {
        let inner = Arc::downgrade(self);
        self.door.instruments.0.before_publishing(move || {
            if let Some(inner) = inner.upgrade() {
                inner.note_pool();
            }
        });
    }

    fn note_pool(&self) {
        let stats = self.door.conn().pool_stats();
        let state = PoolState {
            active: stats.in_use,
            idle: stats.idle,
            pending: usize::try_from(stats.waiting).unwrap_or(usize::MAX),
            max: stats.max,
        };
        self.door.instruments.0.pool_state(Pool::Dedicated, state);
    }
}

#[cfg(not(feature = "metrics"))]
impl Inner {
    /// There are none.
    #[allow(clippy::unused_self)]
    pub(crate) fn keep_gauges(&self) {}
}
