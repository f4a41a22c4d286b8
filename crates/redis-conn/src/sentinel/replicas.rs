//! Where to read from: a replica that the sentinels call healthy.

use std::sync::Arc;

use async_trait::async_trait;
use rand::seq::IndexedRandom as _;
use tokio::sync::watch;

use super::Shared;
use crate::endpoint::{Endpoint, EndpointSource};
use crate::error::{Error, ErrorKind, Result};
use crate::handshake::{Role, ServerInfo};

/// One of the replicas, drawn anew for every connection.
pub(super) struct ReplicaSource {
    pub(super) shared: Arc<Shared>,
}

#[async_trait]
impl EndpointSource for ReplicaSource {
    async fn locate(&self) -> Result<Arc<Endpoint>> {
        self.shared.hurry();
        let drawn = self.shared.replicas.borrow().choose(&mut rand::rng()).cloned();
        self.shared.reading.lock().clone_from(&drawn);
        drawn.ok_or_else(|| Error::not_sent(ErrorKind::Unavailable, "no sentinel names a healthy replica"))
    }

    fn generation(&self) -> watch::Receiver<u64> {
        self.shared.replica_generation.subscribe()
    }

    /// A replica that has been promoted meanwhile is as good to read from.
    fn verify(&self, endpoint: &Endpoint, server: &ServerInfo) -> Result<()> {
        match server.role {
            Some(Role::Sentinel) => {
                Err(Error::not_sent(ErrorKind::Unavailable, format!("{endpoint} is no replica")))
            }
            _ => Ok(()),
        }
    }
}
