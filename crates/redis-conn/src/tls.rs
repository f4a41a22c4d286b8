//! TLS: whom to trust, who we are, and one cached client configuration that is read again when files change.

use std::fmt;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustls::pki_types::ServerName;
use secrecy::SecretSlice;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::error::{Error, ErrorKind, Result};
use crate::stream::BoxStream;

mod failure;
mod load;

use failure::Failure;
pub(crate) use failure::explain;
use load::Loaded;

/// How often failing attempts may read the files again.
const REREAD_PAUSE: Duration = Duration::from_secs(1);

/// How TLS connections are made: whom to trust, and who we are.
///
/// Certificates and keys are read once, off the runtime's threads, and shared by all connections of a handle,
/// so that sessions resume. Files are read again before a connection attempt when
/// [`reload_after`](Self::reload_after) has passed or the last attempt failed in TLS, and by
/// [`Conn::reload_tls`](crate::Conn::reload_tls); material that cannot be read or parsed then leaves the last
/// good one in use. Connections that stand are not touched.
///
/// There is no way to switch verification off, and no fallback to plain text.
#[derive(Clone)]
#[non_exhaustive]
pub struct Tls {
    /// Authorities that may sign the server's certificate, `None` for those the operating system trusts.
    /// Default: `None`.
    pub roots: Option<Pem>,
    /// The client certificate presented to servers that ask for one (mTLS). Default: none.
    pub identity: Option<Identity>,
    /// Name the server's certificate has to carry, also sent as SNI. Default: the host that is dialled.
    pub server_name: Option<String>,
    /// Age from which on files are read again before a connection attempt. Default: 60 s.
    pub reload_after: Duration,
}

/// PEM text: as bytes, or as a file that is read again on every reload. Neither shows in `Debug`.
#[derive(Clone)]
pub enum Pem {
    /// The text itself.
    Bytes(SecretSlice<u8>),
    /// The path of a file that holds it.
    File(PathBuf),
}

/// A client certificate and its private key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, followed by intermediate ones if there are any.
    pub certificate: Pem,
    /// The private key: PKCS#8, SEC1 or PKCS#1, not encrypted.
    pub key: Pem,
}

impl Default for Tls {
    fn default() -> Self {
        Self { roots: None, identity: None, server_name: None, reload_after: Duration::from_secs(60) }
    }
}

impl Tls {
    /// Trusts these authorities, and no others.
    #[must_use]
    pub fn with_roots(mut self, roots: impl Into<Pem>) -> Self {
        self.roots = Some(roots.into());
        self
    }

    /// Presents this client certificate.
    #[must_use]
    pub fn with_identity(mut self, certificate: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        self.identity = Some(Identity { certificate: certificate.into(), key: key.into() });
        self
    }

    /// Sets [`server_name`](Self::server_name).
    #[must_use]
    pub fn with_server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Sets [`reload_after`](Self::reload_after).
    #[must_use]
    pub fn with_reload_after(mut self, age: Duration) -> Self {
        self.reload_after = age;
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        match self.server_name.as_deref().map(ServerName::try_from) {
            Some(Err(_)) => Err(Error::invalid("tls.server_name is neither a host name nor an address")),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("roots", &self.roots)
            .field("identity", &self.identity)
            .field("server_name", &self.server_name)
            .field("reload_after", &self.reload_after)
            .finish()
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes(_) => "Bytes(redacted)",
            Self::File(_) => "File(redacted)",
        })
    }
}

impl From<PathBuf> for Pem {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<Vec<u8>> for Pem {
    fn from(text: Vec<u8>) -> Self {
        Self::Bytes(text.into())
    }
}

/// Makes TLS streams for one handle, from one client configuration at a time.
pub(crate) struct TlsConnector {
    settings: Tls,
    loaded: ArcSwapOption<Loaded>,
    read_at: parking_lot::Mutex<Option<Instant>>,
    /// Held while files are read, so that attempts at the same time read them once.
    reading: Mutex<()>,
}

impl TlsConnector {
    pub(crate) fn new(settings: Tls) -> Self {
        Self {
            settings,
            loaded: ArcSwapOption::empty(),
            read_at: parking_lot::Mutex::new(None),
            reading: Mutex::new(()),
        }
    }

    /// Runs the TLS handshake on `stream` with the server called `host`. The caller bounds its time.
    ///
    /// # Errors
    /// `Tls` for anything about certificates and protocol, `Unavailable` when the connection breaks,
    /// `InvalidConfig` when our own certificates or key cannot be used.
    pub(crate) async fn connect(&self, host: &str, stream: BoxStream) -> Result<BoxStream> {
        let name = self.settings.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| Error::invalid("tls: the host is neither a name nor an address to verify"))?;
        let loaded = self.fresh().await?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&loaded.config));
        match connector.connect(name, stream).await {
            Ok(stream) => Ok(Box::new(Guarded { stream, loaded, proven: false })),
            Err(cause) => {
                loaded.doubt();
                Err(match Failure::of(&cause, loaded.wanted()) {
                    Some(failure) => failure.into(),
                    None => failure::broken(cause),
                })
            }
        }
    }

    /// Reads certificates and key again, whatever their age.
    ///
    /// # Errors
    /// `InvalidConfig`; the last good ones stay in use.
    pub(crate) async fn reload(&self) -> Result<()> {
        let _single = self.reading.lock().await;
        self.read().await.map(drop)
    }

    async fn fresh(&self) -> Result<Arc<Loaded>> {
        if let Some(loaded) = self.young() {
            return Ok(loaded);
        }
        let _single = self.reading.lock().await;
        if let Some(loaded) = self.young() {
            return Ok(loaded);
        }
        match (self.read().await, self.loaded.load_full()) {
            (Err(error), Some(last_good)) => {
                tracing::warn!(%error, "TLS certificates or key are unusable; the last good ones stay");
                Ok(last_good)
            }
            (outcome, _) => outcome,
        }
    }

    fn young(&self) -> Option<Arc<Loaded>> {
        let loaded = self.loaded.load_full()?;
        let limit = if loaded.is_doubted() { REREAD_PAUSE } else { self.settings.reload_after };
        let age = self.read_at.lock().map(|at| at.elapsed());
        age.is_some_and(|age| age < limit).then_some(loaded)
    }

    async fn read(&self) -> Result<Arc<Loaded>> {
        let settings = self.settings.clone();
        let read = tokio::task::spawn_blocking(move || load::load(&settings)).await;
        *self.read_at.lock() = Some(Instant::now());
        let read = read.map_err(|cause| {
            Error::not_sent(ErrorKind::Unavailable, "tls: reading the certificates was interrupted")
                .with_source(cause)
        })??;
        // The same material keeps the same configuration, and with it the sessions that can be resumed.
        if let Some(current) = self.loaded.load_full().filter(|current| current.is_same(&read)) {
            current.trust();
            return Ok(current);
        }
        let read = Arc::new(read);
        self.loaded.store(Some(Arc::clone(&read)));
        Ok(read)
    }
}

/// A TLS stream that explains why it ended before it began: under TLS 1.3 a server that refuses the client
/// certificate says so only after our side of the handshake is complete, by an alert or by a plain reset.
struct Guarded {
    stream: TlsStream<BoxStream>,
    loaded: Arc<Loaded>,
    /// Whether a byte of the server has arrived.
    proven: bool,
}

impl Guarded {
    fn explain(&self, cause: io::Error) -> io::Error {
        if self.proven {
            return cause;
        }
        self.loaded.doubt();
        match Failure::of(&cause, self.loaded.wanted()) {
            Some(failure) => failure.into(),
            None => cause,
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match ready!(Pin::new(&mut self.stream).poll_read(cx, buf)) {
            Ok(()) if buf.filled().len() > before => {
                if !mem::replace(&mut self.proven, true) {
                    self.loaded.accepted();
                }
            }
            Ok(()) if self.proven || buf.remaining() == 0 => {}
            Ok(()) => return Poll::Ready(Err(self.explain(io::ErrorKind::UnexpectedEof.into()))),
            Err(cause) => return Poll::Ready(Err(self.explain(cause))),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        Poll::Ready(outcome.map_err(|cause| self.explain(cause)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(outcome.map_err(|cause| self.explain(cause)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
