//! Where a server listens, and who says which server that is at the moment.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::error::Result;
use crate::handshake::ServerInfo;
use crate::health::NodeHealth;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// A host name or address, and a port.
    Tcp {
        /// Name, IPv4 or IPv6 address (without brackets).
        host: String,
        /// TCP port.
        port: u16,
    },
    /// The path of a Unix domain socket.
    Unix(PathBuf),
}

/// Translates an address that a sentinel or a node of a cluster announces into one that is reachable from here
/// (NAT, containers).
pub type AddressMap = dyn Fn(&Endpoint) -> Endpoint + Send + Sync;

impl Endpoint {
    /// A TCP endpoint.
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self::Tcp { host: host.into(), port }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Says where to connect now. The supervisor asks before every attempt, so that a source which follows
/// failovers (Sentinel) answers with today's master.
#[async_trait]
pub(crate) trait EndpointSource: Send + Sync + 'static {
    /// The endpoint to dial now; asked through `Setup::locate`, which bounds the time by the dial timeout.
    async fn locate(&self) -> Result<Arc<Endpoint>>;

    /// A number that grows whenever connections to earlier answers have to be closed at once.
    fn generation(&self) -> watch::Receiver<u64>;

    /// Where to read from beside it, if that is known.
    fn replicas(&self) -> Option<Arc<dyn EndpointSource>> {
        None
    }

    /// Whether what answered at the endpoint is what was looked for (its role, say).
    fn verify(&self, endpoint: &Endpoint, server: &ServerInfo) -> Result<()>;

    /// The answer, where it is always the same.
    fn constant(&self) -> Option<Arc<Endpoint>> {
        None
    }

    /// A command that was sent to the endpoint belongs elsewhere.
    fn misled(&self) {}

    /// How the sentinels are that give the answers.
    fn sentinels(&self) -> Option<watch::Receiver<Vec<NodeHealth>>> {
        None
    }

    /// Reads the TLS certificates again with which it makes connections of its own.
    #[cfg(feature = "tls")]
    async fn reload_tls(&self) -> Result<()> {
        Ok(())
    }
}

/// The source of a standalone server: one address that never changes.
pub(crate) struct FixedEndpoint {
    endpoint: Arc<Endpoint>,
    generation: watch::Sender<u64>,
}

impl FixedEndpoint {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint: Arc::new(endpoint), generation: watch::Sender::new(0) }
    }
}

#[async_trait]
impl EndpointSource for FixedEndpoint {
    async fn locate(&self) -> Result<Arc<Endpoint>> {
        Ok(Arc::clone(&self.endpoint))
    }

    fn generation(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    fn verify(&self, _: &Endpoint, _: &ServerInfo) -> Result<()> {
        Ok(())
    }

    fn constant(&self) -> Option<Arc<Endpoint>> {
        Some(Arc::clone(&self.endpoint))
    }
}
