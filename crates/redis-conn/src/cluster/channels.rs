//! Sharded channels of a cluster: each is subscribed at the master of its slot.

use std::sync::Arc;

use tokio::time::Instant;

use super::Cluster;
use crate::errand::did_not_run;
use crate::error::{Error, ErrorKind, Result};
use crate::shard_channel::ShardChannel;
use crate::slots::slot_of;

impl Cluster {
    /// Subscribes to a channel where its slot is; a slot that nobody serves is waited for.
    pub(super) async fn listen(&self, channel: Arc<str>, deadline: Instant) -> Result<ShardChannel> {
        let slot = slot_of(channel.as_bytes());
        let mut patience = self.patience(deadline);
        loop {
            let master = {
                let view = self.shards.view();
                view.map.shard_index(slot).map(|shard| Arc::clone(&view.map.shards()[shard].master))
            };
            let joined = match master {
                Some(master) => self.lines.join(&master, &self.shards, &channel, deadline).await,
                None => Err(Error::not_sent(ErrorKind::Unavailable, "no node serves the channel's slot")),
            };
            match joined {
                Err(error) if did_not_run(&error) => {
                    self.shards.suspect();
                    if !patience.pause().await {
                        return Err(error);
                    }
                }
                outcome => return outcome,
            }
        }
    }
}
