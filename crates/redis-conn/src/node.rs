//! One server and the connections to it.

use std::sync::Arc;

use redis::{Cmd, Value};
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::events::State;
use crate::link::{Link, Request};
use crate::options::{SetOptions, get_command};
use crate::reply;
use crate::setup::Setup;
use crate::supervisor::Supervised;

/// The server at an endpoint source, reached over a supervised shared connection.
pub(crate) struct Node {
    setup: Arc<Setup>,
    main: Supervised,
}

impl Node {
    /// Starts connecting; [`ready`](Self::ready) says when it is done.
    pub(crate) fn start(setup: Arc<Setup>) -> Self {
        let main = Supervised::start(&setup);
        Self { setup, main }
    }

    pub(crate) async fn ready(&self, deadline: Instant) -> Result<()> {
        self.main.ready(deadline).await
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

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.main.link
    }

    pub(crate) async fn send<R: Request>(&self, request: R, deadline: Instant) -> Result<R::Reply> {
        self.main.link.send(request, deadline).await
    }

    /// Sends, and says in which epoch of the connection; `u64::MAX`, which is none, when that is not certain.
    pub(crate) async fn send_in_epoch(&self, command: &Cmd, deadline: Instant) -> Result<(Value, u64)> {
        let epoch = self.link().live()?.epoch;
        let reply = self.send(command, deadline).await?;
        let after = self.link().live()?.epoch;
        Ok((reply, if after == epoch { epoch } else { u64::MAX }))
    }

    pub(crate) async fn get(&self, key: &[u8], deadline: Instant) -> Result<Option<Vec<u8>>> {
        reply::bytes(self.send(&get_command(key), deadline).await?)
    }

    pub(crate) async fn set(
        &self,
        key: &[u8],
        value: &[u8],
        options: SetOptions,
        deadline: Instant,
    ) -> Result<bool> {
        reply::written(self.send(&options.command(key, value), deadline).await?)
    }

    pub(crate) async fn close(&self) {
        self.main.stop().await;
    }
}
