//! Supervised subscriptions on a connection of their own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use redis::{Msg, RedisConnectionInfo};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};

use crate::backoff::Schedule;
use crate::classify::{SendState, classify};
use crate::error::{Class, Error, ErrorKind, Result};
use crate::reauth::Rotations;
use crate::setup::Setup;

/// Notices that may wait for a slow reader; what comes beyond is dropped and shows as a gap.
const NOTICE_BACKLOG: usize = 1024;

/// How often an idle subscription asks the server whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// A subscription to channels and patterns, from [`Conn::subscribe`](crate::Conn::subscribe).
///
/// It has a connection of its own, which is replaced like the shared one; all channels are subscribed again then,
/// and a [`Notice::Gap`] says that messages may have been missed. Dropping it closes the connection.
#[derive(Debug)]
pub struct Subscription {
    changes: mpsc::Sender<Change>,
    notices: mpsc::Receiver<Notice>,
    task: AbortHandle,
}

/// What a [`Subscription`] delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A published message.
    Message {
        /// The channel it was published to.
        channel: String,
        /// The pattern that matched, for a pattern subscription.
        pattern: Option<String>,
        /// What was published.
        payload: Vec<u8>,
    },
    /// Messages may have been missed: the connection was replaced, or this reader was too slow. Whoever keeps
    /// something derived from messages has to read it afresh now.
    Gap,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Channel(String),
    Pattern(String),
}

#[derive(Debug)]
struct Change {
    topic: Topic,
    on: bool,
    done: oneshot::Sender<Result<()>>,
}

impl Subscription {
    /// Connects.
    pub(crate) async fn open(setup: Arc<Setup>, deadline: Instant) -> Result<Self> {
        let rotations = Rotations::from_now_on(&setup);
        let first = timeout_at(deadline, connect(&setup)).await;
        let first = first.map_err(|_| Error::not_sent(ErrorKind::Timeout, "opening a subscription"))??;
        let (changes, change_queue) = mpsc::channel(16);
        let (notice_queue, notices) = mpsc::channel(NOTICE_BACKLOG);
        let keeper = Keeper {
            setup,
            topics: BTreeSet::new(),
            changes: change_queue,
            notices: notice_queue,
            rotations,
            has_gap: false,
        };
        let task = tokio::spawn(keeper.run(first)).abort_handle();
        Ok(Self { changes, notices, task })
    }

    /// Subscribes to a channel; returns when the server has confirmed it.
    ///
    /// # Errors
    /// `Denied` when the ACL forbids the channel; `Timeout` at `deadline`, and it will be subscribed later then.
    pub async fn subscribe(&self, channel: impl Into<String>, deadline: Instant) -> Result<()> {
        self.change(Topic::Channel(channel.into()), true, deadline).await
    }

    /// Subscribes to all channels that match a glob pattern.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn subscribe_pattern(&self, pattern: impl Into<String>, deadline: Instant) -> Result<()> {
        self.change(Topic::Pattern(pattern.into()), true, deadline).await
    }

    /// Ends the subscription to a channel.
    ///
    /// # Errors
    /// `Timeout` at `deadline`, and it ends later then.
    pub async fn unsubscribe(&self, channel: impl Into<String>, deadline: Instant) -> Result<()> {
        self.change(Topic::Channel(channel.into()), false, deadline).await
    }

    /// Ends the subscription to a pattern.
    ///
    /// # Errors
    /// As [`unsubscribe`](Self::unsubscribe).
    pub async fn unsubscribe_pattern(&self, pattern: impl Into<String>, deadline: Instant) -> Result<()> {
        self.change(Topic::Pattern(pattern.into()), false, deadline).await
    }

    /// The next notice; waits for ever. Dropping the wait loses nothing. `None` when the task is gone, which
    /// happens only when the runtime shuts down.
    pub async fn next(&mut self) -> Option<Notice> {
        self.notices.recv().await
    }

    async fn change(&self, topic: Topic, on: bool, deadline: Instant) -> Result<()> {
        let (done, confirmed) = oneshot::channel();
        let change = async {
            let closed = || Error::not_sent(ErrorKind::Closed, "the subscription's task is gone");
            self.changes.send(Change { topic, on, done }).await.map_err(|_| closed())?;
            confirmed.await.map_err(|_| closed())?
        };
        timeout_at(deadline, change).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, Class::Ambiguous, "waiting for the server to confirm"))
        })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(setup: &Setup) -> Result<PubSub> {
    let endpoint = setup.locate().await?;
    let (stream, credentials) = setup.dialer.open_subscriber(&endpoint).await?;
    // Channels are not bound to a database, so none is selected.
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(credentials) = &credentials {
        login = login.set_password(credentials.expose_password());
        if let Some(user) = credentials.expose_user() {
            login = login.set_username(user);
        }
    }
    match timeout(setup.config.dial_timeout, PubSub::new(&login, stream)).await {
        Ok(opened) => opened.map_err(|error| classify(error, SendState::NotSent)),
        Err(_) => Err(Error::not_sent(ErrorKind::Timeout, "no subscriber connection within dial_timeout")),
    }
}

/// The task behind a subscription.
struct Keeper {
    setup: Arc<Setup>,
    topics: BTreeSet<Topic>,
    changes: mpsc::Receiver<Change>,
    notices: mpsc::Sender<Notice>,
    rotations: Rotations,
    /// A gap that did not fit into the backlog yet.
    has_gap: bool,
}

impl Keeper {
    async fn run(mut self, first: PubSub) {
        let mut schedule = Schedule::new(self.setup.config.backoff);
        let (sink, stream) = first.split();
        let mut successor = self.serve(sink, stream).await;
        loop {
            let opened = match successor.take() {
                Some(opened) => opened,
                None => {
                    sleep(schedule.pause()).await;
                    let Ok(opened) = connect(&self.setup).await else { continue };
                    opened
                }
            };
            let (mut sink, stream) = opened.split();
            if self.restore(&mut sink).await.is_ok() {
                schedule.reset();
                // Only now: what is read afresh from here on misses nothing.
                self.has_gap = true;
                self.retry_gap();
                successor = self.serve(sink, stream).await;
            }
        }
    }

    async fn restore(&self, sink: &mut PubSubSink) -> Result<()> {
        for topic in &self.topics {
            self.apply(sink, topic, true).await?;
        }
        Ok(())
    }

    /// Delivers until the connection is lost, does not answer, or belongs to a former master. When credentials
    /// have rotated, it opens the connection that follows itself: a subscriber cannot authenticate anew.
    async fn serve(&mut self, mut sink: PubSubSink, mut stream: PubSubStream) -> Option<PubSub> {
        let mut generation = self.setup.source.generation();
        let mut ping = interval(PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = stream.next() => self.deliver(&message?),
                change = self.changes.recv() => self.change(&mut sink, change?).await.ok()?,
                Ok(()) = generation.changed() => return None,
                () = self.rotations.due() => if let Some(successor) = self.succeed().await {
                    // What has arrived already is not lost with its connection.
                    while let Some(Some(message)) = stream.next().now_or_never() {
                        self.deliver(&message);
                    }
                    return Some(successor);
                },
                _ = ping.tick() => {
                    self.retry_gap();
                    let pong = sink.ping::<redis::Value>();
                    timeout(self.setup.config.stall_timeout, pong).await.ok()?.ok()?;
                }
            }
        }
    }

    /// A connection with rotated credentials; `None` while they are refused.
    async fn succeed(&mut self) -> Option<PubSub> {
        let opened = connect(&self.setup).await;
        let outcome = opened.as_ref().map(drop).map_err(Error::restated);
        self.rotations.settle(&outcome);
        opened.ok()
    }

    /// Carries out a change and reports it; an error of the connection is returned, too, and the change is made
    /// good by the next one.
    async fn change(&mut self, sink: &mut PubSubSink, change: Change) -> Result<()> {
        let Change { topic, on, done } = change;
        let outcome = self.apply(sink, &topic, on).await;
        let is_refused = outcome.as_ref().is_err_and(|error| error.code().is_some());
        if on && !is_refused {
            self.topics.insert(topic);
        } else {
            self.topics.remove(&topic);
        }
        let lost = outcome.as_ref().err().filter(|_| !is_refused).map(Error::restated);
        // A caller that stopped waiting does not want the outcome.
        let _ = done.send(outcome);
        lost.map_or(Ok(()), Err)
    }

    async fn apply(&self, sink: &mut PubSubSink, topic: &Topic, on: bool) -> Result<()> {
        let applied = async {
            match (topic, on) {
                (Topic::Channel(name), true) => sink.subscribe(name).await,
                (Topic::Channel(name), false) => sink.unsubscribe(name).await,
                (Topic::Pattern(name), true) => sink.psubscribe(name).await,
                (Topic::Pattern(name), false) => sink.punsubscribe(name).await,
            }
        };
        match timeout(self.setup.config.command_timeout, applied).await {
            Ok(applied) => applied.map_err(|error| classify(error, SendState::Unknown)),
            Err(_) => Err(Error::new(ErrorKind::Timeout, Class::Ambiguous, "the server did not confirm")),
        }
    }

    fn deliver(&mut self, message: &Msg) {
        self.retry_gap();
        let notice = Notice::Message {
            channel: message.get_channel_name().to_owned(),
            pattern: message.get_pattern::<Option<String>>().ok().flatten(),
            payload: message.get_payload_bytes().to_vec(),
        };
        if self.has_gap || self.notices.try_send(notice).is_err() {
            self.has_gap = true;
        }
    }

    fn retry_gap(&mut self) {
        if self.has_gap && self.notices.try_send(Notice::Gap).is_ok() {
            self.has_gap = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;
    use crate::config::Config;
    use crate::endpoint::{Endpoint, FixedEndpoint};

    fn message(number: usize) -> Msg {
        let fields = ["message".to_owned(), "flood".to_owned(), number.to_string()];
        let fields = fields.map(|field| Value::BulkString(field.into_bytes()));
        Msg::from_owned_value(Value::Array(fields.to_vec())).expect("a message")
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_of_the_gap_once_and_then_gets_what_is_new() {
        let endpoint = Endpoint::tcp("unused", 1);
        let source = Arc::new(FixedEndpoint::new(endpoint.clone()));
        let setup = Setup::new(Arc::new(Config::standalone(endpoint)), source);
        let (_changes, changes) = mpsc::channel(1);
        let rotations = Rotations::from_now_on(&setup);
        let (notices, mut reader) = mpsc::channel(NOTICE_BACKLOG);
        let mut keeper =
            Keeper { setup, topics: BTreeSet::new(), changes, notices, rotations, has_gap: false };

        for number in 0..NOTICE_BACKLOG + 500 {
            keeper.deliver(&message(number));
        }
        for _ in 0..NOTICE_BACKLOG {
            assert!(matches!(reader.try_recv(), Ok(Notice::Message { .. })));
        }
        keeper.deliver(&message(9999));
        assert_eq!(reader.try_recv(), Ok(Notice::Gap));
        let Ok(Notice::Message { payload, .. }) = reader.try_recv() else {
            panic!("no message after the gap")
        };
        assert_eq!(payload, b"9999");
        assert!(reader.try_recv().is_err());
    }
}
