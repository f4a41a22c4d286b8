//! How a waiter hears that a lock was handed to it.

use async_trait::async_trait;
#[cfg(feature = "redis")]
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

/// A source of messages published on the single authority.
#[async_trait]
pub trait Subscriber: Send + Sync + 'static {
    /// Subscribes to one channel. The stream ends when messages may have been missed; it is then subscribed again.
    ///
    /// # Errors
    /// Whatever kept it from subscribing; it is tried again.
    async fn subscribe(
        &self,
        channel: &str,
    ) -> Result<BoxStream<'static, String>, Box<dyn std::error::Error + Send + Sync>>;

    /// Whether the authority is a cluster that has sharded channels (`SPUBLISH`, Redis 7.0), and this can subscribe to
    /// them. Then each lock that is waited for has a channel of its own, whose messages stay on the node of the lock;
    /// what is published otherwise goes to all nodes of a cluster. Default: no.
    fn is_sharded(&self) -> bool {
        false
    }

    /// As [`subscribe`](Self::subscribe), to a sharded channel at the node that serves its slot. Returns when the
    /// server has confirmed it; the stream ends when the slot moves, too, and dropping it ends the subscription.
    /// Called only where [`is_sharded`](Self::is_sharded) says yes.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe). By default always.
    async fn subscribe_sharded(
        &self,
        channel: &str,
    ) -> Result<BoxStream<'static, String>, Box<dyn std::error::Error + Send + Sync>> {
        let _ = channel;
        Err("this subscriber has no sharded channels".into())
    }
}

#[cfg(feature = "redis")]
#[async_trait]
impl Subscriber for redis::Client {
    async fn subscribe(
        &self,
        channel: &str,
    ) -> Result<BoxStream<'static, String>, Box<dyn std::error::Error + Send + Sync>> {
        let mut connection = self.get_async_pubsub().await?;
        connection.subscribe(channel).await?;
        let payload = |message: redis::Msg| async move { message.get_payload::<String>().ok() };
        Ok(connection.into_on_message().filter_map(payload).boxed())
    }
}

/// What a message says beside the id of a waiter: the lock was handed to it after its look of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HandOff {
    pub(crate) look: u64,
    pub(crate) token: u64,
}

/// A waiter's id and what it is told. What cannot be read is still a reason to look.
pub(crate) fn read(message: &str) -> (&str, Option<HandOff>) {
    let (id, rest) = message.split_once(' ').unwrap_or((message, ""));
    let hand_off =
        |(look, token): (&str, &str)| Some(HandOff { look: look.parse().ok()?, token: token.parse().ok()? });
    (id, rest.split_once(' ').and_then(hand_off))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_waiter_its_look_and_its_token() {
        let hand_off = HandOff { look: 7, token: 1_790_000_000_000_001 };
        assert_eq!(read("me/1 7 1790000000000001"), ("me/1", Some(hand_off)));
        for text in ["me/1", "me/1 7", "me/1 7 x", "me/1 -7 1", "me/1 7 1 1", "me/1  1"] {
            assert_eq!(read(text), ("me/1", None), "{text}");
        }
    }
}
