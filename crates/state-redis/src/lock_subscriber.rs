//! How waiters for locks are called, over the connection of the locks.

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use redis_conn::{Conn, Notice, ShardChannel, Subscription};
use redlock::Subscriber;
use tokio::time::Instant;

/// Messages of the channels of locks.
pub(crate) struct LockSubscriber {
    conn: Conn,
    is_sharded: bool,
}

type Messages = Result<BoxStream<'static, String>, Box<dyn std::error::Error + Send + Sync>>;

impl LockSubscriber {
    /// Finds out whether there are sharded channels, by subscribing to one: the version of the servers would not say
    /// whether the user may. Where there are none, a channel for all locks does, whose messages go to all nodes.
    pub(crate) async fn find_out(conn: &Conn, prefix: &str) -> Self {
        let tried = conn.shard_channel(format!("{prefix}wake"), deadline(conn)).await;
        Self { conn: conn.clone(), is_sharded: tried.is_ok() }
    }
}

#[async_trait]
impl Subscriber for LockSubscriber {
    async fn subscribe(&self, channel: &str) -> Messages {
        let subscription = self.conn.subscribe().await?;
        subscription.subscribe(channel, deadline(&self.conn)).await?;
        let next = |mut subscription: Subscription| async {
            match subscription.next().await? {
                Notice::Message { payload, .. } => Some((String::from_utf8(payload).ok()?, subscription)),
                // Wake-ups may have been missed: the end of the stream makes all waiters look, and subscribes anew.
                _ => None,
            }
        };
        Ok(stream::unfold(subscription, next).boxed())
    }

    fn is_sharded(&self) -> bool {
        self.is_sharded
    }

    async fn subscribe_sharded(&self, channel: &str) -> Messages {
        let channel = self.conn.shard_channel(channel, deadline(&self.conn)).await?;
        let next = |mut channel: ShardChannel| async {
            Some((String::from_utf8(channel.next().await?).ok()?, channel))
        };
        Ok(stream::unfold(channel, next).boxed())
    }
}

fn deadline(conn: &Conn) -> Instant {
    Instant::now() + conn.config().connect_timeout
}
