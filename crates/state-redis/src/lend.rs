//! A dedicated connection to the node of a key.

use redis_conn::{Dedicated, ErrorKind};
use state_core::StateResult;
use tokio::time::Instant;

use crate::backend::RedisBackend;
use crate::error;
use crate::operation::Operation;

impl RedisBackend {
    /// As [`dedicated`](Self::dedicated); on a cluster, the connection is one to the master that serves `key`, which is
    /// the server's own key, as in the commands on it.
    ///
    /// It stays with that node. Once the slot has moved, commands on it fail as redirected, a blocked one too: drop it
    /// then, and ask again.
    ///
    /// # Errors
    /// `Overloaded` when none became free within `pool_timeout`; `Unavailable` while the node is gone, on a cluster only
    /// when that lasts for `pool_timeout`.
    pub async fn dedicated_for(&self, key: &[u8]) -> StateResult<Dedicated> {
        let door = &self.inner.door;
        let task = door.begin(Operation::Dedicated);
        let started = Instant::now();
        let lent = door.conn().dedicated_for(key).await;
        if lent.as_ref().is_err_and(|cause| cause.kind() == ErrorKind::Overloaded) {
            door.instruments.pool_timed_out(started.elapsed());
        }
        task.end(lent.map_err(|cause| error::from_conn(Operation::Dedicated, cause)))
    }
}
