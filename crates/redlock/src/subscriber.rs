//! How a waiter hears that a lock was handed to it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream::BoxStream};
use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinHandle};
use uuid::Uuid;

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

/// The pauses between attempts to subscribe.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What a message says beside the id of a waiter: the lock was handed to it after its look of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HandOff {
    pub(crate) look: u64,
    pub(crate) token: u64,
}

/// The one subscription of a process, and who waits for its messages. One that is lost costs time, never progress:
/// waiters look by themselves, too.
pub(crate) struct Wakeups {
    subscriber: Arc<dyn Subscriber>,
    board: Arc<Board>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

struct Board {
    channel: Arc<str>,
    live: AtomicBool,
    waiters: Mutex<HashMap<Arc<str>, Arc<Turn>>>,
}

/// Where a waiter is called, and what it was told last.
#[derive(Default)]
struct Turn {
    call: Notify,
    told: Mutex<Option<HandOff>>,
}

impl Wakeups {
    pub(crate) fn new(prefix: &str, subscriber: Arc<dyn Subscriber>) -> Self {
        let channel = format!("{prefix}wake:{}", Uuid::new_v4().simple()).into();
        let board = Board { channel, live: AtomicBool::new(false), waiters: Mutex::default() };
        Self { subscriber, board: Arc::new(board), listener: Mutex::default() }
    }

    pub(crate) fn channel(&self) -> &Arc<str> {
        &self.board.channel
    }

    /// Whether messages arrive at present, as far as is known.
    pub(crate) fn live(&self) -> bool {
        self.board.live.load(Ordering::Acquire)
    }

    /// Ends the subscription; the next waiter begins another one.
    pub(crate) fn stop(&self) {
        if let Some(listener) = self.listener.lock().take() {
            listener.abort();
        }
    }

    /// Listens for one waiter until the ticket is dropped.
    pub(crate) fn register(&self, id: &Arc<str>) -> Ticket {
        let mut listener = self.listener.lock();
        if listener.as_ref().is_none_or(JoinHandle::is_finished) {
            *listener = Some(tokio::spawn(listen(Arc::clone(&self.subscriber), Arc::clone(&self.board))));
        }
        let turn = Arc::<Turn>::default();
        self.board.waiters.lock().insert(Arc::clone(id), Arc::clone(&turn));
        Ticket { board: Arc::clone(&self.board), id: Arc::clone(id), turn }
    }
}

impl Drop for Wakeups {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A waiter's place on the board.
pub(crate) struct Ticket {
    board: Arc<Board>,
    id: Arc<str>,
    turn: Arc<Turn>,
}

impl Ticket {
    /// Completes when there is a reason to look, one that came since the last call included, and says what was told.
    pub(crate) async fn called(&self) -> Option<HandOff> {
        self.turn.call.notified().await;
        self.turn.told.lock().take()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.board.waiters.lock().remove(&self.id);
    }
}

async fn listen(subscriber: Arc<dyn Subscriber>, board: Arc<Board>) {
    let mut pause = PAUSE.0;
    loop {
        match subscriber.subscribe(&board.channel).await {
            Ok(mut messages) => {
                pause = PAUSE.0;
                board.live.store(true, Ordering::Release);
                // What was published before is lost, so everybody looks once.
                board.call_all();
                while let Some(message) = messages.next().await {
                    board.call(&message);
                }
                board.live.store(false, Ordering::Release);
                board.call_all();
            }
            Err(error) => tracing::debug!(error = %error, "subscription to wake-ups failed"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

impl Board {
    fn call(&self, message: &str) {
        let (id, told) = read(message);
        if let Some(turn) = self.waiters.lock().get(id) {
            *turn.told.lock() = told;
            turn.call.notify_one();
        }
    }

    fn call_all(&self) {
        self.waiters.lock().values().for_each(|turn| turn.call.notify_one());
    }
}

/// A waiter's id and what it is told. What cannot be read is still a reason to look.
fn read(message: &str) -> (&str, Option<HandOff>) {
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
