//! A connection that replaces itself: for users who bring none of their own.

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind as RedisKind, Pipeline, RedisError, RedisFuture, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tokio::time::Instant;

use crate::{Error, ErrorKind, Result};

/// How long a connect may take.
const CONNECT: Duration = Duration::from_secs(1);
/// A connection on which nothing was answered for this long, and not this many requests, is replaced: its peer may be
/// gone for good. One request without an answer may just have been dropped by its caller.
const SILENCE: (Duration, u32) = (Duration::from_secs(1), 3);

/// One multiplexed connection, made at first use, replaced when it breaks or falls silent.
///
/// A command that was sent is never sent again here. A connection under way is shared by all callers and
/// outlives each of them, so that short deadlines do not keep a slow server from being reached.
#[derive(Clone)]
pub struct Reconnecting(Arc<Inner>);

struct Inner {
    client: Client,
    slot: Mutex<Slot>,
}

type Connecting = Shared<BoxFuture<'static, std::result::Result<MultiplexedConnection, RedisError>>>;

#[derive(Default)]
struct Slot {
    current: Option<Connecting>,
    generation: u64,
    /// Since when nothing was answered, and how many requests.
    silent: Option<(Instant, u32)>,
}

impl Reconnecting {
    pub(crate) fn open(url: &str) -> Result<Self> {
        let client = Client::open(url).map_err(|error| {
            Error::new(ErrorKind::InvalidConfig, format!("node URL: {}", error.category()))
        })?;
        Ok(Self(Arc::new(Inner { client, slot: Mutex::default() })))
    }

    pub(crate) fn address(&self) -> String {
        self.0.client.get_connection_info().addr().to_string()
    }

    /// The connection for the next command, under way or made, and its generation.
    fn current(&self) -> (u64, Connecting) {
        let mut slot = self.0.slot.lock();
        if slot.silent.is_some_and(|(since, asked)| since.elapsed() >= SILENCE.0 && asked >= SILENCE.1) {
            slot.forget();
        }
        slot.silent.get_or_insert_with(|| (Instant::now(), 0)).1 += 1;
        let generation = slot.generation;
        let connecting = slot.current.get_or_insert_with(|| connect(self.0.client.clone()));
        (generation, connecting.clone())
    }

    async fn request<T>(
        &self,
        send: impl AsyncFnOnce(&mut MultiplexedConnection) -> std::result::Result<T, RedisError>,
    ) -> std::result::Result<T, RedisError> {
        let (generation, connecting) = self.current();
        let outcome = match connecting.await {
            Ok(mut connection) => send(&mut connection).await,
            Err(error) => Err(error),
        };
        let mut slot = self.0.slot.lock();
        let broken = outcome.as_ref().is_err_and(|error| error.code().is_none());
        if slot.generation == generation {
            if broken { slot.forget() } else { slot.silent = None }
        }
        drop(slot);
        outcome
    }
}

impl Slot {
    fn forget(&mut self) {
        *self = Self { generation: self.generation + 1, ..Self::default() };
    }
}

fn connect(client: Client) -> Connecting {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(None);
    let task =
        tokio::spawn(async move { client.get_multiplexed_async_connection_with_config(&config).await });
    let joined = task.map(|made| {
        made.unwrap_or_else(|_| Err(RedisError::from((RedisKind::Io, "the runtime of the connection ended"))))
    });
    joined.boxed().shared()
}

impl ConnectionLike for Reconnecting {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.request(async move |connection| connection.req_packed_command(cmd).await).boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let send = async move |connection: &mut MultiplexedConnection| {
            connection.req_packed_commands(pipeline, offset, count).await
        };
        self.request(send).boxed()
    }

    fn get_db(&self) -> i64 {
        self.0.client.get_connection_info().redis_settings().db()
    }
}

impl std::fmt::Debug for Reconnecting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reconnecting").field("address", &self.address()).finish_non_exhaustive()
    }
}
