//! The scrape endpoint: one port, three paths, bounded in every direction.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::config::Naming;
use crate::error::{Error, ErrorKind, Result};
use crate::health::{AlwaysUp, HealthSource};
use crate::prometheus::Prometheus;
use crate::routes::Routes;

/// A request's head may not be larger, in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// A request may not have more headers.
const MAX_HEADERS: usize = 64;
/// How long to wait after the system refused to accept, as it does without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Settings of the [`Exporter`].
#[derive(Clone)]
#[non_exhaustive]
pub struct ExporterConfig {
    /// Where to listen; port 0 takes a free one. The endpoint has no authentication. Default: `127.0.0.1:9464`.
    pub address: SocketAddr,
    /// The naming of the recorder that [`Exporter::install`] makes. Default: [`Naming::Prometheus`].
    pub naming: Naming,
    /// Where `/healthz` and `/readyz` get their answers. Default: [`AlwaysUp`].
    pub health: Arc<dyn HealthSource>,
    /// A health source that takes longer counts as down. 1 ms to 1 min. Default: 2 s.
    pub health_timeout: Duration,
    /// A connection that has not sent its request and taken the answer by then is closed. 1 ms to 5 min.
    /// Default: 10 s.
    pub connection_timeout: Duration,
    /// Connections served at once, 1 to 10,000; further ones wait in the listen queue. Default: 64.
    pub max_connections: usize,
}

impl Default for ExporterConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 9464)),
            naming: Naming::default(),
            health: Arc::new(AlwaysUp),
            health_timeout: Duration::from_secs(2),
            connection_timeout: Duration::from_secs(10),
            max_connections: 64,
        }
    }
}

impl ExporterConfig {
    /// The default settings on another address.
    pub fn new(address: impl Into<SocketAddr>) -> Self {
        Self { address: address.into(), ..Self::default() }
    }

    /// Sets [`naming`](Self::naming).
    #[must_use]
    pub fn with_naming(mut self, naming: Naming) -> Self {
        self.naming = naming;
        self
    }

    /// Sets [`health`](Self::health).
    #[must_use]
    pub fn with_health(mut self, health: Arc<dyn HealthSource>) -> Self {
        self.health = health;
        self
    }

    /// Sets [`health_timeout`](Self::health_timeout).
    #[must_use]
    pub fn with_health_timeout(mut self, timeout: Duration) -> Self {
        self.health_timeout = timeout;
        self
    }

    /// Sets [`connection_timeout`](Self::connection_timeout).
    #[must_use]
    pub fn with_connection_timeout(mut self, timeout: Duration) -> Self {
        self.connection_timeout = timeout;
        self
    }

    /// Sets [`max_connections`](Self::max_connections).
    #[must_use]
    pub fn with_max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    fn validate(&self) -> Result<()> {
        let between =
            |value: Duration, most| (Duration::from_millis(1)..=Duration::from_secs(most)).contains(&value);
        let checks = [
            (between(self.health_timeout, 60), "health_timeout: 1 ms to 1 min"),
            (between(self.connection_timeout, 300), "connection_timeout: 1 ms to 5 min"),
            ((1..=10_000).contains(&self.max_connections), "max_connections: 1 to 10,000"),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, what)| Err(Error::invalid(what)))
    }
}

/// The running endpoint: `/metrics`, `/healthz` and `/readyz`.
///
/// Dropping it stops accepting and lets requests under way finish; [`shutdown`](Self::shutdown) also waits for
/// them.
#[derive(Debug)]
pub struct Exporter {
    address: SocketAddr,
    prometheus: Prometheus,
    stop: watch::Sender<()>,
    server: JoinHandle<()>,
}

impl Exporter {
    /// Takes the port, makes a Prometheus recorder the global one, and serves both. When either fails, neither
    /// stays.
    ///
    /// # Errors
    /// `AddressUnavailable` when the address cannot be listened on, `RecorderInstalled` when the process has a
    /// recorder, `InvalidConfig`, and `Resource` when there is no Tokio runtime or no thread.
    pub async fn install(config: &ExporterConfig) -> Result<Self> {
        config.validate()?;
        let listener = listen(config.address).await?;
        let prometheus = Prometheus::new(config.naming)?;
        prometheus.install()?;
        Self::run(listener, prometheus, config)
    }

    /// Takes the port and serves what `prometheus` records.
    ///
    /// # Errors
    /// `AddressUnavailable` when the address cannot be listened on, `InvalidConfig`, and `Resource` when there is
    /// no Tokio runtime.
    pub async fn serve(prometheus: &Prometheus, config: &ExporterConfig) -> Result<Self> {
        config.validate()?;
        Self::run(listen(config.address).await?, prometheus.clone(), config)
    }

    /// The address it listens on, with the port taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it serves.
    #[must_use]
    pub fn prometheus(&self) -> &Prometheus {
        &self.prometheus
    }

    /// Stops accepting, and waits until the requests under way are answered or their connection timeout passed.
    pub async fn shutdown(self) {
        drop(self.stop);
        // It cannot fail but by a panic, which the runtime has reported already.
        let _ = self.server.await;
    }

    fn run(listener: TcpListener, prometheus: Prometheus, config: &ExporterConfig) -> Result<Self> {
        let address = listener
            .local_addr()
            .map_err(|error| Error::new(ErrorKind::AddressUnavailable, "local address").with_source(error))?;
        let (stop, stopped) = watch::channel(());
        let routes = Routes::new(prometheus.clone(), Arc::clone(&config.health), config.health_timeout);
        let server = Server {
            listener,
            routes: Arc::new(routes),
            connection_timeout: config.connection_timeout,
            slots: Arc::new(Semaphore::new(config.max_connections)),
        };
        Ok(Self { address, prometheus, stop, server: tokio::spawn(server.run(stopped)) })
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    Handle::try_current()
        .map_err(|error| Error::new(ErrorKind::Resource, "no Tokio runtime").with_source(error))?;
    TcpListener::bind(address)
        .await
        .map_err(|error| Error::new(ErrorKind::AddressUnavailable, address.to_string()).with_source(error))
}

struct Server {
    listener: TcpListener,
    routes: Arc<Routes>,
    connection_timeout: Duration,
    slots: Arc<Semaphore>,
}

impl Server {
    async fn run(self, mut stopped: watch::Receiver<()>) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                // Nothing is ever sent: this ends when the sender is gone.
                _ = stopped.changed() => break,
                Some(_) = connections.join_next() => {}
                accepted = self.accept() => {
                    if let Some((stream, slot)) = accepted {
                        connections.spawn(serve(stream, slot, Arc::clone(&self.routes), self.connection_timeout));
                    }
                }
            }
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }

    /// Waits for a free slot and a connection. Cancelling it loses neither.
    async fn accept(&self) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok()?;
        match self.listener.accept().await {
            Ok((stream, _)) => Some((stream, slot)),
            Err(error) => {
                tracing::warn!(target: "state_metrics", %error, "the exporter cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }
}

/// One request, then close: a scrape every few seconds gains nothing from a kept connection, and a client that
/// dawdles holds its slot no longer than the timeout.
async fn serve(stream: TcpStream, slot: OwnedSemaphorePermit, routes: Arc<Routes>, limit: Duration) {
    let service = service_fn(move |request| {
        let routes = Arc::clone(&routes);
        async move { Ok::<_, std::convert::Infallible>(routes.answer(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(limit, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(target: "state_metrics", %error, "a scrape connection failed"),
        Err(_) => {
            tracing::debug!(target: "state_metrics", "a scrape connection took too long and was closed")
        }
    }
    drop(slot);
}

impl fmt::Debug for ExporterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExporterConfig")
            .field("address", &self.address)
            .field("naming", &self.naming)
            .field("health_timeout", &self.health_timeout)
            .field("connection_timeout", &self.connection_timeout)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}
