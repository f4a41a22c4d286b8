//! The seam between the algorithms and a store: one authority that can vote.

use std::time::Duration;

use async_trait::async_trait;

use crate::{Claim, Place};

/// One authority that grants holds: a Redis server, or whatever a test puts in its place.
///
/// Every operation is idempotent by the claim's id, measures time with the node's own clock, and is atomic on
/// the node. Deadlines are the caller's: an operation may be dropped at any time, with or without effect.
#[async_trait]
pub trait LockNode: Send + Sync + 'static {
    /// A short name for errors and observers, without credentials.
    fn label(&self) -> &str;

    /// What the node is. Asked once, before its first vote.
    async fn inspect(&self) -> Result<NodeInfo, Fault>;

    /// Holds all resources of the claim, or none of them.
    async fn acquire(&self, claim: &Claim) -> Result<Vote, Fault>;

    /// Holds the claim's one resource, or waits in its queue; repeated as the waiter's heartbeat.
    async fn enqueue(&self, claim: &Claim, place: &Place) -> Result<Vote, Fault>;

    /// Prolongs a hold to at least `ttl` from now. Never re-creates and never shortens one.
    async fn extend(&self, claim: &Claim, ttl: Duration) -> Result<Standing, Fault>;

    /// Lifts the token counters of a hold to `token`; answers how high they stand now, and `None` when the hold
    /// is not the claim's.
    async fn raise(&self, claim: &Claim, token: u64) -> Result<Option<u64>, Fault>;

    /// Ends a hold or a wait. With a burial the id cannot be granted for that long afterwards, whatever is
    /// still on its way.
    async fn release(&self, claim: &Claim, burial: Option<Duration>) -> Result<Standing, Fault>;

    /// Ids of the holders of the claim's first resource, and for how long each still holds it.
    async fn peek(&self, claim: &Claim) -> Result<Vec<(String, Duration)>, Fault>;

    /// Ends the node's quarantine, on the operator's word that no lock can be held.
    async fn bootstrap(&self, epoch_key: &str) -> Result<(), Fault>;
}

/// A node's answer to an acquire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vote {
    /// The hold is the claim's, with this token.
    Granted {
        /// Higher than any the node knows of for these resources.
        token: u64,
    },
    /// Another has it.
    Held {
        /// The id of the holder.
        holder: String,
        /// How much longer; zero when unknown.
        remaining: Duration,
    },
    /// The claim waits in the queue.
    Waiting {
        /// The id of a holder, empty when it is only others that wait.
        holder: String,
        /// How much longer it holds; zero when unknown.
        remaining: Duration,
        /// The claim's place, to be given again in [`Place::score`].
        score: String,
    },
    /// The node abstains.
    Quarantined {
        /// How much longer.
        remaining: Duration,
    },
    /// The attempt was released with a burial before this request arrived.
    Dead,
}

/// Whose a hold is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The claim's.
    Held,
    /// Nobody's.
    Missing,
    /// Another's.
    Stolen,
}

/// What a node says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeInfo {
    /// Tells processes apart: two nodes of a quorum with the same one are one node.
    pub run_id: String,
    /// Why it cannot be trusted with locks; empty when it can.
    pub unfit: Vec<&'static str>,
    /// Why it cannot be one of several independent masters; empty when it can.
    pub unfit_for_quorum: Vec<&'static str>,
}

/// Why a node did not answer a question.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Not within the node timeout. The request may have taken effect.
    Timeout,
    /// The connection failed. The request may have taken effect.
    Io(String),
    /// The server takes no writes: a replica, or too few replicas connected, or a full disk.
    ReadOnly,
    /// A key of the lock holds other data.
    WrongType,
    /// The server refused, with this code (for example `NOPERM`, `LOADING`, `OOM`).
    Refused(String),
    /// The server's settings rule it out.
    Unfit(&'static str),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timeout => f.write_str("no answer within the node timeout"),
            Self::Io(what) => write!(f, "connection failed: {what}"),
            Self::ReadOnly => f.write_str("takes no writes"),
            Self::WrongType => f.write_str("a key holds other data"),
            Self::Refused(code) => write!(f, "refused with {code}"),
            Self::Unfit(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Fault {}
