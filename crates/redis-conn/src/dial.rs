//! Opens one connection: socket, options, driver, handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_ok;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::config::{Config, Tcp};
use crate::credentials::{Credentials, CredentialsProvider, FixedCredentials};
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::handshake::{Purpose, ServerInfo, handshake};
use crate::mux::Mux;
use crate::pump::Pump;
use crate::stream::{BoxStream, Traffic};
use crate::subscriber::SubscriberStream;
#[cfg(feature = "tls")]
use crate::tls::{TlsConnector, explain};

/// Opens connections as the configuration says.
pub(crate) struct Dialer {
    config: Arc<Config>,
    credentials: Arc<dyn CredentialsProvider>,
    #[cfg(feature = "tls")]
    tls: Option<Arc<TlsConnector>>,
    purpose: Purpose,
}

/// A connection whose handshake succeeded.
pub(crate) struct Dialed {
    pub(crate) mux: Mux,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) server: ServerInfo,
    pub(crate) driver: Driver,
}

/// The task that owns the socket. Dropping it closes the socket; its end is the connection's end.
pub(crate) struct Driver {
    task: JoinHandle<()>,
    traffic: Arc<Traffic>,
}

impl Driver {
    /// Completes when the connection is over.
    pub(crate) async fn ended(&mut self) {
        // A panic of the driver ends the connection as any other end does.
        let _ = (&mut self.task).await;
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.traffic.sever();
        self.task.abort();
    }
}

impl Dialer {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        let credentials = config
            .credentials_provider
            .clone()
            .unwrap_or_else(|| Arc::new(FixedCredentials(config.credentials.clone())));
        Self {
            #[cfg(feature = "tls")]
            tls: config.tls.clone().map(|tls| Arc::new(TlsConnector::new(tls))),
            config,
            credentials,
            purpose: Purpose::Any,
        }
    }

    /// Another dialer with the same credentials and certificates.
    pub(crate) fn sharing(&self, config: Arc<Config>, purpose: Purpose) -> Self {
        Self {
            config,
            credentials: Arc::clone(&self.credentials),
            #[cfg(feature = "tls")]
            tls: self.tls.clone(),
            purpose,
        }
    }

    /// Dials `endpoint` and runs the handshake, all within the dial timeout.
    ///
    /// # Errors
    /// `Timeout`, `Unavailable`, `Tls`, `Auth`, `Denied`, `InvalidConfig` (no such database), `Protocol`.
    pub(crate) async fn dial(&self, endpoint: &Endpoint) -> Result<Dialed> {
        let deadline = self.deadline();
        let stream = self.open(endpoint, deadline).await?;
        let credentials = self.credentials_by(deadline).await?;
        let late = || format!("{endpoint} accepted the connection, but gave no answer within dial_timeout");
        by(deadline, self.start(stream, endpoint, credentials.as_ref()), late).await
    }

    /// Opens the byte stream of a connection that subscribes, which no multiplexer drives, and says which credentials
    /// to present on it.
    pub(crate) async fn open_subscriber(
        &self,
        endpoint: &Endpoint,
    ) -> Result<(BoxStream, Option<Credentials>)> {
        let deadline = self.deadline();
        let stream = self.open(endpoint, deadline).await?;
        let stream = match &self.config.observer {
            Some(observer) => Box::new(SubscriberStream::new(stream, endpoint, observer)),
            None => stream,
        };
        Ok((stream, self.credentials_by(deadline).await?))
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.config.dial_timeout
    }

    async fn start(
        &self,
        stream: BoxStream,
        endpoint: &Endpoint,
        credentials: Option<&Credentials>,
    ) -> Result<Dialed> {
        let traffic = Arc::new(Traffic::default());
        let mux = Mux::new(Arc::clone(&traffic));
        let pump = Pump::new(stream, mux.clone());
        let driver = Driver { task: tokio::spawn(pump), traffic: Arc::clone(&traffic) };
        let greeted = handshake(&mux, &self.config, credentials, self.purpose).await;
        let server = greeted.map_err(|error| self.doubt(endpoint, error, traffic.read() > 0))?;
        Ok(Dialed { mux, traffic, server, driver })
    }

    /// The failure of a handshake, with the advice that a plain connection to a port that demands TLS needs: the server
    /// closes it without a word of RESP.
    fn doubt(&self, endpoint: &Endpoint, error: Error, was_answered: bool) -> Error {
        let says = match error.kind() {
            ErrorKind::Unavailable if !was_answered => "the server closed the connection without an answer",
            ErrorKind::Protocol => "the server does not speak RESP",
            _ => return error,
        };
        if self.config.has_tls() || matches!(endpoint, Endpoint::Unix(_)) {
            return error;
        }
        let context = format!("{endpoint}: {says}; if it demands TLS, write rediss");
        Error::not_sent(error.kind(), context).with_source(error)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Grows when the credentials have changed; `None` when they do not.
    pub(crate) fn rotations(&self) -> Option<watch::Receiver<u64>> {
        self.credentials.rotations()
    }

    pub(crate) async fn ask_credentials(&self) -> Result<Option<Credentials>> {
        self.credentials.credentials().await.map_err(|cause| {
            Error::not_sent(ErrorKind::Auth, "the credentials provider failed").with_cause(cause)
        })
    }

    async fn credentials_by(&self, deadline: Instant) -> Result<Option<Credentials>> {
        let late = || "the credentials provider gave no answer within dial_timeout".to_owned();
        by(deadline, self.ask_credentials(), late).await
    }

    async fn open(&self, endpoint: &Endpoint, deadline: Instant) -> Result<BoxStream> {
        let late = || format!("cannot connect to {endpoint} within dial_timeout");
        let stream = by(deadline, self.connect(endpoint), late).await?;
        #[cfg(feature = "tls")]
        if let (Some(tls), Endpoint::Tcp { host, .. }) = (&self.tls, endpoint) {
            // A plain server waits for the end of a line that never comes, so that nothing is known earlier.
            let late = || {
                format!(
                    "{endpoint} did not end the TLS handshake within dial_timeout; its port may not speak TLS, which rediss needs"
                )
            };
            return by(deadline, tls.connect(host, stream), late).await;
        }
        Ok(stream)
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<BoxStream> {
        let opened: io::Result<BoxStream> = match endpoint {
            Endpoint::Tcp { host, port } => {
                connect_tcp(host, *port, &self.config.tcp).await.map(|stream| Box::new(stream) as BoxStream)
            }
            Endpoint::Unix(path) => {
                UnixStream::connect(path).await.map(|stream| Box::new(stream) as BoxStream)
            }
        };
        opened.map_err(|cause| {
            Error::not_sent(ErrorKind::Unavailable, format!("cannot connect to {endpoint}"))
                .with_source(cause)
        })
    }

    /// Reads the TLS certificates again.
    #[cfg(feature = "tls")]
    pub(crate) async fn reload_tls(&self) -> Result<()> {
        match &self.tls {
            Some(tls) => tls.reload().await,
            None => Ok(()),
        }
    }
}

/// What a step of dialling comes to, or `Timeout` at `deadline`, with what was waited for.
async fn by<T>(
    deadline: Instant,
    step: impl Future<Output = Result<T>>,
    late: impl FnOnce() -> String,
) -> Result<T> {
    match timeout_at(deadline, step).await {
        #[cfg(feature = "tls")]
        Ok(outcome) => outcome.map_err(explain),
        #[cfg(not(feature = "tls"))]
        Ok(outcome) => outcome,
        Err(_) => Err(Error::not_sent(ErrorKind::Timeout, late())),
    }
}

/// Looks the name up anew each time, so that a changed record is followed, and dials all addresses at once.
async fn connect_tcp(host: &str, port: u16, settings: &Tcp) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    let dials = addresses.into_iter().map(|address| Box::pin(TcpStream::connect(address)));
    let (stream, _) = select_ok(dials).await?;
    apply(&stream, settings)?;
    Ok(stream)
}

fn apply(stream: &TcpStream, settings: &Tcp) -> io::Result<()> {
    stream.set_nodelay(settings.nodelay)?;
    let socket = SockRef::from(stream);
    if let Some(probes) = &settings.keepalive {
        let keepalive = TcpKeepalive::new()
            .with_time(probes.idle)
            .with_interval(probes.interval)
            .with_retries(probes.retries);
        socket.set_tcp_keepalive(&keepalive)?;
    }
    set_user_timeout(&socket, settings.user_timeout)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_user_timeout(socket: &SockRef<'_>, timeout: Option<Duration>) -> io::Result<()> {
    socket.set_tcp_user_timeout(timeout)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set_user_timeout(_: &SockRef<'_>, _: Option<Duration>) -> io::Result<()> {
    Ok(())
}
