//! The byte stream under a connection: counts what passes, and can be severed from outside.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::budget::Budget;

#[cfg(test)]
mod tests;

/// What a dialer has to produce: TCP, Unix socket or TLS, all look the same above it.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

pub(crate) type BoxStream = Box<dyn ByteStream>;

/// What passed through one connection, readable while its driver owns the stream.
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

    /// Whether no byte can be written any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) || self.severed.load(Ordering::Acquire)
    }

    /// From here on the operations of `budget` share the connection.
    pub(crate) fn share(&self, budget: &Arc<Budget>) {
        let _ = self.budget.set(Arc::clone(budget));
    }

    /// Whether another operation is in flight, whose task may be about to send the next one.
    fn is_crowded(&self) -> bool {
        self.budget.get().is_some_and(|budget| budget.count() > 1)
    }

    /// Ends the connection for both directions: every later read or write fails.
    pub(crate) fn sever(&self) {
        self.severed.store(true, Ordering::Release);
    }
}

/// The stream handed to the driver.
///
/// A task that sends wakes the driver, which tokio then runs before the other tasks that are ready, so that each
/// request would get a system call of its own. While several operations are in flight, a write therefore lets the
/// tasks that are ready go first, once; what they send travels with it.
pub(crate) struct Watched {
    stream: BoxStream,
    traffic: Arc<Traffic>,
    /// Whether what is being written has been put off.
    is_put_off: bool,
}

impl Watched {
    pub(crate) fn new(stream: BoxStream, traffic: Arc<Traffic>) -> Self {
        Self { stream, traffic, is_put_off: false }
    }

    fn check(&self) -> io::Result<()> {
        if self.traffic.severed.load(Ordering::Acquire) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "severed by the supervisor"));
        }
        Ok(())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.traffic.closed.store(true, Ordering::Release);
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        let gained = buf.filled().len() - before;
        if gained > 0 {
            self.traffic.read.fetch_add(gained as u64, Ordering::Release);
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        if !self.is_put_off && self.traffic.is_crowded() {
            self.is_put_off = true;
            // A task that wakes itself goes to the end of the line.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(accepted)) = result {
            self.traffic.written.fetch_add(accepted as u64, Ordering::Release);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_put_off = false;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
