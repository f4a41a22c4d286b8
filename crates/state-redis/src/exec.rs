//! The one door: every operation on the servers goes through here, and nowhere else.

use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use redis_conn::{Conn, Dedicated, Scan, ScanOptions};
use state_core::StateResult;
use tokio::time::Instant;

use crate::error;

/// What goes through the door, for errors and for everything else that treats operations by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    Put,
    Delete,
    Clear,
    Contains,
    GetAndDelete,
    CompareAndSwap,
    Increment,
    Ttl,
    Expire,
    Persist,
    BatchGet,
    BatchPut,
    BatchPutIfAbsent,
    BatchDelete,
    Scan,
    ScanEntries,
    HealthCheck,
    Dedicated,
}

impl Operation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Clear => "clear",
            Self::Contains => "contains",
            Self::GetAndDelete => "get_and_delete",
            Self::CompareAndSwap => "compare_and_swap",
            Self::Increment => "increment",
            Self::Ttl => "ttl",
            Self::Expire => "expire",
            Self::Persist => "persist",
            Self::BatchGet => "batch_get",
            Self::BatchPut => "batch_put",
            Self::BatchPutIfAbsent => "batch_put_if_absent",
            Self::BatchDelete => "batch_delete",
            Self::Scan => "scan",
            Self::ScanEntries => "scan_entries",
            Self::HealthCheck => "health_check",
            Self::Dedicated => "dedicated",
        }
    }

    /// Whether it may change something, so that its loss may be ambiguous.
    pub(crate) fn writes(self) -> bool {
        use Operation::{BatchGet, Contains, Dedicated, Get, HealthCheck, Scan, ScanEntries, Ttl};
        !matches!(self, Get | Contains | Ttl | BatchGet | Scan | ScanEntries | HealthCheck | Dedicated)
    }
}

/// The door: reads the clock once, lends the connection, and translates errors.
#[derive(Clone)]
pub(crate) struct Door {
    conn: Conn,
    command_timeout: Duration,
}

impl Door {
    pub(crate) fn new(conn: Conn, command_timeout: Duration) -> Self {
        Self { conn, command_timeout }
    }

    /// Runs `attempt`, which gets the deadline of the operation and keeps to it on `conn`.
    pub(crate) async fn run<'a, T, F>(
        &'a self,
        operation: Operation,
        attempt: impl Fn(&'a Conn, Instant) -> F,
    ) -> StateResult<T>
    where
        F: Future<Output = redis_conn::Result<T>>,
    {
        let deadline = Instant::now() + self.command_timeout;
        attempt(&self.conn, deadline).await.map_err(|cause| error::from_conn(operation, cause))
    }

    /// Runs one command.
    pub(crate) async fn command(&self, operation: Operation, command: &Cmd) -> StateResult<Value> {
        self.run(operation, |conn, deadline| conn.run(command, deadline)).await
    }

    /// Runs several commands as one request, and returns a result for each.
    pub(crate) async fn pipeline(
        &self,
        operation: Operation,
        pipeline: &Pipeline,
    ) -> StateResult<Vec<StateResult<Value>>> {
        let replies = self.run(operation, |conn, deadline| conn.run_pipeline(pipeline, deadline)).await?;
        let translate =
            |reply: redis_conn::Result<Value>| reply.map_err(|cause| error::from_conn(operation, cause));
        Ok(replies.into_iter().map(translate).collect())
    }

    /// A walk over the servers' keys; [`page`](Self::page) turns its pages.
    pub(crate) fn scan(&self, options: ScanOptions) -> Scan {
        self.conn.scan(options)
    }

    /// The next page of a walk, `None` after the last. Each page has the time of an operation.
    pub(crate) async fn page(
        &self,
        operation: Operation,
        scan: &mut Scan,
    ) -> StateResult<Option<Vec<Vec<u8>>>> {
        let deadline = Instant::now() + self.command_timeout;
        scan.next(deadline).await.map_err(|cause| error::from_conn(operation, cause))
    }

    /// A dedicated connection, waited for as long as the pool's settings say.
    pub(crate) async fn dedicated(&self) -> StateResult<Dedicated> {
        self.conn.dedicated().await.map_err(|cause| error::from_conn(Operation::Dedicated, cause))
    }

    pub(crate) async fn close(&self) {
        self.conn.close().await;
    }
}
