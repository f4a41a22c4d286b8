//! The two seams for instruments and breakers: an observer that is told, a gate that is asked.

use std::fmt;
use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::error::{Class, Error, ErrorKind};
use crate::events::DownReason;

/// Told what happens on the connections. Every method does nothing by default; they are called on the path of
/// operations, so an implementation has to be quick and must not block.
pub trait Observer: Send + Sync + 'static {
    /// A connection was established after `took`.
    fn connected(&self, endpoint: &Endpoint, took: Duration) {
        let _ = (endpoint, took);
    }

    /// A connection attempt failed. `endpoint` is `None` when no server was known to dial.
    fn connect_failed(&self, endpoint: Option<&Endpoint>, error: &Error) {
        let _ = (endpoint, error);
    }

    /// A connection was given up.
    fn disconnected(&self, endpoint: &Endpoint, reason: DownReason) {
        let _ = (endpoint, reason);
    }

    /// A connection that is to subscribe was opened: of a [`Subscription`](crate::Subscription), of sharded channels, to
    /// a sentinel. The methods above are not told of these.
    fn subscriber_opened(&self, endpoint: &Endpoint) {
        let _ = endpoint;
    }

    /// Such a connection was closed, by whom ever and for whatever reason.
    fn subscriber_closed(&self, endpoint: &Endpoint) {
        let _ = endpoint;
    }

    /// An operation waited this long for the in-flight budget.
    fn queued(&self, waited: Duration) {
        let _ = waited;
    }

    /// A batch of `members` operations was sent as one request.
    fn batch_sent(&self, kind: BatchKind, members: usize) {
        let _ = (kind, members);
    }

    /// A caller got a dedicated connection after `waited`.
    fn pool_waited(&self, waited: Duration) {
        let _ = waited;
    }
}

/// The sort of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BatchKind {
    /// Reads.
    Get,
    /// Writes.
    Set,
}

/// Asked before each request whether its endpoint may be used: the place for one circuit breaker an endpoint. A
/// pipeline and a batch are one request. It must neither block nor wait.
pub trait EndpointGate: Send + Sync + 'static {
    /// `None` refuses the operation, which then fails with [`ErrorKind::Rejected`] and nothing sent.
    fn admit(&self, endpoint: &Endpoint) -> Option<Permit>;
}

/// Admission of one operation; told the outcome once. Dropping it without an outcome reports
/// [`Outcome::Cancelled`].
pub struct Permit(Option<Box<dyn Settle>>);

/// What a gate keeps of an admitted operation.
pub trait Settle: Send {
    /// The operation is over.
    fn settle(self: Box<Self>, outcome: Outcome);
}

/// How an admitted operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The server answered, be it with an error about the command itself.
    Success,
    /// It failed; kind and class say how.
    Failure {
        /// What the caller can do.
        kind: ErrorKind,
        /// What is known about the server having run it.
        class: Class,
    },
    /// The caller dropped it: says nothing about the endpoint.
    Cancelled,
}

impl Permit {
    /// A permit whose outcome nobody wants; allocates nothing.
    pub fn untracked() -> Self {
        Self(None)
    }

    /// A permit that reports its outcome to `settle`.
    pub fn tracked(settle: Box<dyn Settle>) -> Self {
        Self(Some(settle))
    }

    pub(crate) fn finish<T>(mut self, result: &Result<T, Error>) {
        if let Some(settle) = self.0.take() {
            settle.settle(match result {
                Ok(_) => Outcome::Success,
                Err(error) if error.class() == Class::Reply => Outcome::Success,
                Err(error) => Outcome::Failure { kind: error.kind(), class: error.class() },
            });
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(settle) = self.0.take() {
            settle.settle(Outcome::Cancelled);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("tracked", &self.0.is_some()).finish()
    }
}
