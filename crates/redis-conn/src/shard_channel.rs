//! Sharded channels: messages that stay on the master that serves the channel's slot.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::endpoint::Endpoint;
use crate::error::{Class, Error, ErrorKind, Result};
use crate::shard_line::{Join, Line, Order};
use crate::shards::Shards;

/// Messages that may wait for a slow reader; one that is slower loses the channel.
const BACKLOG: usize = 1024;

/// A subscription to one sharded channel, from [`Conn::shard_channel`](crate::Conn::shard_channel).
///
/// All of a handle's on one master share a connection. Dropping it ends the subscription.
pub struct ShardChannel {
    channel: Arc<str>,
    member: u64,
    messages: mpsc::Receiver<Vec<u8>>,
    orders: mpsc::UnboundedSender<Order>,
}

impl ShardChannel {
    /// The next message; waits for ever. Dropping the wait loses nothing.
    ///
    /// `None` when messages may be missed from now on: the connection is lost, another node serves the slot, or this
    /// reader was too slow. Whoever wants more of them subscribes again, and then reads afresh what it derives from
    /// messages.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.messages.recv().await
    }
}

impl Drop for ShardChannel {
    fn drop(&mut self) {
        // A connection that is gone has no subscriptions to end.
        let _ = self.orders.send(Order::Leave { channel: Arc::clone(&self.channel), member: self.member });
    }
}

impl fmt::Debug for ShardChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardChannel").finish_non_exhaustive()
    }
}

type ByEndpoint = HashMap<Arc<Endpoint>, mpsc::UnboundedSender<Order>>;

/// The connections of a handle for sharded channels: one for each master that serves some, made when first needed.
pub(crate) struct Lines {
    /// `None` once they are closed.
    open: Mutex<Option<ByEndpoint>>,
    members: AtomicU64,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Self { open: Mutex::new(Some(HashMap::new())), members: AtomicU64::new(0) }
    }

    /// Opens no more of them. Those with channels end with the last of these, the others now.
    pub(crate) fn close(&self) {
        self.open.lock().take();
    }

    /// Subscribes to a channel at the node that is said to serve its slot; returns when that has confirmed it.
    ///
    /// # Errors
    /// `Redirected` when it does not serve the slot; `Unsupported` when it does not know such channels; `Denied`,
    /// `Unavailable`, `Timeout`, `Closed`.
    pub(crate) async fn join(
        &self,
        at: &Arc<Endpoint>,
        shards: &Arc<Shards>,
        channel: &Arc<str>,
        deadline: Instant,
    ) -> Result<ShardChannel> {
        let orders = self.line(at, shards)?;
        let (feed, messages) = mpsc::channel(BACKLOG);
        let (done, confirmed) = oneshot::channel();
        let member = self.members.fetch_add(1, Ordering::Relaxed);
        let join = Join { channel: Arc::clone(channel), member, feed, done };
        // Not sent, its end is told by `confirmed`.
        let _ = orders.send(Order::Join(join));
        // From here on its drop takes back what was ordered.
        let joined = ShardChannel { channel: Arc::clone(channel), member, messages, orders };
        match timeout_at(deadline, confirmed).await {
            Ok(Ok(outcome)) => outcome.map(|()| joined),
            // Whether it had arrived does not matter: nothing is subscribed any more.
            Ok(Err(_)) => Err(Error::not_sent(ErrorKind::Unavailable, "the subscriber connection is lost")),
            Err(_) => Err(Error::new(
                ErrorKind::Timeout,
                Class::Ambiguous,
                "waiting for the server to confirm a subscription",
            )),
        }
    }

    fn line(&self, at: &Arc<Endpoint>, shards: &Arc<Shards>) -> Result<mpsc::UnboundedSender<Order>> {
        let mut open = self.open.lock();
        let open =
            open.as_mut().ok_or_else(|| Error::not_sent(ErrorKind::Closed, "subscribing to a channel"))?;
        open.retain(|_, orders| !orders.is_closed());
        let begin = || {
            let (orders, queue) = mpsc::unbounded_channel();
            let line = Line::new(Arc::clone(shards.setup()), Arc::clone(at), Arc::downgrade(shards), queue);
            tokio::spawn(line.run(shards.version()));
            orders
        };
        Ok(open.entry(Arc::clone(at)).or_insert_with(begin).clone())
    }
}
