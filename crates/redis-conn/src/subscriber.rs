//! The byte stream of a connection that subscribes: the observer is told how long it is there.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::endpoint::Endpoint;
use crate::observe::Observer;
use crate::stream::BoxStream;

/// Tells of its beginning and its end. Whoever owns it then, and however that task ends: what was told of is open.
pub(crate) struct SubscriberStream {
    stream: BoxStream,
    endpoint: Endpoint,
    observer: Arc<dyn Observer>,
}

impl SubscriberStream {
    pub(crate) fn new(stream: BoxStream, endpoint: &Endpoint, observer: &Arc<dyn Observer>) -> Self {
        observer.subscriber_opened(endpoint);
        Self { stream, endpoint: endpoint.clone(), observer: Arc::clone(observer) }
    }
}

impl Drop for SubscriberStream {
    fn drop(&mut self) {
        self.observer.subscriber_closed(&self.endpoint);
    }
}

impl AsyncRead for SubscriberStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for SubscriberStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
