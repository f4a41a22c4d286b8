//! One server and the connections to it.

use std::sync::{Arc, OnceLock};

use redis::{Cmd, Value};
use tokio::time::{Instant, timeout_at};

use crate::batch::Batcher;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::events::State;
use crate::health::{Duty, Patient};
use crate::link::Link;
use crate::options::{SetOptions, get_command};
use crate::pool::Pool;
use crate::reader::Reader;
use crate::reply;
use crate::request::Request;
use crate::setup::Setup;
use crate::supervisor::Supervised;
use crate::wait::{Committer, Write};

/// The server at an endpoint source, reached over a supervised shared connection, and a second one for large
/// values.
pub(crate) struct Node {
    setup: Arc<Setup>,
    main: Supervised,
    batcher: Option<Batcher>,
    /// For typed reads from a replica.
    reader: Option<Reader>,
    /// For writes that replicas have to confirm.
    committer: Option<Committer>,
    pool: Arc<Pool>,
    /// Opened by the first large value, so that those never stand before small ones.
    large: OnceLock<Supervised>,
}

impl Node {
    /// Starts connecting; [`ready`](Self::ready) says when it is done.
    pub(crate) fn start(setup: Arc<Setup>) -> Self {
        let main = Supervised::start(&setup);
        let batcher = Batcher::start(&main.link);
        let pool = Pool::start(&main.link);
        let reader = Reader::start(&setup);
        let committer = Committer::start(&setup);
        Self { setup, main, batcher, reader, committer, pool, large: OnceLock::new() }
    }

    /// Waits for the shared connection.
    pub(crate) async fn connected(&self, deadline: Instant) -> Result<()> {
        self.main.ready(deadline).await
    }

    /// Waits for all connections that operations may need.
    pub(crate) async fn ready(&self, deadline: Instant) -> Result<()> {
        self.connected(deadline).await?;
        if let Some(reader) = &self.reader {
            reader.ready(deadline).await?;
        }
        if let Some(committer) = &self.committer {
            committer.ready(deadline).await?;
        }
        let warm = timeout_at(deadline, self.pool.warm()).await;
        warm.unwrap_or_else(|_| Err(Error::not_sent(ErrorKind::Timeout, "opening pool.min connections")))
    }

    pub(crate) fn setup(&self) -> &Arc<Setup> {
        &self.setup
    }

    pub(crate) fn state(&self) -> State {
        self.main.link.status.borrow().state
    }

    /// Where it is connected to now.
    pub(crate) fn endpoint(&self) -> Option<Arc<Endpoint>> {
        self.main.link.current.load().as_ref().map(|live| Arc::clone(&live.endpoint))
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// What its health depends on: the shared connection, and the one to read over.
    pub(crate) fn patients(&self, patients: &mut Vec<Patient>) {
        patients.push(Patient::new(&self.main.link, Duty::Master));
        patients.extend(self.reader.as_ref().map(|reader| Patient::new(reader.link(), Duty::Replica)));
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.main.link
    }

    pub(crate) async fn send<R: Request>(&self, request: R, deadline: Instant) -> Result<R::Reply> {
        let bytes = request.bytes();
        self.lane(bytes).send(request, bytes, deadline).await
    }

    /// Sends, and says in which epoch of the connection; `u64::MAX`, which is none, when that is not certain.
    pub(crate) async fn send_in_epoch(&self, command: &Cmd, deadline: Instant) -> Result<(Value, u64)> {
        let epoch = self.link().live_for_caller()?.epoch;
        let reply = self.send(command, deadline).await?;
        let after = self.link().live()?.epoch;
        Ok((reply, if after == epoch { epoch } else { u64::MAX }))
    }

    pub(crate) async fn get(&self, key: &[u8], deadline: Instant) -> Result<Option<Vec<u8>>> {
        if let Some(reader) = &self.reader
            && let Some(answer) = reader.get(key, deadline).await
        {
            return reply::bytes(answer?);
        }
        reply::bytes(match self.batcher_if_due(key.len()) {
            Some(batcher) => batcher.get(key, deadline).await?,
            None => self.send(&get_command(key), deadline).await?,
        })
    }

    pub(crate) async fn set(
        &self,
        key: &[u8],
        value: &[u8],
        options: SetOptions,
        deadline: Instant,
    ) -> Result<bool> {
        let (command, bytes) = (options.command(key, value), key.len() + value.len());
        reply::written(match (&self.committer, self.batcher_if_due(bytes)) {
            (Some(committer), _) => {
                committer.write(Write { command, asking: false }, bytes, deadline).await?
            }
            (None, Some(batcher)) => batcher.set(command, bytes, deadline).await?,
            (None, None) => self.send(&command, deadline).await?,
        })
    }

    /// Sends a command, with others where enough is under way. Error replies come back as data.
    pub(crate) async fn call(&self, command: &Cmd, deadline: Instant) -> Result<Value> {
        let bytes = command.bytes();
        match self.batcher_if_due(bytes) {
            Some(batcher) => batcher.set(command.clone(), bytes, deadline).await,
            None => self.send(command, deadline).await,
        }
    }

    /// Sends a write under the configured write concern. Error replies come back as data.
    pub(crate) async fn write(&self, command: &Cmd, deadline: Instant) -> Result<Value> {
        match &self.committer {
            Some(committer) => {
                let write = Write { command: command.clone(), asking: false };
                committer.write(write, command.bytes(), deadline).await
            }
            None => self.send(command, deadline).await,
        }
    }

    /// Sends a write that replicas have to confirm. Error replies come back as data.
    pub(crate) async fn confirm(&self, write: Write, deadline: Instant) -> Result<Value> {
        let bytes = (&write.command).bytes();
        let unconfigured = || Error::not_sent(ErrorKind::Unsupported, "write_concern is Fast");
        self.committer.as_ref().ok_or_else(unconfigured)?.write(write, bytes, deadline).await
    }

    pub(crate) async fn close(&self) {
        self.pool.close();
        self.main.stop().await;
        if let Some(reader) = &self.reader {
            reader.stop().await;
        }
        if let Some(committer) = &self.committer {
            committer.stop().await;
        }
        if let Some(large) = self.large.get() {
            large.stop().await;
        }
    }

    fn batcher_if_due(&self, bytes: usize) -> Option<&Batcher> {
        let small = bytes < self.setup.config.batching.large_value;
        self.batcher.as_ref().filter(|batcher| small && batcher.is_due())
    }

    /// The connection for a command of this size. A large one takes the main connection as long as its own is
    /// not up.
    fn lane(&self, bytes: usize) -> &Link {
        if bytes < self.setup.config.batching.large_value {
            return &self.main.link;
        }
        let large = self.large.get_or_init(|| Supervised::start(&self.setup));
        if large.link.live().is_ok() { &large.link } else { &self.main.link }
    }
}
