//! A master, its replicas, and the sentinels that watch them.

use std::{collections::HashMap, time::Duration};

use futures_util::future::join_all;
use redis::cmd;

use crate::{READY_WITHIN, Server, ServerConfig, eventually};

/// The name under which the sentinels know the master.
const SERVICE: &str = "mymaster";

/// How long a failover may take. It takes 2 to 3 seconds on an idle machine.
const FAILOVER_WITHIN: Duration = Duration::from_secs(60);

/// Settings of a [`SentinelGroup`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SentinelConfig {
    /// Settings of the master and the replicas. Default: [`ServerConfig::default`].
    pub node: ServerConfig,
    /// Settings of the sentinels; a password here is theirs alone. Default: [`ServerConfig::default`].
    pub sentinel: ServerConfig,
    /// How many replicas the master has. Default: 2.
    pub replicas: usize,
    /// How many sentinels watch; the majority is the quorum. Default: 3.
    pub sentinels: usize,
    /// After which silence a sentinel takes a node for down. Default: 1 s.
    pub down_after: Duration,
}

impl Default for SentinelConfig {
    fn default() -> Self {
        Self {
            node: ServerConfig::default(),
            sentinel: ServerConfig::default(),
            replicas: 2,
            sentinels: 3,
            down_after: Duration::from_secs(1),
        }
    }
}

impl SentinelConfig {
    /// Sets the settings of the master and the replicas.
    pub fn with_node(mut self, node: ServerConfig) -> Self {
        self.node = node;
        self
    }

    /// Sets the settings of the sentinels.
    pub fn with_sentinel(mut self, sentinel: ServerConfig) -> Self {
        self.sentinel = sentinel;
        self
    }

    /// Sets how many replicas the master has.
    pub fn with_replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// Sets how many sentinels watch.
    pub fn with_sentinels(mut self, sentinels: usize) -> Self {
        self.sentinels = sentinels;
        self
    }

    /// Sets after which silence a sentinel takes a node for down.
    pub fn with_down_after(mut self, down_after: Duration) -> Self {
        self.down_after = down_after;
        self
    }

    /// Starts the group and waits until a failover would work.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start(self) -> SentinelGroup {
        SentinelGroup::start_with(self).await
    }

    fn replica(&self, master: &Server) -> ServerConfig {
        self.node.clone().with_option("replicaof", format!("127.0.0.1 {}", master.port()))
    }

    fn watcher(&self, master: &Server) -> ServerConfig {
        let quorum = self.sentinels / 2 + 1;
        let mut config = self.sentinel.clone();
        config.sentinel = true;
        config = config
            .with_option("sentinel monitor", format!("{SERVICE} 127.0.0.1 {} {quorum}", master.port()))
            .with_option(
                "sentinel down-after-milliseconds",
                format!("{SERVICE} {}", self.down_after.as_millis()),
            )
            .with_option("sentinel failover-timeout", format!("{SERVICE} 3000"))
            .with_option("sentinel parallel-syncs", format!("{SERVICE} 1"));
        if let Some(user) = self.node.peer_user() {
            config = config.with_option("sentinel auth-user", format!("{SERVICE} {user}"));
        }
        if let Some(password) = self.node.peer_password() {
            config = config.with_option("sentinel auth-pass", format!("{SERVICE} \"{password}\""));
        }
        if let Some(password) = &self.sentinel.password {
            config = config.with_option("sentinel sentinel-pass", format!("\"{password}\""));
        }
        if self.node.tls.is_some() {
            config = config.with_option("tls-replication", "yes");
        }
        config
    }
}

/// A master with replicas, and sentinels that see the replicas and each other.
#[derive(Debug)]
pub struct SentinelGroup {
    nodes: Vec<Server>,
    sentinels: Vec<Server>,
}

impl SentinelGroup {
    /// Starts a master, two replicas and three sentinels, and waits until a failover would work.
    ///
    /// # Panics
    /// When they do not come up.
    pub async fn start() -> Self {
        SentinelConfig::default().start().await
    }

    /// The URL of the group: `redis+sentinel://host,host,host/mymaster/0`.
    pub fn url(&self) -> String {
        format!("redis+sentinel://{}/{SERVICE}/0", self.addresses().join(","))
    }

    /// The `host:port` of each sentinel.
    pub fn addresses(&self) -> Vec<String> {
        self.sentinels.iter().map(Server::address).collect()
    }

    /// The name under which the sentinels know the master.
    pub fn service(&self) -> &'static str {
        SERVICE
    }

    /// The data servers; the first one was the master at the start.
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// The sentinels.
    pub fn sentinels(&self) -> &[Server] {
        &self.sentinels
    }

    /// The node that all responsive sentinels name and that calls itself master.
    ///
    /// # Panics
    /// When they do not agree within a minute.
    pub async fn master(&self) -> &Server {
        eventually("the sentinels agree on a master", FAILOVER_WITHIN, async || self.agreed_master().await)
            .await
    }

    /// The nodes that run and are not the master.
    ///
    /// # Panics
    /// As [`SentinelGroup::master`].
    pub async fn replicas(&self) -> Vec<&Server> {
        let master = self.master().await.port();
        self.nodes.iter().filter(|node| node.is_running() && node.port() != master).collect()
    }

    /// The master that follows `old`, once the sentinels agree on it.
    ///
    /// # Panics
    /// When there is none within a minute.
    pub async fn successor_of(&self, old: &Server) -> &Server {
        let another = async || match self.agreed_master().await? {
            master if master.port() == old.port() => Err(format!("{old} is still the master")),
            master => Ok(master),
        };
        eventually("another node is master", FAILOVER_WITHIN, another).await
    }

    /// Fails over by hand, the old master being well, and returns the new one.
    ///
    /// # Panics
    /// When no new master is agreed on within a minute.
    pub async fn failover(&self) -> &Server {
        let old = self.master().await;
        let command = cmd("SENTINEL").arg("FAILOVER").arg(SERVICE).to_owned();
        let sentinel = self.responsive_sentinels().next().expect("a responsive sentinel");
        eventually("SENTINEL FAILOVER is accepted", FAILOVER_WITHIN, async || {
            sentinel.try_command::<()>(&command).await.map_err(|error| error.to_string())
        })
        .await;
        self.successor_of(old).await
    }

    /// Waits until every node runs, every replica is linked to the one master, and every sentinel sees all
    /// that: from then on a failover works.
    ///
    /// # Panics
    /// When that is not so within a minute.
    pub async fn wait_settled(&self) {
        eventually("the group has settled", FAILOVER_WITHIN, async || {
            let master = self.agreed_master().await?;
            let replicas = self.nodes.iter().filter(|node| node.port() != master.port());
            for own_word in join_all(replicas.map(check_follows)).await {
                own_word?;
            }
            let views = join_all(self.sentinels.iter().map(|sentinel| self.check_view(sentinel))).await;
            views.into_iter().collect::<Result<Vec<()>, String>>()
        })
        .await;
    }

    async fn start_with(config: SentinelConfig) -> Self {
        let master = config.node.clone().start().await;
        let replicas = join_all((0..config.replicas).map(|_| config.replica(&master).start())).await;
        for replica in &replicas {
            linked(replica).await;
        }
        let sentinels = join_all((0..config.sentinels).map(|_| config.watcher(&master).start())).await;
        join_all(sentinels.iter().map(hurry)).await;
        let mut nodes = vec![master];
        nodes.extend(replicas);
        let group = Self { nodes, sentinels };
        group.wait_settled().await;
        group
    }

    fn responsive_sentinels(&self) -> impl Iterator<Item = &Server> {
        self.sentinels.iter().filter(|sentinel| sentinel.is_responsive())
    }

    async fn agreed_master(&self) -> Result<&Server, String> {
        let command = cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(SERVICE).to_owned();
        let mut agreed = None;
        for sentinel in self.responsive_sentinels() {
            let (_, port): (String, u16) =
                sentinel.try_command(&command).await.map_err(|error| format!("{sentinel}: {error}"))?;
            match agreed.replace(port) {
                Some(other) if other != port => return Err(format!("sentinels name {other} and {port}")),
                _ => {}
            }
        }
        let port = agreed.ok_or("no sentinel is responsive")?;
        let node =
            self.nodes.iter().find(|node| node.port() == port).ok_or_else(|| format!("no node on {port}"))?;
        if !node.is_responsive() {
            return Err(format!("{node} is named and does not answer"));
        }
        match node.info("role").await.map_err(|error| format!("{node}: {error}"))?.as_deref() {
            Some("master") => Ok(node),
            role => Err(format!("{node} calls itself {role:?}")),
        }
    }

    /// One sentinel's view: it knows every replica as linked, every other sentinel, and nobody as down.
    async fn check_view(&self, sentinel: &Server) -> Result<(), String> {
        let explain = |error: redis::RedisError| format!("{sentinel}: {error}");
        let ask = |what: &str| cmd("SENTINEL").arg(what).arg(SERVICE).to_owned();
        let master: HashMap<String, String> = sentinel.try_command(&ask("MASTER")).await.map_err(explain)?;
        let replicas: Vec<HashMap<String, String>> =
            sentinel.try_command(&ask("REPLICAS")).await.map_err(explain)?;
        let others = (self.sentinels.len() - 1).to_string();
        let linked = |replica: &HashMap<String, String>| {
            replica.get("flags").is_some_and(|flags| flags == "slave")
                && replica.get("master-link-status").is_some_and(|status| status == "ok")
        };
        let settled = master.get("flags").is_some_and(|flags| flags == "master")
            && master.get("num-other-sentinels") == Some(&others)
            && replicas.len() == self.nodes.len() - 1
            && replicas.iter().all(linked);
        settled.then_some(()).ok_or_else(|| format!("{sentinel} sees {master:?} and {replicas:?}"))
    }
}

/// A node's own word that it follows the master: what sentinels say of one that has just come back may be
/// older than its return, while it still calls itself a master.
async fn check_follows(node: &Server) -> Result<(), String> {
    let info = async |field| node.info(field).await.map_err(|error| format!("{node}: {error}"));
    match (info("role").await?.as_deref(), info("master_link_status").await?.as_deref()) {
        (Some("slave"), Some("up")) => Ok(()),
        (role, link) => Err(format!("{node} calls itself {role:?}, its link {link:?}")),
    }
}

/// Lets a sentinel look around every second instead of every ten: otherwise half a minute passes after a
/// failover until it has made the old master a replica. Servers before Redis 7.0 lack the command and stay
/// slow.
async fn hurry(sentinel: &Server) {
    let mut debug = cmd("SENTINEL");
    debug.arg("DEBUG").arg("INFO-PERIOD").arg(1000).arg("PUBLISH-PERIOD").arg(500);
    match sentinel.try_command::<()>(&debug).await {
        Ok(()) => {}
        Err(error) if error.to_string().to_lowercase().contains("unknown") => {}
        Err(error) => panic!("{sentinel}: {error}"),
    }
}

/// Waits until a replica has its master's data and follows it.
pub(crate) async fn linked(replica: &Server) {
    eventually("the replica is linked to its master", READY_WITHIN, async || {
        match replica.info("master_link_status").await {
            Ok(Some(status)) if status == "up" => Ok(()),
            seen => Err(format!("{replica}: {seen:?}")),
        }
    })
    .await;
}
