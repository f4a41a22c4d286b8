//! What happens on the connections, as a stream.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::endpoint::Endpoint;
use crate::error::ErrorKind;

/// State of the shared connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// The first attempt, or the first one after a loss, is under way.
    Connecting,
    /// Connected: operations are sent.
    Up,
    /// Attempts have failed; operations fail at once and attempts go on.
    Down,
    /// The handle was closed.
    Closed,
}

/// Why a connection was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DownReason {
    /// The peer closed it, or reading or writing failed.
    Lost,
    /// A request stayed unanswered and no byte arrived for the stall timeout.
    Stalled,
    /// The node answered that it is not the master (`READONLY`, `MASTERDOWN`, `UNBLOCKED`).
    WrongRole,
    /// The server no longer accepts how we authenticated (`NOAUTH`, `WRONGPASS`).
    Auth,
    /// The master is another node now.
    Switched,
    /// The handle was closed.
    Closed,
}

/// Something that happened to the connections of a [`Conn`](crate::Conn).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A connection was established and checked.
    Connected {
        /// With which server.
        endpoint: Arc<Endpoint>,
        /// Grows with every loss or switch; dedicated connections of an earlier epoch are not used again.
        epoch: u64,
    },
    /// An attempt failed; the next one follows after the backoff.
    ConnectFailed {
        /// With which server, when one was known.
        endpoint: Option<Arc<Endpoint>>,
        /// Why.
        kind: ErrorKind,
    },
    /// Slots of the cluster are served by other nodes than before.
    TopologyChanged {
        /// Masters that serve slots now.
        masters: usize,
    },
    /// The connection was given up.
    Down {
        /// With which server.
        endpoint: Arc<Endpoint>,
        /// Why.
        reason: DownReason,
    },
}

/// A subscription to [`Event`]s. A slow reader misses the oldest ones (`RecvError::Lagged`) and holds nobody up.
pub type Events = broadcast::Receiver<Event>;
