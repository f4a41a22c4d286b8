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

/// The one subscription of a process, and who waits for its messages. Messages only make a waiter look sooner:
/// one that is lost costs time, never progress.
pub(crate) struct Wakeups {
    subscriber: Arc<dyn Subscriber>,
    board: Arc<Board>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

struct Board {
    channel: String,
    live: AtomicBool,
    waiters: Mutex<HashMap<String, Arc<Notify>>>,
}

impl Wakeups {
    pub(crate) fn new(prefix: &str, subscriber: Arc<dyn Subscriber>) -> Self {
        let channel = format!("{prefix}wake:{}", Uuid::new_v4().simple());
        let board = Board { channel, live: AtomicBool::new(false), waiters: Mutex::default() };
        Self { subscriber, board: Arc::new(board), listener: Mutex::default() }
    }

    pub(crate) fn channel(&self) -> &str {
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
    pub(crate) fn register(&self, id: &str) -> Ticket {
        let mut listener = self.listener.lock();
        if listener.as_ref().is_none_or(JoinHandle::is_finished) {
            *listener = Some(tokio::spawn(listen(Arc::clone(&self.subscriber), Arc::clone(&self.board))));
        }
        let turn = Arc::new(Notify::new());
        self.board.waiters.lock().insert(id.to_owned(), Arc::clone(&turn));
        Ticket { board: Arc::clone(&self.board), id: id.to_owned(), turn }
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
    id: String,
    turn: Arc<Notify>,
}

impl Ticket {
    /// Completes when there is a reason to look, one that came since the last call included.
    pub(crate) async fn called(&self) {
        self.turn.notified().await;
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
                while let Some(id) = messages.next().await {
                    board.call(&id);
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
    fn call(&self, id: &str) {
        if let Some(turn) = self.waiters.lock().get(id) {
            turn.notify_one();
        }
    }

    fn call_all(&self) {
        self.waiters.lock().values().for_each(|turn| turn.notify_one());
    }
}
