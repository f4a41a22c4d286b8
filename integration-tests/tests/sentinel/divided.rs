//! A group whose master can be cut off from its peers while clients still reach it.

use std::time::Duration;

use integration_tests::proxy::{Fault, Proxy};
use integration_tests::{SentinelConfig, SentinelGroup, Server, ServerConfig, Wire, eventually};
use redis_conn::{Config, Endpoint};

use crate::support::{config, endpoint};

/// A group whose members know the master by an address that clients need not use.
pub(crate) struct Divided {
    group: SentinelGroup,
    division: Division,
}

/// What lies between the master and its peers.
enum Division {
    /// A proxy; clients go to the master directly.
    Proxy(Proxy),
    /// A wire into the master's own network; clients have another one.
    Wires { master: Box<Server>, peers: Wire, clients: Wire },
}

impl Divided {
    pub(crate) async fn by_proxy() -> Self {
        let group = SentinelConfig::default().with_replicas(1).start().await;
        let proxy = Proxy::start(group.nodes()[0].address()).await;
        Self { group, division: Division::Proxy(proxy) }.settled().await
    }

    /// Takes privileges, see `may_create_networks`.
    pub(crate) async fn by_wires() -> Self {
        let open = ServerConfig::default().with_open_doors();
        let group = SentinelConfig::default()
            .with_node(open.clone())
            .with_sentinel(open)
            .with_replicas(1)
            .start()
            .await;
        let master = Box::new(ServerConfig::default().with_own_network().start().await);
        let (peers, clients) = (master.wire(0), master.wire(1));
        Self { group, division: Division::Wires { master, peers, clients } }.settled().await
    }

    pub(crate) fn sentinels(&self) -> &[Server] {
        self.group.sentinels()
    }

    /// The replica, which is to be promoted.
    pub(crate) fn replica(&self) -> &Server {
        &self.group.nodes()[1]
    }

    pub(crate) fn cut(&self) {
        match &self.division {
            Division::Proxy(proxy) => proxy.set(Fault::BlackHole),
            Division::Wires { peers, .. } => peers.cut(),
        }
    }

    /// Clients reach the master whatever happens between it and its peers.
    pub(crate) fn config(&self) -> Config {
        let (announced, direct) = (self.announced(), self.direct());
        let map = move |address: &Endpoint| match *address == announced {
            true => direct.clone(),
            false => address.clone(),
        };
        config(&self.group).with_address_map(map)
    }

    /// Where its peers know the master.
    fn announced(&self) -> Endpoint {
        match &self.division {
            Division::Proxy(proxy) => Endpoint::tcp("127.0.0.1", proxy.port()),
            Division::Wires { master, peers, .. } => Endpoint::tcp(peers.inside().to_string(), master.port()),
        }
    }

    /// Where clients reach it.
    fn direct(&self) -> Endpoint {
        match &self.division {
            Division::Proxy(_) => endpoint(&self.group.nodes()[0]),
            Division::Wires { master, clients, .. } => {
                Endpoint::tcp(clients.inside().to_string(), master.port())
            }
        }
    }

    /// Makes the peers know the master by that address alone.
    async fn settled(self) -> Self {
        let Endpoint::Tcp { host, port } = self.announced() else { unreachable!("a TCP address") };
        self.replica().command::<()>(redis::cmd("REPLICAOF").arg(&host).arg(port)).await;
        for sentinel in self.sentinels() {
            self.monitor_again(sentinel, &host, port).await;
        }
        for sentinel in self.sentinels() {
            eventually("the sentinel sees the group again", Duration::from_secs(60), async || {
                self.check(sentinel).await
            })
            .await;
        }
        self
    }

    async fn monitor_again(&self, sentinel: &Server, host: &str, port: u16) {
        let service = self.group.service();
        sentinel.command::<()>(redis::cmd("SENTINEL").arg("REMOVE").arg(service)).await;
        let mut monitor = redis::cmd("SENTINEL");
        monitor.arg("MONITOR").arg(service).arg(host).arg(port).arg(2);
        sentinel.command::<()>(&monitor).await;
        for (name, value) in [("down-after-milliseconds", 1000), ("failover-timeout", 3000)] {
            sentinel.command::<()>(redis::cmd("SENTINEL").arg("SET").arg(service).arg(name).arg(value)).await;
        }
    }

    async fn check(&self, sentinel: &Server) -> Result<(), String> {
        let ask = redis::cmd("SENTINEL").arg("CKQUORUM").arg(self.group.service()).to_owned();
        let quorum: String = sentinel.try_command(&ask).await.map_err(|error| error.to_string())?;
        let ask = redis::cmd("SENTINEL").arg("REPLICAS").arg(self.group.service()).to_owned();
        let replicas: Vec<std::collections::HashMap<String, String>> =
            sentinel.try_command(&ask).await.map_err(|error| error.to_string())?;
        let linked = replicas.iter().any(|replica| {
            replica["flags"] == "slave"
                && replica["master-link-status"] == "ok"
                && replica["port"] == self.replica().port().to_string()
        });
        let complete = quorum.starts_with("OK 3 usable") && linked;
        complete.then_some(()).ok_or_else(|| format!("{quorum}; {replicas:?}"))
    }
}
