//! Typed reads from a replica.

use std::sync::Arc;

use redis::Value;
use tokio::time::Instant;

use crate::error::{Class, Error, Result};
use crate::handshake::Purpose;
use crate::link::Link;
use crate::setup::Setup;
use crate::supervisor::Supervised;
use crate::typed::{Get, Typed as _};

/// Which node answers typed reads. Replicas lag behind, so they may answer with older values, even older than
/// what the same caller wrote before.
///
/// In a cluster that is a replica of the key's own shard. Nothing tells a replica that its master is handing a slot
/// over, so keys that have moved already seem absent to it: `PreferReplica` asks the master about every key that
/// its replica lacks, `Replica` reports such keys as absent until the slot has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ReadFrom {
    /// The master.
    #[default]
    Master,
    /// A healthy replica; the master while there is none, or when the replica fails to answer.
    PreferReplica,
    /// A healthy replica, and never the master while it is known as such.
    Replica,
}

/// A supervised connection to a replica.
pub(crate) struct Reader {
    lane: Supervised,
    falls_back: bool,
}

impl Reader {
    /// `None` when reads go to the master.
    pub(crate) fn start(setup: &Setup) -> Option<Self> {
        let falls_back = match setup.config.read_from {
            ReadFrom::Master => return None,
            ReadFrom::PreferReplica => true,
            ReadFrom::Replica => false,
        };
        let purpose = if setup.many_slots { Purpose::ClusterReplica } else { Purpose::Any };
        let dialer = setup.dialer.sharing(Arc::clone(&setup.config), purpose);
        let source = setup.source.replicas()?;
        let lane = Supervised::start(&setup.beside(Arc::clone(&setup.config), dialer, source));
        Some(Self { lane, falls_back })
    }

    /// Waits for the connection where nothing else will do.
    pub(crate) async fn ready(&self, deadline: Instant) -> Result<()> {
        if self.falls_back { Ok(()) } else { self.lane.ready(deadline).await }
    }

    /// What the replica answered; `None` when the master has to be asked.
    pub(crate) async fn get(&self, key: &[u8], deadline: Instant) -> Option<Result<Value>> {
        let get = Get(key);
        let answer = self.lane.link.perform(&get, get.bytes(), deadline).await;
        match answer {
            Err(error) if self.falls_back && is_of_the_node(&error) => None,
            // Error replies come as data; a replica that cannot answer now is none of the caller's business.
            Ok(Value::ServerError(error)) if self.falls_back && is_busy(error.code()) => None,
            // A replica does not know which slots its master is handing over, and with them their keys.
            Ok(Value::Nil) if self.falls_back && self.lane.link.setup.many_slots => None,
            answer => Some(answer),
        }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.lane.link
    }

    pub(crate) async fn stop(&self) {
        self.lane.stop().await;
    }
}

/// A read may be repeated, whatever became of the first one.
fn is_of_the_node(error: &Error) -> bool {
    !matches!(error.class(), Class::Reply | Class::Fatal)
}

fn is_busy(code: &str) -> bool {
    matches!(code, "LOADING" | "MASTERDOWN" | "BUSY" | "MOVED" | "ASK" | "CLUSTERDOWN")
}
