//! One server and the connections to it.

use std::sync::{Arc, OnceLock};

use redis::{Cmd, Value};
use tokio::time::{Instant, timeout_at};

use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::events::State;
use crate::health::{Duty, Patient};
use crate::link::Link;
use crate::options::SetOptions;
use crate::pool::Pool;
use crate::reader::Reader;
use crate::reply;
use crate::request::Request;
use crate::setup::Setup;
use crate::supervisor::Supervised;
use crate::typed::{Get, Set, Typed};
use crate::wait::{Committer, Write};

/// The server at an endpoint source, reached over a supervised shared connection, and a second one for large
/// values.
pub(crate) struct Node {
    setup: Arc<Setup>,
    main: Supervised,
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
        let pool = Pool::start(&main.link);
        let reader = Reader::start(&setup);
        let committer = Committer::start(&setup);
        Self { setup, main, reader, committer, pool, large: OnceLock::new() }
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
        let epoch = self.link().on_current(|live| live.epoch)?;
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
        reply::bytes(self.perform(&Get(key), deadline).await?)
    }

    pub(crate) async fn set(
        &self,
        key: &[u8],
        value: &[u8],
        options: SetOptions,
        deadline: Instant,
    ) -> Result<bool> {
        let set = Set { key, value, options };
        reply::written(match &self.committer {
            Some(committer) => {
                let write = Write { command: set.command(), asking: false };
                committer.write(write, set.bytes(), deadline).await?
            }
            None => self.perform(&set, deadline).await?,
        })
    }

    /// Sends an operation, with others where enough is under way. Error replies come back as data.
    pub(crate) fn perform<T: Typed>(
        &self,
        operation: &T,
        deadline: Instant,
    ) -> impl Future<Output = Result<Value>> + Send {
        let bytes = operation.bytes();
        self.lane(bytes).perform(operation, bytes, deadline)
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
        let bytes = write.command.bytes();
        let unconfigured = || Error::not_sent(ErrorKind::Unsupported, "write_concern is Fast");
        self.committer.as_ref().ok_or_else(unconfigured)?.write(write, bytes, deadline).await
    }

    pub(crate) async fn close(&self) {
        self.pool.close();
        self.setup.source.close();
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
