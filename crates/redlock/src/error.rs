//! Why a lock was not had, node by node.

use std::{borrow::Cow, error::Error as StdError, fmt, time::Duration};

use crate::Fault;

/// Why a lock operation failed.
///
/// `Display` prints the kind and the context, and the cause is in [`source`](StdError::source). Where nodes
/// were asked, [`verdicts`](Self::verdicts) says what each of them answered.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    context: Cow<'static, str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    verdicts: Vec<NodeVerdict>,
}

/// What the caller can do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Others hold the lock, or wait for it in front of the caller: try again later.
    Held,
    /// Too few nodes answered for a decision: the state of the lock is unknown. Try again when they are back.
    Unavailable,
    /// Too few nodes may vote, because the others may have forgotten locks. It passes by itself, after the
    /// longest time to live; on a deployment that never held a lock, [`bootstrap`](crate::LockManager::bootstrap)
    /// ends it.
    Quarantined,
    /// The nodes agreed too late for the lock to be worth anything: use a longer time to live.
    TooLate,
    /// The lock was held and is not held any more: stop what it protected.
    Lost,
    /// An argument is outside of its documented range.
    InvalidInput,
    /// The settings, or the servers' settings, do not allow locking: correct them.
    InvalidConfig,
    /// A key of the lock holds data of another type: choose another prefix.
    WrongType,
    /// The manager was shut down.
    Closed,
}

/// The result of a lock operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What one node said in the last attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeVerdict {
    /// The node's label, as [`LockNode::label`](crate::LockNode::label) gives it.
    pub node: String,
    /// Its answer.
    pub verdict: Verdict,
}

/// An answer of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It granted the lock.
    Granted,
    /// Someone else holds the lock there, or is in front of the queue.
    Held {
        /// The owner label of the holder.
        owner: String,
        /// How much longer, as of the answer; zero when the node cannot tell.
        remaining: Duration,
    },
    /// It may have forgotten locks, and abstains for this long.
    Quarantined {
        /// How much longer.
        remaining: Duration,
    },
    /// It could not answer.
    Fault(Fault),
    /// The outcome was decided before it answered.
    Pending,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { kind, context: context.into(), source: None, verdicts: Vec::new() }))
    }

    pub(crate) fn with_verdicts(mut self, verdicts: Vec<NodeVerdict>) -> Self {
        let fault = verdicts.iter().find_map(|v| match &v.verdict {
            Verdict::Fault(fault) => Some(fault.clone()),
            _ => None,
        });
        self.0.source = fault.map(|fault| Box::new(fault) as _);
        self.0.verdicts = verdicts;
        self
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was attempted, without names of locks.
    pub fn context(&self) -> &str {
        &self.0.context
    }

    /// What each node answered in the last attempt, in the order of the nodes; empty where none was asked.
    pub fn verdicts(&self) -> &[NodeVerdict] {
        &self.0.verdicts
    }
}

impl ErrorKind {
    fn sentence(self) -> &'static str {
        match self {
            Self::Held => "the lock is held by another",
            Self::Unavailable => "too few nodes answered",
            Self::Quarantined => "too few nodes may vote",
            Self::TooLate => "the lock was granted too late to be valid",
            Self::Lost => "the lock is not held any more",
            Self::InvalidInput => "invalid argument",
            Self::InvalidConfig => "invalid configuration",
            Self::WrongType => "a key of the lock holds other data",
            Self::Closed => "the lock manager is shut down",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.sentence(), self.0.context)?;
        for (i, NodeVerdict { node, verdict }) in self.0.verdicts.iter().enumerate() {
            write!(f, "{}{node}: {verdict}", if i == 0 { " (" } else { ", " })?;
        }
        f.write_str(if self.0.verdicts.is_empty() { "" } else { ")" })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted => f.write_str("granted"),
            Self::Held { owner, remaining } => write!(f, "held by {owner} for {remaining:?}"),
            Self::Quarantined { remaining } => write!(f, "quarantined for {remaining:?}"),
            Self::Fault(fault) => fault.fmt(f),
            Self::Pending => f.write_str("no answer yet"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("context", &self.0.context)
            .field("verdicts", &self.0.verdicts)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}
