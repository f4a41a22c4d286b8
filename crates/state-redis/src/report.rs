//! What the backend tells about itself.

use std::fmt;

use redis_conn::{Duty, Events, Health, HealthStatus, NodeHealth, PoolStats, State};
#[cfg(feature = "metrics")]
use state_metrics::{BackendStats, HotKey, Instruments, SlowOperation};
#[cfg(feature = "resilience")]
use state_resilience::{BreakerSnapshot, BreakerState};

use crate::backend::RedisBackend;

/// How each layer stands, and why.
///
/// `Display` is one line: the verdict and what stands against a better one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackendHealth {
    /// The verdict: `Unhealthy` when nothing can be read or written, `Degraded` when any layer is limited.
    pub status: HealthStatus,
    /// The verdict on each layer that is in use.
    pub layers: Vec<LayerHealth>,
    /// The servers and sentinels, as the latest check found them.
    pub servers: Health,
    /// The pool of dedicated connections; on a cluster, the sum over its masters.
    pub pool: PoolStats,
    /// The breakers, by server; those of servers that are no longer used are here too.
    #[cfg(feature = "resilience")]
    #[cfg_attr(docsrs, doc(cfg(feature = "resilience")))]
    pub breakers: Vec<(String, BreakerSnapshot)>,
    /// The servers that grant locks, one for each of `redlock_nodes`; `None` for one that was never reached; empty until the first lock is asked for.
    #[cfg(feature = "locks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "locks")))]
    pub locks: Vec<Option<Health>>,
}

/// How one layer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerHealth {
    /// Which.
    pub layer: Layer,
    /// The verdict.
    pub status: HealthStatus,
    /// What stands against [`HealthStatus::Healthy`], in words, without keys and secrets; empty then.
    pub reasons: Vec<String>,
}

/// A layer that can be limited by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layer {
    /// The servers, the connections to them, and the sentinels.
    Servers,
    /// The pool of dedicated connections.
    Pool,
    /// The circuit breakers.
    Breakers,
    /// The servers that grant locks.
    Locks,
}

impl RedisBackend {
    /// How each layer stands, from what is known already: nothing is asked of the servers. They are checked every
    /// `health_interval`, and when a connection is lost or back.
    pub fn health(&self) -> BackendHealth {
        let conn = self.inner.door.conn();
        let servers = conn.health().borrow().clone();
        let pool = conn.pool_stats();
        let is_closed = conn.state() == State::Closed;
        #[cfg_attr(not(any(feature = "resilience", feature = "locks")), allow(unused_mut))]
        let mut layers = vec![LayerHealth::of_servers(&servers, is_closed), LayerHealth::of_pool(&pool)];
        #[cfg(feature = "resilience")]
        let breakers = match &self.inner.breakers {
            Some(breakers) => {
                let snapshots = breakers.snapshots();
                layers.push(LayerHealth::of_breakers(&snapshots, &servers));
                snapshots
            }
            None => Vec::new(),
        };
        #[cfg(feature = "locks")]
        let locks = self.inner.locks.health();
        #[cfg(feature = "locks")]
        layers.extend((!locks.is_empty()).then(|| LayerHealth::of_locks(&locks)));
        BackendHealth {
            status: verdict(&layers),
            layers,
            servers,
            pool,
            #[cfg(feature = "resilience")]
            breakers,
            #[cfg(feature = "locks")]
            locks,
        }
    }

    /// What happens on the connections from now on.
    pub fn events(&self) -> Events {
        self.inner.door.conn().events()
    }
}

#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
impl RedisBackend {
    /// The figures since the start.
    // Waits for nothing today; it is asynchronous so that figures of the servers can join.
    #[allow(clippy::unused_async)]
    pub async fn stats(&self) -> BackendStats {
        self.inner.door.instruments.0.stats()
    }

    /// The instruments that publish to the process's recorder; `None` where `enable_metrics` is off.
    pub fn metrics(&self) -> Option<std::sync::Arc<Instruments>> {
        let instruments = &self.inner.door.instruments.0;
        self.inner.config.enable_metrics.then(|| std::sync::Arc::new(instruments.clone()))
    }

    /// The latest slow operations, oldest first; keys appear as digests.
    pub fn slow_operations(&self) -> Vec<SlowOperation> {
        self.inner.door.instruments.0.slow_operations()
    }

    /// The keys used most, hottest first; empty unless hot keys are switched on.
    pub fn hot_keys(&self) -> Vec<HotKey> {
        self.inner.door.instruments.0.hot_keys()
    }
}

/// Answers `/readyz` of an [`Exporter`](state_metrics::Exporter) with [`RedisBackend::health`]. The exporter then
/// holds a handle to the backend.
#[cfg(feature = "prometheus")]
#[cfg_attr(docsrs, doc(cfg(feature = "prometheus")))]
#[async_trait::async_trait]
impl state_metrics::HealthSource for RedisBackend {
    async fn ready(&self) -> state_metrics::Health {
        let health = self.health();
        match health.status {
            HealthStatus::Healthy => state_metrics::Health::Up,
            HealthStatus::Degraded => state_metrics::Health::Degraded(health.reasons().into()),
            _ => state_metrics::Health::Down(health.reasons().into()),
        }
    }
}

impl BackendHealth {
    /// What stands against [`HealthStatus::Healthy`], layer by layer, in one line.
    pub fn reasons(&self) -> String {
        let limited = self.layers.iter().filter(|layer| !layer.reasons.is_empty());
        let lines: Vec<_> =
            limited.map(|layer| format!("{}: {}", layer.layer, layer.reasons.join(", "))).collect();
        lines.join("; ")
    }
}

impl LayerHealth {
    fn new(layer: Layer, status: HealthStatus, reasons: Vec<String>) -> Self {
        Self { layer, status, reasons }
    }

    fn of_servers(servers: &Health, is_closed: bool) -> Self {
        if is_closed {
            return Self::new(Layer::Servers, HealthStatus::Unhealthy, vec!["closed".to_owned()]);
        }
        Self::new(Layer::Servers, servers.status, reasons(servers))
    }

    fn of_pool(pool: &PoolStats) -> Self {
        if pool.waiting == 0 {
            return Self::new(Layer::Pool, HealthStatus::Healthy, Vec::new());
        }
        let reason = format!("{} callers wait for one of {} connections", pool.waiting, pool.max);
        Self::new(Layer::Pool, HealthStatus::Degraded, vec![reason])
    }

    /// The breakers of the servers in use; all of them open is nothing to read from or write to.
    #[cfg(feature = "resilience")]
    fn of_breakers(breakers: &[(String, BreakerSnapshot)], servers: &Health) -> Self {
        let is_open = |node: &&NodeHealth| {
            let name = node.endpoint.as_ref().map(ToString::to_string);
            let breaker = breakers.iter().find(|(endpoint, _)| Some(endpoint) == name.as_ref());
            breaker.is_some_and(|(_, breaker)| {
                matches!(
                    breaker.state,
                    BreakerState::Open | BreakerState::HalfOpen | BreakerState::ForcedOpen
                )
            })
        };
        let data = || servers.nodes.iter().filter(|node| node.duty != Duty::Sentinel);
        let reasons: Vec<_> = data().filter(is_open).map(|node| format!("{} open", place(node))).collect();
        let masters = || data().filter(|node| node.duty == Duty::Master);
        let status = match reasons.is_empty() {
            true => HealthStatus::Healthy,
            false if masters().count() > 0 && masters().all(|node| is_open(&node)) => HealthStatus::Unhealthy,
            false => HealthStatus::Degraded,
        };
        Self::new(Layer::Breakers, status, reasons)
    }

    /// Data can be read and written whatever becomes of locks.
    #[cfg(feature = "locks")]
    fn of_locks(locks: &[Option<Health>]) -> Self {
        let of_one = |(index, health): (usize, &Option<Health>)| match health {
            Some(health) => reasons(health),
            None => vec![format!("redlock_nodes[{index}] is not connected")],
        };
        let reasons: Vec<_> = locks.iter().enumerate().flat_map(of_one).collect();
        let status = if reasons.is_empty() { HealthStatus::Healthy } else { HealthStatus::Degraded };
        Self::new(Layer::Locks, status, reasons)
    }
}

/// What stands against servers: by node, and what concerns all of them.
fn reasons(servers: &Health) -> Vec<String> {
    let of_nodes = servers.nodes.iter().filter(|node| !node.reasons.is_empty());
    let mut reasons: Vec<_> =
        of_nodes.map(|node| format!("{} {}", place(node), words(&node.reasons))).collect();
    let is_of_node = |reason| servers.nodes.iter().any(|node| node.reasons.contains(reason));
    let of_all: Vec<_> = servers.reasons.iter().filter(|reason| !is_of_node(reason)).copied().collect();
    reasons.extend((!of_all.is_empty()).then(|| words(&of_all)));
    reasons
}

fn place(node: &NodeHealth) -> String {
    let duty = match node.duty {
        Duty::Master => "master",
        Duty::Replica => "replica",
        Duty::Sentinel => "sentinel",
        _ => "server",
    };
    match &node.endpoint {
        Some(endpoint) => format!("{duty} {endpoint}"),
        None => duty.to_owned(),
    }
}

fn words(reasons: &[redis_conn::HealthReason]) -> String {
    use redis_conn::HealthReason::{
        Auth, NotAnswering, NotChecked, NotConnected, NotData, NotMaster, NotReady, RoleUnknown,
        ServiceUnknown, SlotsUnserved,
    };
    let word = |reason: &_| match reason {
        NotChecked => "not checked yet",
        NotConnected => "not connected",
        NotAnswering => "not answering",
        NotReady => "not ready",
        NotMaster => "is a replica",
        NotData => "is a sentinel",
        RoleUnknown => "does not tell its role",
        Auth => "refuses the credentials",
        ServiceUnknown => "does not know the service",
        SlotsUnserved => "some slots are served by nobody",
        _ => "limited",
    };
    reasons.iter().map(word).collect::<Vec<_>>().join(" and ")
}

/// The worst of the layers that everything passes through; limits of others degrade.
fn verdict(layers: &[LayerHealth]) -> HealthStatus {
    if layers.iter().any(|layer| layer.status == HealthStatus::Unhealthy) {
        HealthStatus::Unhealthy
    } else if layers.iter().any(|layer| layer.status != HealthStatus::Healthy) {
        HealthStatus::Degraded
    } else {
        HealthStatus::Healthy
    }
}

impl fmt::Display for BackendHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            HealthStatus::Healthy => return f.write_str("healthy"),
            HealthStatus::Degraded => "degraded",
            _ => "unhealthy",
        };
        write!(f, "{status}: {}", self.reasons())
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Servers => "servers",
            Self::Pool => "pool",
            Self::Breakers => "breakers",
            Self::Locks => "locks",
        })
    }
}
