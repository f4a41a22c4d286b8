//! Settings: what to connect to and how to behave, checked at one place.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::credentials::{Credentials, CredentialsProvider};
use crate::endpoint::{AddressMap, Endpoint};
use crate::error::{Error, Result};
use crate::observe::{EndpointGate, Observer};
use crate::reader::ReadFrom;
use crate::sentinel::SentinelSettings;
#[cfg(feature = "tls")]
use crate::tls::Tls;
use crate::wait::WriteConcern;

/// Everything a [`Conn`](crate::Conn) is built from. Start with [`Config::from_url`] or [`Config::standalone`].
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// What to connect to.
    pub servers: Servers,
    /// Credentials that never change. Default: none.
    pub credentials: Option<Credentials>,
    /// Credentials that rotate; asked before every connection attempt and preferred over
    /// [`credentials`](Self::credentials). Default: none.
    pub credentials_provider: Option<Arc<dyn CredentialsProvider>>,
    /// TLS to the servers. Default: none, plain TCP; [`Tls::default`] for `rediss` URLs.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
    /// How to talk to sentinels, for [`Servers::Sentinel`]. Default: see [`SentinelSettings`].
    pub sentinel: SentinelSettings,
    /// Database number. Default: 0.
    pub db: u32,
    /// RESP version. Default: [`Protocol::Auto`].
    pub protocol: Protocol,
    /// Name shown by `CLIENT LIST`; printable ASCII without spaces. Default: none.
    pub client_name: Option<String>,
    /// How long [`Conn::connect`](crate::Conn::connect) tries before it gives up. Default: 5 s.
    pub connect_timeout: Duration,
    /// How long one connection attempt may take: name lookup, dial, TLS and handshake. Default: 2 s.
    pub dial_timeout: Duration,
    /// Deadline of commands that bring none, which are those sent through `ConnectionLike`. Default: 3 s.
    pub command_timeout: Duration,
    /// A connection on which a request is unanswered and no byte has arrived for this long is replaced. The
    /// server answers nothing while it runs one command or script, so keep it above the longest of those.
    /// Default: 1 s.
    pub stall_timeout: Duration,
    /// How often a cluster's topology is looked at when nothing hints at a change, give or take a quarter.
    /// Default: 30 s.
    pub topology_interval: Duration,
    /// Applied to every address that a sentinel or a node of a cluster announces. Default: none.
    pub address_map: Option<Arc<AddressMap>>,
    /// Pauses between connection attempts, which never end. Default: 10 ms to 200 ms.
    pub backoff: Backoff,
    /// Socket options. Default: see [`Tcp`].
    pub tcp: Tcp,
    /// Commands that may be unanswered at a time, cancelled ones included. Default: 4096.
    pub max_in_flight: usize,
    /// Bytes of commands that may be unanswered at a time; a single larger command is still sent, alone.
    /// Default: 64 MiB.
    pub max_in_flight_bytes: usize,
    /// Commands that may wait, up to their deadline, for the two budgets above; further ones fail with
    /// [`ErrorKind::Overloaded`](crate::ErrorKind::Overloaded) at once. Default: 16384.
    pub max_queued: usize,
    /// Batching of typed operations. Default: see [`Batching`].
    pub batching: Batching,
    /// Which node answers [`Conn::get`](crate::Conn::get), behind Sentinel and on a cluster. Default:
    /// [`ReadFrom::Master`].
    pub read_from: ReadFrom,
    /// When a write counts as done, for [`Conn::set`](crate::Conn::set) and [`Conn::write`](crate::Conn::write).
    /// Default: [`WriteConcern::Fast`].
    pub write_concern: WriteConcern,
    /// The pool of dedicated connections, on a cluster one for each master. Default: see [`Pooling`].
    pub pool: Pooling,
    /// How often the health of the server is checked. Default: 5 s.
    pub health_interval: Duration,
    /// Told what happens on the connections. Default: none.
    pub observer: Option<Arc<dyn Observer>>,
    /// Asked before each request whether its endpoint may be used. Default: none.
    pub gate: Option<Arc<dyn EndpointGate>>,
}

/// What to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Servers {
    /// One server.
    Standalone(Endpoint),
    /// The master of a service that sentinels watch over.
    Sentinel {
        /// The sentinels.
        sentinels: Vec<Endpoint>,
        /// Name of the service (`sentinel monitor NAME ...`).
        service: String,
    },
    /// A Redis Cluster.
    Cluster {
        /// Nodes to learn the cluster from.
        seeds: Vec<Endpoint>,
    },
}

/// The RESP version to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Protocol {
    /// RESP3 where the server speaks it, RESP2 elsewhere.
    #[default]
    Auto,
    /// RESP2 always.
    Resp2,
    /// RESP3, and no connection to a server without it.
    Resp3,
}

/// Pauses between connection attempts: doubling, each drawn from the upper half of the current ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// First ceiling. Default: 10 ms.
    pub min: Duration,
    /// Last ceiling, so also the longest wait once the server is back. Default: 200 ms.
    pub max: Duration,
}

/// Socket options of TCP connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// `TCP_NODELAY`: send small writes at once. Default: true.
    pub nodelay: bool,
    /// `SO_KEEPALIVE` and its timing, `None` to leave it off. Default: see [`KeepAlive`].
    pub keepalive: Option<KeepAlive>,
    /// `TCP_USER_TIMEOUT`: how long sent bytes may stay unacknowledged; Linux only. Default: 5 s.
    pub user_timeout: Option<Duration>,
}

/// Timing of TCP keepalive probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Idle time before the first probe. Default: 10 s.
    pub idle: Duration,
    /// Time between probes. Default: 5 s.
    pub interval: Duration,
    /// Unanswered probes before the connection counts as dead. Default: 3.
    pub retries: u32,
}

/// When typed operations ([`Conn::get`](crate::Conn::get), [`Conn::set`](crate::Conn::set)) share requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Operations in flight from which on further ones are batched, `None` for never. Default: 12.
    pub threshold: Option<usize>,
    /// Most operations in one batch. Default: 64.
    pub max_members: usize,
    /// Values from this size on travel on a connection of their own, never in a batch. Default: 64 KiB.
    pub large_value: usize,
}

/// The pool of dedicated connections, for blocking commands, `WATCH` and other exclusive work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pooling {
    /// Connections opened before `connect` returns, and kept open. Default: 0.
    pub min: usize,
    /// Most connections at a time. Default: 16.
    pub max: usize,
    /// How long a caller waits for a free connection. Default: 5 s.
    pub wait_timeout: Duration,
    /// Connections idle for longer are closed, down to `min`. Default: 300 s.
    pub idle_timeout: Duration,
    /// Connections older than this are not used again. Default: 1800 s.
    pub max_lifetime: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { min: Duration::from_millis(10), max: Duration::from_millis(200) }
    }
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: Some(KeepAlive::default()),
            user_timeout: Some(Duration::from_secs(5)),
        }
    }
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { idle: Duration::from_secs(10), interval: Duration::from_secs(5), retries: 3 }
    }
}

impl Default for Batching {
    fn default() -> Self {
        Self { threshold: Some(12), max_members: 64, large_value: 64 * 1024 }
    }
}

impl Default for Pooling {
    fn default() -> Self {
        Self {
            min: 0,
            max: 16,
            wait_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(300),
            max_lifetime: Duration::from_secs(1800),
        }
    }
}

impl Config {
    /// Defaults for one server at `endpoint`.
    pub fn standalone(endpoint: Endpoint) -> Self {
        Self::new(Servers::Standalone(endpoint))
    }

    /// Reads a URL:
    ///
    /// - `redis://[[user]:password@]host[:port][/db]`
    /// - `rediss://...`, the same over TLS
    /// - `redis+unix:///path/to/socket[?db=N]` (also `redis-unix:` and `unix:`)
    /// - `redis+sentinel://[[user:]password@]host1[:port],host2[:port]/service[/db]`, where user and password are
    ///   those of the master; `rediss+sentinel://` for TLS to the sentinels and to the master
    ///
    /// with the query parameters `db`, `user`, `password`, `protocol` (`resp2` or `resp3`) and `client_name`,
    /// for sentinels `sentinel_user` and `sentinel_password`, and for TLS the paths of PEM files `ssl_ca_certs`,
    /// `ssl_certfile` and `ssl_keyfile`, which hold for servers and sentinels alike.
    /// User and password are percent-decoded. The default port is 6379.
    ///
    /// # Errors
    /// `InvalidConfig` names the part that is wrong, never its value; `Unsupported` names a scheme that this
    /// build does not open.
    pub fn from_url(url: &str) -> Result<Self> {
        crate::url::parse(url)
    }

    /// Whether connections to servers go over TLS.
    pub(crate) fn has_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    /// Where an announced address is reached from here.
    pub(crate) fn reachable(&self, announced: Endpoint) -> Arc<Endpoint> {
        Arc::new(match &self.address_map {
            Some(map) => map(&announced),
            None => announced,
        })
    }

    pub(crate) fn new(servers: Servers) -> Self {
        Self {
            servers,
            credentials: None,
            credentials_provider: None,
            #[cfg(feature = "tls")]
            tls: None,
            sentinel: SentinelSettings::default(),
            db: 0,
            protocol: Protocol::Auto,
            client_name: None,
            connect_timeout: Duration::from_secs(5),
            dial_timeout: Duration::from_secs(2),
            command_timeout: Duration::from_secs(3),
            stall_timeout: Duration::from_secs(1),
            topology_interval: Duration::from_secs(30),
            address_map: None,
            backoff: Backoff::default(),
            tcp: Tcp::default(),
            max_in_flight: 4096,
            max_in_flight_bytes: 64 << 20,
            max_queued: 16384,
            batching: Batching::default(),
            read_from: ReadFrom::Master,
            write_concern: WriteConcern::Fast,
            pool: Pooling::default(),
            health_interval: Duration::from_secs(5),
            observer: None,
            gate: None,
        }
    }

    /// Checks every setting; [`Conn::connect`](crate::Conn::connect) does it first of all.
    ///
    /// # Errors
    /// `InvalidConfig`, naming the setting.
    pub fn validate(&self) -> Result<()> {
        let durations = [
            ("connect_timeout", self.connect_timeout),
            ("dial_timeout", self.dial_timeout),
            ("command_timeout", self.command_timeout),
            ("stall_timeout", self.stall_timeout),
            ("health_interval", self.health_interval),
            ("topology_interval", self.topology_interval),
            ("backoff.min", self.backoff.min),
            ("pool.wait_timeout", self.pool.wait_timeout),
            ("pool.idle_timeout", self.pool.idle_timeout),
            ("pool.max_lifetime", self.pool.max_lifetime),
        ];
        for (name, value) in durations {
            demand(!value.is_zero(), name, "must not be zero")?;
        }
        let counts = [
            ("max_in_flight", self.max_in_flight),
            ("max_in_flight_bytes", self.max_in_flight_bytes),
            ("batching.max_members", self.batching.max_members),
            ("batching.large_value", self.batching.large_value),
            ("pool.max", self.pool.max),
        ];
        for (name, value) in counts {
            demand(value > 0, name, "must not be zero")?;
        }
        demand(self.max_in_flight <= 1 << 20, "max_in_flight", "must not exceed 1048576")?;
        demand(self.max_in_flight_bytes <= 1 << 36, "max_in_flight_bytes", "must not exceed 64 GiB")?;
        demand(self.backoff.max >= self.backoff.min, "backoff.max", "must not be below backoff.min")?;
        demand(self.pool.max >= self.pool.min, "pool.max", "must not be below pool.min")?;
        demand(self.batching.max_members <= 4096, "batching.max_members", "must not exceed 4096")?;
        let printable = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
        demand(
            self.client_name.as_ref().is_none_or(printable),
            "client_name",
            "must be printable ASCII, no spaces",
        )?;
        let has_replicas =
            self.read_from == ReadFrom::Master || !matches!(self.servers, Servers::Standalone(_));
        demand(has_replicas, "read_from", "must be Master for a standalone server")?;
        if let WriteConcern::Wait { replicas, timeout } = self.write_concern {
            demand(replicas > 0, "write_concern.replicas", "must not be zero")?;
            demand(timeout >= Duration::from_millis(1), "write_concern.timeout", "must not be below 1 ms")?;
        }
        #[cfg(feature = "tls")]
        self.tls.as_ref().map_or(Ok(()), Tls::validate)?;
        self.sentinel.validate()?;
        Ok(())
    }
}

fn demand(holds: bool, setting: &'static str, rule: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::invalid(format!("{setting} {rule}"))) }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Config");
        #[cfg(feature = "tls")]
        debug.field("tls", &self.tls);
        debug.field("sentinel", &self.sentinel);
        debug
            .field("servers", &self.servers)
            .field("credentials", &self.credentials)
            .field("credentials_provider", &self.credentials_provider.is_some())
            .field("db", &self.db)
            .field("protocol", &self.protocol)
            .field("client_name", &self.client_name)
            .field("connect_timeout", &self.connect_timeout)
            .field("dial_timeout", &self.dial_timeout)
            .field("command_timeout", &self.command_timeout)
            .field("stall_timeout", &self.stall_timeout)
            .field("topology_interval", &self.topology_interval)
            .field("address_map", &self.address_map.is_some())
            .field("backoff", &self.backoff)
            .field("tcp", &self.tcp)
            .field("max_in_flight", &self.max_in_flight)
            .field("max_in_flight_bytes", &self.max_in_flight_bytes)
            .field("max_queued", &self.max_queued)
            .field("batching", &self.batching)
            .field("read_from", &self.read_from)
            .field("write_concern", &self.write_concern)
            .field("pool", &self.pool)
            .field("health_interval", &self.health_interval)
            .field("observer", &self.observer.is_some())
            .field("gate", &self.gate.is_some())
            .finish()
    }
}
