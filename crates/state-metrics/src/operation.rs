//! One finished operation, as the one door reports it.

use std::fmt;
use std::time::{Duration, Instant};

use crate::labels::{ErrorType, Op, Status};

/// A finished operation: what it was, how it ended, how long it took, what it moved.
///
/// Built where the operation ends, from the two clock readings that every layer shares.
#[derive(Clone, Copy)]
#[non_exhaustive]
#[must_use = "pass it to `Instruments::record`"]
pub struct Operation<'a> {
    /// What was asked.
    pub op: Op,
    /// How it ended.
    pub outcome: Outcome,
    /// When the caller asked.
    pub started: Instant,
    /// When the caller got the answer.
    pub ended: Instant,
    /// Bytes of values returned. Default: 0.
    pub read_bytes: u64,
    /// Bytes of values handed in to be written. Default: 0.
    pub written_bytes: u64,
    /// Keys that were there, of those read. Default: 0.
    pub hits: u32,
    /// Keys that were absent, of those read. Default: 0.
    pub misses: u32,
    /// Attempts made, the first included. Default: 1.
    pub attempts: u32,
    /// How much of the time went to queues, permits and pauses between attempts, as opposed to the network and
    /// the server. Default: zero.
    pub waited: Duration,
    /// The key, for the slow log and hot keys, which never show it as it is. Default: none.
    pub key: Option<&'a [u8]>,
    /// The node that answered, as `host:port`. Default: none.
    pub node: Option<&'a str>,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It did what was asked; a miss is a success.
    Success,
    /// It failed.
    Error(ErrorType),
    /// The caller dropped it before it ended.
    Cancelled,
}

impl Outcome {
    /// The `status` label of this outcome.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Success => Status::Success,
            Self::Error(_) => Status::Error,
            Self::Cancelled => Status::Cancelled,
        }
    }

    /// Why it failed, if it did.
    #[must_use]
    pub const fn error_type(self) -> Option<ErrorType> {
        match self {
            Self::Error(error_type) => Some(error_type),
            _ => None,
        }
    }
}

impl<'a> Operation<'a> {
    /// An operation that moved nothing and took one attempt.
    pub const fn new(op: Op, outcome: Outcome, started: Instant, ended: Instant) -> Self {
        Self {
            op,
            outcome,
            started,
            ended,
            read_bytes: 0,
            written_bytes: 0,
            hits: 0,
            misses: 0,
            attempts: 1,
            waited: Duration::ZERO,
            key: None,
            node: None,
        }
    }

    /// Sets the bytes returned and the bytes written.
    pub const fn with_bytes(mut self, read: u64, written: u64) -> Self {
        self.read_bytes = read;
        self.written_bytes = written;
        self
    }

    /// Sets how many keys were found and how many were not.
    pub const fn with_lookups(mut self, hits: u32, misses: u32) -> Self {
        self.hits = hits;
        self.misses = misses;
        self
    }

    /// Sets the attempts made, and the time that went to waiting.
    pub const fn with_attempts(mut self, attempts: u32, waited: Duration) -> Self {
        self.attempts = attempts;
        self.waited = waited;
        self
    }

    /// Sets the key.
    pub const fn with_key(mut self, key: &'a [u8]) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets the node that answered.
    pub const fn with_node(mut self, node: &'a str) -> Self {
        self.node = Some(node);
        self
    }

    /// The time from call to answer; zero should the clock have gone back.
    #[must_use]
    #[inline]
    pub fn elapsed(&self) -> Duration {
        self.ended.saturating_duration_since(self.started)
    }
}

/// Shows that there is a key, not which.
impl fmt::Debug for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("op", &self.op)
            .field("outcome", &self.outcome)
            .field("elapsed", &self.elapsed())
            .field("attempts", &self.attempts)
            .field("has_key", &self.key.is_some())
            .finish_non_exhaustive()
    }
}
