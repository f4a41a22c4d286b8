//! The byte stream under a connection, and what passed through it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::budget::Budget;

/// What a dialer has to produce: TCP, Unix socket or TLS, all look the same above it.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

pub(crate) type BoxStream = Box<dyn ByteStream>;

/// What passed through one connection, readable while its pump owns the stream.
#[derive(Default)]
pub(crate) struct Traffic {
    read: AtomicU64,
    written: AtomicU64,
    severed: AtomicBool,
    closed: AtomicBool,
    /// What is in flight, where operations share the connection.
    budget: OnceLock<Arc<Budget>>,
}

impl Traffic {
    /// Bytes received so far.
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Ordering::Acquire)
    }

    /// Bytes the operating system accepted so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    pub(crate) fn note_read(&self, bytes: usize) {
        self.read.fetch_add(bytes as u64, Ordering::Release);
    }

    pub(crate) fn note_written(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Release);
    }

    /// Whether no byte can be written any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) || self.is_severed()
    }

    pub(crate) fn is_severed(&self) -> bool {
        self.severed.load(Ordering::Acquire)
    }

    /// The stream is gone.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// From here on the operations of `budget` share the connection.
    pub(crate) fn share(&self, budget: &Arc<Budget>) {
        let _ = self.budget.set(Arc::clone(budget));
    }

    /// Operations in flight, where they share the connection.
    pub(crate) fn in_flight(&self) -> usize {
        self.budget.get().map_or(0, |budget| budget.count())
    }

    /// Whether another operation is in flight, whose task may be about to send the next one.
    pub(crate) fn is_crowded(&self) -> bool {
        self.in_flight() > 1
    }

    /// Ends the connection for both directions: every later read or write fails.
    pub(crate) fn sever(&self) {
        self.severed.store(true, Ordering::Release);
    }
}
