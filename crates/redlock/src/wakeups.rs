//! Where the waiters of a manager are called: one channel for all of them or, in a cluster, one for each lock.
//!
//! A channel that is lost costs time, never progress: waiters look by themselves, too.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::{
    Subscriber,
    claim::Resource,
    subscriber::{HandOff, read},
};

/// The pauses between attempts to subscribe.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// For how long the channel of a lock is kept when nobody waits any more: the next waiter is seldom far.
const LINGER: Duration = Duration::from_secs(3);

/// The channels of a process, and who waits for their messages.
pub(crate) struct Wakeups {
    exchange: Arc<Exchange>,
    /// The one channel, where not each lock has its own.
    common: Arc<Board>,
}

struct Exchange {
    subscriber: Arc<dyn Subscriber>,
    /// What the channels of this process end with.
    process: String,
    /// Those of locks.
    boards: Mutex<HashMap<Arc<str>, Arc<Board>>>,
}

/// One channel.
struct Board {
    channel: Arc<str>,
    /// Whether messages arrive at present, as far as is known.
    live: AtomicBool,
    waiters: Mutex<HashMap<Arc<str>, Arc<Turn>>>,
    listener: Mutex<Option<JoinHandle<()>>>,
    /// Somebody came or went.
    changed: Notify,
}

/// Where a waiter is called, and what it was told last.
#[derive(Default)]
struct Turn {
    call: Notify,
    told: Mutex<Option<HandOff>>,
}

impl Wakeups {
    pub(crate) fn new(prefix: &str, subscriber: Arc<dyn Subscriber>) -> Self {
        let process = format!("wake:{}", Uuid::new_v4().simple());
        let common = Board::new(format!("{prefix}{process}").into());
        Self { exchange: Arc::new(Exchange { subscriber, process, boards: Mutex::default() }), common }
    }

    /// A place on the board for a waiter of this resource, until the ticket is dropped.
    pub(crate) fn register(&self, id: &Arc<str>, resource: &Resource) -> Ticket {
        let turn = Arc::<Turn>::default();
        let is_sharded = self.exchange.subscriber.is_sharded();
        let board = if is_sharded {
            // Under this lock, so that a board is not taken down meanwhile.
            let mut boards = self.exchange.boards.lock();
            let channel: Arc<str> = resource.key(&self.exchange.process).into();
            let board = boards.entry(channel).or_insert_with_key(|channel| Board::new(Arc::clone(channel)));
            board.waiters.lock().insert(Arc::clone(id), Arc::clone(&turn));
            Arc::clone(board)
        } else {
            self.common.waiters.lock().insert(Arc::clone(id), Arc::clone(&turn));
            self.common.listen(|board| listen(Arc::clone(&self.exchange), board, false));
            Arc::clone(&self.common)
        };
        let exchange = is_sharded.then(|| Arc::clone(&self.exchange));
        Ticket { exchange, board, id: Arc::clone(id), turn }
    }

    /// Ends all subscriptions; the next waiter begins another one.
    pub(crate) fn stop(&self) {
        self.common.stop();
        self.exchange.boards.lock().values().for_each(|board| board.stop());
    }
}

impl Drop for Wakeups {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A waiter's place on a board.
pub(crate) struct Ticket {
    /// Where the lock has a channel of its own.
    exchange: Option<Arc<Exchange>>,
    board: Arc<Board>,
    id: Arc<str>,
    turn: Arc<Turn>,
}

impl Ticket {
    pub(crate) fn channel(&self) -> &Arc<str> {
        &self.board.channel
    }

    pub(crate) fn is_live(&self) -> bool {
        self.board.live.load(Ordering::Acquire)
    }

    /// Has the lock's own channel subscribed, now that it is waited for. A lock that is free costs no subscription.
    pub(crate) fn listen(&self) {
        if let Some(exchange) = &self.exchange {
            self.board.listen(|board| listen_while_wanted(Arc::clone(exchange), board));
        }
    }

    /// Completes when there is a reason to look, one that came since the last call included, and says what was told.
    pub(crate) async fn called(&self) -> Option<HandOff> {
        self.turn.call.notified().await;
        self.turn.told.lock().take()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.board.waiters.lock().remove(&self.id);
        let Some(exchange) = &self.exchange else { return };
        self.board.changed.notify_one();
        let mut boards = exchange.boards.lock();
        if !self.board.has_listener() && self.board.is_empty() {
            boards.remove(&self.board.channel);
        }
    }
}

impl Board {
    fn new(channel: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            channel,
            live: AtomicBool::new(false),
            waiters: Mutex::default(),
            listener: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Begins to listen, unless that has begun.
    fn listen<F: Future<Output = ()> + Send + 'static>(self: &Arc<Self>, begin: impl FnOnce(Arc<Self>) -> F) {
        let mut listener = self.listener.lock();
        if listener.as_ref().is_none_or(JoinHandle::is_finished) {
            *listener = Some(tokio::spawn(begin(Arc::clone(self))));
        }
    }

    fn has_listener(&self) -> bool {
        self.listener.lock().as_ref().is_some_and(|listener| !listener.is_finished())
    }

    fn stop(&self) {
        if let Some(listener) = self.listener.lock().take() {
            listener.abort();
            self.live.store(false, Ordering::Release);
        }
    }

    fn is_empty(&self) -> bool {
        self.waiters.lock().is_empty()
    }

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

    /// Completes when nobody has waited for a while.
    async fn is_left(&self) {
        while timeout(LINGER, self.changed.notified()).await.is_ok() || !self.is_empty() {}
    }
}

/// Listens for ever.
async fn listen(exchange: Arc<Exchange>, board: Arc<Board>, is_sharded: bool) {
    let subscriber = &exchange.subscriber;
    let mut pause = PAUSE.0;
    loop {
        let subscribed = match is_sharded {
            true => subscriber.subscribe_sharded(&board.channel).await,
            false => subscriber.subscribe(&board.channel).await,
        };
        match subscribed {
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
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Listens until nobody waits for the lock any more.
async fn listen_while_wanted(exchange: Arc<Exchange>, board: Arc<Board>) {
    let mut listening = Box::pin(listen(Arc::clone(&exchange), Arc::clone(&board), true));
    loop {
        tokio::select! {
            () = &mut listening => {}
            () = board.is_left() => {}
        }
        let mut boards = exchange.boards.lock();
        if board.is_empty() {
            boards.remove(&board.channel);
            return;
        }
    }
}
