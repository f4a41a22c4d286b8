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
use tokio::time::timeout;

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
        self.bounded(async {
            let stream = self.open(endpoint).await?;
            let credentials = self.ask_credentials().await?;
            self.start(stream, credentials.as_ref()).await
        })
        .await
    }

    /// Opens the byte stream of a connection that subscribes, which no multiplexer drives, and says which credentials
    /// to present on it.
    pub(crate) async fn open_subscriber(
        &self,
        endpoint: &Endpoint,
    ) -> Result<(BoxStream, Option<Credentials>)> {
        self.bounded(async {
            let stream = self.open(endpoint).await?;
            let stream = match &self.config.observer {
                Some(observer) => Box::new(SubscriberStream::new(stream, endpoint, observer)),
                None => stream,
            };
            Ok((stream, self.ask_credentials().await?))
        })
        .await
    }

    async fn bounded<T>(&self, dialing: impl Future<Output = Result<T>>) -> Result<T> {
        match timeout(self.config.dial_timeout, dialing).await {
            #[cfg(feature = "tls")]
            Ok(outcome) => outcome.map_err(explain),
            #[cfg(not(feature = "tls"))]
            Ok(outcome) => outcome,
            Err(_) => Err(Error::not_sent(ErrorKind::Timeout, "no connection within dial_timeout")),
        }
    }

    async fn start(&self, stream: BoxStream, credentials: Option<&Credentials>) -> Result<Dialed> {
        let traffic = Arc::new(Traffic::default());
        let mux = Mux::new(Arc::clone(&traffic));
        let pump = Pump::new(stream, mux.clone());
        let driver = Driver { task: tokio::spawn(pump), traffic: Arc::clone(&traffic) };
        let server = handshake(&mux, &self.config, credentials, self.purpose).await?;
        Ok(Dialed { mux, traffic, server, driver })
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

    async fn open(&self, endpoint: &Endpoint) -> Result<BoxStream> {
        let opened: io::Result<BoxStream> = match endpoint {
            Endpoint::Tcp { host, port } => {
                connect_tcp(host, *port, &self.config.tcp).await.map(|stream| Box::new(stream) as BoxStream)
            }
            Endpoint::Unix(path) => {
                UnixStream::connect(path).await.map(|stream| Box::new(stream) as BoxStream)
            }
        };
        let stream = opened.map_err(|cause| {
            Error::not_sent(ErrorKind::Unavailable, format!("cannot connect to {endpoint}"))
                .with_source(cause)
        })?;
        #[cfg(feature = "tls")]
        if let (Some(tls), Endpoint::Tcp { host, .. }) = (&self.tls, endpoint) {
            return tls.connect(host, stream).await;
        }
        Ok(stream)
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
