//! One subscriber connection to a master, for all sharded channels that it serves.
//!
//! It speaks RESP2, in which every server confirms and delivers by the same arrays. Replies come in the order of the
//! commands, except that the server may end a subscription at any time, which looks like the reply to `SUNSUBSCRIBE`;
//! a `PING` behind each of those says where its replies end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::classify::server_error;
use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::error::{Class, Error, ErrorKind, Result};
use crate::handshake::auth;
use crate::resp::Decoder;
use crate::setup::Setup;
use crate::shard_topics::{Told, Topics};
use crate::shards::Shards;
use crate::slots::slot_of;
use crate::stream::BoxStream;

/// How often an idle connection asks the server whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// For how long a connection without channels is kept.
const IDLE: Duration = Duration::from_secs(30);

/// Bytes read at a time.
const READ_BUFFER: usize = 4096;

/// What is asked of a line.
pub(crate) enum Order {
    Join(Join),
    /// A member wants no more messages.
    Leave {
        channel: Arc<str>,
        member: u64,
    },
}

/// A new member of a channel.
pub(crate) struct Join {
    pub(crate) channel: Arc<str>,
    pub(crate) member: u64,
    pub(crate) feed: mpsc::Sender<Vec<u8>>,
    pub(crate) done: oneshot::Sender<Result<()>>,
}

/// A command whose replies are to come.
enum Owed {
    /// `SSUBSCRIBE`, with its number.
    Subscribed(u64),
    /// `SUNSUBSCRIBE` of a channel and the `PING` behind it.
    Left(Arc<str>),
    Pong,
}

/// The task behind a connection. Its end ends all its channels.
pub(crate) struct Line {
    setup: Arc<Setup>,
    at: Arc<Endpoint>,
    shards: Weak<Shards>,
    orders: mpsc::UnboundedReceiver<Order>,
    topics: Topics,
    owed: VecDeque<(Owed, Instant)>,
    output: Vec<u8>,
    used: Instant,
}

impl Line {
    pub(crate) fn new(
        setup: Arc<Setup>,
        at: Arc<Endpoint>,
        shards: Weak<Shards>,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> Self {
        let (owed, output) = (VecDeque::new(), Vec::new());
        Self { setup, at, shards, orders, topics: Topics::default(), owed, output, used: Instant::now() }
    }

    /// Connects, and serves orders until the connection is lost or was idle for long.
    pub(crate) async fn run(mut self, version: watch::Receiver<u64>) {
        let error = match self.connect().await {
            Ok((stream, decoder)) => match self.serve(stream, decoder, version).await {
                Err(error) => error,
                Ok(never) => match never {},
            },
            Err(error) => error,
        };
        tracing::debug!(endpoint = %self.at, %error, "a connection for sharded channels ended");
        self.orders.close();
        while let Some(order) = self.orders.recv().await {
            if let Order::Join(Join { done, .. }) = order {
                // A caller that stopped waiting does not want the outcome.
                let _ = done.send(Err(error.restated()));
            }
        }
    }

    async fn connect(&self) -> Result<(BoxStream, Decoder)> {
        let (mut stream, credentials) = self.setup.dialer.open_subscriber(&self.at).await?;
        let mut decoder = Decoder::default();
        if let Some(credentials) = credentials {
            let authenticated = authenticate(&mut stream, &mut decoder, &credentials);
            let authenticated = timeout(self.setup.config.dial_timeout, authenticated).await;
            authenticated.map_err(|_| {
                Error::not_sent(ErrorKind::Timeout, "no subscriber connection within dial_timeout")
            })??;
        }
        Ok((stream, decoder))
    }

    async fn serve(
        &mut self,
        stream: BoxStream,
        mut decoder: Decoder,
        mut version: watch::Receiver<u64>,
    ) -> Result<Infallible> {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut input = [0; READ_BUFFER];
        let mut ping = interval(PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let overdue = self.owed.front().map(|(_, sent)| *sent + self.setup.config.stall_timeout);
            tokio::select! {
                read = reader.read(&mut input) => {
                    let length = read.ok().filter(|length| *length > 0).ok_or_else(lost)?;
                    self.take(&mut decoder, &input[..length])?;
                }
                order = self.orders.recv() => self.obey(order.ok_or_else(lost)?),
                Ok(()) = version.changed() => self.review(),
                () = sleep_until(overdue.unwrap_or_else(Instant::now)), if overdue.is_some() => return Err(lost()),
                _ = ping.tick() => self.tick()?,
            }
            if !self.output.is_empty() {
                let written = timeout(self.setup.config.stall_timeout, writer.write_all(&self.output)).await;
                written.ok().and_then(std::result::Result::ok).ok_or_else(lost)?;
                self.output.clear();
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Join(join) => {
                let channel = Arc::clone(&join.channel);
                if let Some(number) = self.topics.join(join) {
                    self.send(redis::cmd("SSUBSCRIBE").arg(&*channel), Owed::Subscribed(number));
                }
            }
            Order::Leave { channel, member } => {
                if self.topics.leave(&channel, member) {
                    self.leave(channel);
                }
            }
        }
        self.used = Instant::now();
    }

    fn leave(&mut self, channel: Arc<str>) {
        redis::cmd("SUNSUBSCRIBE").arg(&*channel).write_packed_command(&mut self.output);
        self.send(&redis::cmd("PING"), Owed::Left(channel));
    }

    fn send(&mut self, command: &Cmd, owed: Owed) {
        command.write_packed_command(&mut self.output);
        self.owed.push_back((owed, Instant::now()));
    }

    /// Ends the channels whose slots another node serves: a node that is cut off from its cluster would not say so.
    fn review(&mut self) {
        let Some(shards) = self.shards.upgrade() else { return };
        let view = shards.view();
        let is_elsewhere = |channel: &str| {
            let shard = view.map.shard_index(slot_of(channel.as_bytes()));
            shard.is_some_and(|shard| view.map.shards()[shard].master != self.at)
        };
        for channel in self.topics.end_if(is_elsewhere) {
            self.leave(channel);
        }
    }

    fn tick(&mut self) -> Result<()> {
        if !self.topics.is_empty() {
            self.used = Instant::now();
        } else if self.used.elapsed() >= IDLE {
            return Err(Error::not_sent(ErrorKind::Unavailable, "the subscriber connection was not in use"));
        }
        if self.owed.is_empty() {
            self.send(&redis::cmd("PING"), Owed::Pong);
        }
        Ok(())
    }

    fn take(&mut self, decoder: &mut Decoder, mut input: &[u8]) -> Result<()> {
        while let Some(value) = decoder.decode(&mut input).map_err(|_| unexpected())? {
            match value {
                Value::ServerError(error) => self.refused(&server_error(&error))?,
                // Outside of a subscription a pong is no array.
                Value::SimpleString(_) => self.pong()?,
                Value::Array(fields) => self.told(Told::read(fields).ok_or_else(unexpected)?)?,
                _ => return Err(unexpected()),
            }
        }
        Ok(())
    }

    fn told(&mut self, told: Told) -> Result<()> {
        match told {
            Told::Message { channel, payload } => {
                if let Some(channel) = self.topics.deliver(&channel, &payload) {
                    self.leave(channel);
                }
            }
            Told::Subscribed => match self.owed.pop_front() {
                Some((Owed::Subscribed(number), _)) => self.topics.confirm(number),
                _ => return Err(unexpected()),
            },
            Told::Ended { channel } => {
                let is_reply = matches!(self.owed.front(), Some((Owed::Left(left), _)) if **left == *channel);
                if !is_reply {
                    self.topics.end(&channel);
                }
            }
            Told::Pong => self.pong()?,
        }
        Ok(())
    }

    fn pong(&mut self) -> Result<()> {
        match self.owed.pop_front() {
            Some((Owed::Pong | Owed::Left(_), _)) => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// An error reply: to a subscription, or to the end of one, for which it is as good as any.
    fn refused(&mut self, error: &Error) -> Result<()> {
        match self.owed.front() {
            Some((Owed::Subscribed(number), _)) => {
                self.topics.refuse(*number, &explained(error));
                self.owed.pop_front();
                Ok(())
            }
            Some((Owed::Left(_), _)) => Ok(()),
            _ => Err(error.restated()),
        }
    }
}

async fn authenticate(
    stream: &mut BoxStream,
    decoder: &mut Decoder,
    credentials: &Credentials,
) -> Result<()> {
    stream.write_all(&auth(credentials).get_packed_command()).await.map_err(|_| lost())?;
    let mut input = [0; READ_BUFFER];
    loop {
        let length = stream.read(&mut input).await.ok().filter(|length| *length > 0).ok_or_else(lost)?;
        match decoder.decode(&mut &input[..length]).map_err(|_| unexpected())? {
            Some(Value::ServerError(error)) => return Err(server_error(&error)),
            Some(_) => return Ok(()),
            None => {}
        }
    }
}

/// A server that does not know the command says so with no code of its own.
fn explained(error: &Error) -> Error {
    if error.code() == Some("ERR") {
        return Error::new(ErrorKind::Unsupported, Class::Fatal, "sharded channels need Redis 7.0")
            .with_source(error.restated());
    }
    error.restated()
}

fn lost() -> Error {
    Error::not_sent(ErrorKind::Unavailable, "the subscriber connection is lost")
}

fn unexpected() -> Error {
    Error::not_sent(ErrorKind::Protocol, "not what a subscriber is told")
}
