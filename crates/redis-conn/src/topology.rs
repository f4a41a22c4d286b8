//! The seam between the handle and what stands behind it: one node, or a router over many.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use redis::{Cmd, Value};
use tokio::time::Instant;

use crate::error::Result;
use crate::node::Node;
use crate::options::SetOptions;
use crate::request::Piped;
use crate::setup::Setup;

/// What a handle sends its operations to.
pub(crate) trait Topology: Send + Sync + 'static {
    /// The node that serves every key, where there is one: operations then go to it directly, without the box
    /// that the methods below need.
    fn single(&self) -> Option<&Node>;

    /// What the parts of this handle share.
    fn setup(&self) -> &Arc<Setup>;

    /// Sends a command to the node its keys live on. Error replies come back as data.
    fn send<'a>(&'a self, command: &'a Cmd, deadline: Instant) -> BoxFuture<'a, Result<Value>>;

    /// Sends a pipeline, split by node where need be. Error replies of members come back as data.
    fn send_pipeline<'a>(
        &'a self,
        pipeline: Piped<'a>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Value>>>;

    /// Reads a string, batched with others of its node.
    fn get<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Option<Vec<u8>>>>;

    /// Writes a string, batched with others of its node.
    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: &'a [u8],
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool>>;

    /// Ends all connections; returns when they are closed.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// The topology of a single node, fixed or followed by its endpoint source.
impl Topology for Node {
    fn single(&self) -> Option<&Node> {
        Some(self)
    }

    fn setup(&self) -> &Arc<Setup> {
        self.setup()
    }

    fn send<'a>(&'a self, command: &'a Cmd, deadline: Instant) -> BoxFuture<'a, Result<Value>> {
        Box::pin(self.send(command, deadline))
    }

    fn send_pipeline<'a>(
        &'a self,
        pipeline: Piped<'a>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Value>>> {
        Box::pin(self.send(pipeline, deadline))
    }

    fn get<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Option<Vec<u8>>>> {
        Box::pin(self.get(key, deadline))
    }

    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: &'a [u8],
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(self.set(key, value, options, deadline))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.close())
    }
}
