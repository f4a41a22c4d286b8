//! A Redis Cluster of masters and replicas.

use std::{collections::HashSet, time::Duration};

use futures_util::future::join_all;
use redis::cmd;

use crate::{
    READY_WITHIN, Server, ServerConfig,
    cluster_view::{ClusterView, MemberView},
    eventually,
    sentinel::linked,
    slots::SLOTS,
};

/// How long a failover may take. It takes 2 to 3 seconds on an idle machine.
const FAILOVER_WITHIN: Duration = Duration::from_secs(60);

/// Settings of a [`Cluster`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// Settings of every node. Default: [`ServerConfig::default`].
    pub node: ServerConfig,
    /// Lines added to the `redis.conf` of one node, by its index. Default: none.
    pub node_options: Vec<(usize, String, String)>,
    /// How many masters share the slots, in equal ranges. Default: 3.
    pub masters: usize,
    /// How many replicas each master has. Default: 1.
    pub replicas: usize,
    /// After which silence a node is taken for down. Default: 1 s.
    pub node_timeout: Duration,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            node: ServerConfig::default(),
            node_options: Vec::new(),
            masters: 3,
            replicas: 1,
            node_timeout: Duration::from_secs(1),
        }
    }
}

impl ClusterConfig {
    /// Sets the settings of every node.
    pub fn with_node(mut self, node: ServerConfig) -> Self {
        self.node = node;
        self
    }

    /// Adds a line to the `redis.conf` of the node with this index, e.g. `cluster-announce-port`.
    pub fn with_node_option(mut self, node: usize, name: impl Into<String>, value: impl ToString) -> Self {
        self.node_options.push((node, name.into(), value.to_string()));
        self
    }

    /// Sets how many masters share the slots.
    pub fn with_masters(mut self, masters: usize) -> Self {
        self.masters = masters;
        self
    }

    /// Sets how many replicas each master has.
    pub fn with_replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// Sets after which silence a node is taken for down.
    pub fn with_node_timeout(mut self, node_timeout: Duration) -> Self {
        self.node_timeout = node_timeout;
        self
    }

    /// Starts the cluster and waits until all nodes agree and all replicas are linked.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start(self) -> Cluster {
        Cluster::start_with(self).await
    }

    fn server(&self, index: usize) -> ServerConfig {
        let config = self
            .node
            .clone()
            .with_option("cluster-enabled", "yes")
            .with_option("cluster-node-timeout", self.node_timeout.as_millis());
        let own = self.node_options.iter().filter(|(node, _, _)| *node == index);
        own.fold(config, |config, (_, name, value)| config.with_option(name, value))
    }
}

/// A cluster of six nodes, or as configured. Nodes are named by the `Server` that runs them; the first ones
/// were the masters at the start, in the order of their slots.
#[derive(Debug)]
pub struct Cluster {
    config: ClusterConfig,
    nodes: Vec<Server>,
    /// The cluster's name of each node, in the same order.
    ids: Vec<String>,
}

impl Cluster {
    /// Starts three masters with a replica each and waits until all agree.
    ///
    /// # Panics
    /// When they do not come up.
    pub async fn start() -> Self {
        ClusterConfig::default().start().await
    }

    /// The URL of the cluster: `redis+cluster://host,host,...`.
    pub fn url(&self) -> String {
        format!("redis+cluster://{}", self.addresses().join(","))
    }

    /// The `host:port` of each node.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(Server::address).collect()
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// The node that owns `slot`, all responsive nodes agreeing.
    ///
    /// # Panics
    /// When they do not agree within a minute.
    pub async fn owner_of(&self, slot: u16) -> &Server {
        self.find("a slot's owner", |view| view.owner_of(slot)).await
    }

    /// The nodes that own slots, by their first slot, all responsive nodes agreeing.
    ///
    /// # Panics
    /// When they do not agree within a minute.
    pub async fn masters(&self) -> Vec<&Server> {
        let view = self.settled_view().await;
        let mut owners: Vec<_> = view.members.iter().filter(|member| !member.slots.is_empty()).collect();
        owners.sort_by_key(|member| member.slots[0]);
        owners.into_iter().map(|member| self.node(&member.id)).collect()
    }

    /// A replica of `master`.
    ///
    /// # Panics
    /// When it has none within a minute.
    pub async fn replica_of(&self, master: &Server) -> &Server {
        let id = self.id(master);
        self.find("a replica", |view| view.members.iter().find(|member| member.master.as_deref() == Some(id)))
            .await
    }

    /// The owner of `slot` that follows `old`, once all responsive nodes agree on it.
    ///
    /// # Panics
    /// When there is none within a minute.
    pub async fn successor_of(&self, old: &Server, slot: u16) -> &Server {
        let id = self.id(old);
        self.find("a new owner", |view| view.owner_of(slot).filter(|owner| owner.id != id)).await
    }

    /// Lets the replica of `master` take over by hand, the master being well, and returns it once all agree.
    ///
    /// # Panics
    /// When that is not so within a minute.
    pub async fn failover(&self, master: &Server) -> &Server {
        let replica = self.replica_of(master).await;
        let id = self.id(replica);
        replica.command::<()>(cmd("CLUSTER").arg("FAILOVER")).await;
        self.find("the replica is master", |view| view.member(id).filter(|member| member.master.is_none()))
            .await
    }

    /// Waits until all slots are served, all responsive nodes see the same cluster, and all responsive
    /// replicas are linked to their masters.
    ///
    /// # Panics
    /// When that is not so within a minute.
    pub async fn wait_settled(&self) {
        let view = self.settled_view().await;
        for member in view.members.iter().filter(|member| member.master.is_some()) {
            let node = self.node(&member.id);
            if node.is_responsive() {
                linked(node).await;
            }
        }
    }

    /// Starts one more node, a master without slots, and waits until all nodes know it.
    ///
    /// # Panics
    /// When that is not so within a minute.
    pub async fn add_node(&mut self) -> &Server {
        let node = self.config.server(self.nodes.len()).start().await;
        self.meet(&node).await;
        self.ids.push(node.command(cmd("CLUSTER").arg("MYID")).await);
        self.nodes.push(node);
        self.wait_settled().await;
        &self.nodes[self.nodes.len() - 1]
    }

    async fn start_with(config: ClusterConfig) -> Self {
        let count = config.masters * (1 + config.replicas);
        let nodes = join_all((0..count).map(|index| config.server(index).start())).await;
        let ids =
            join_all(nodes.iter().map(async |node| node.command(cmd("CLUSTER").arg("MYID")).await)).await;
        let cluster = Self { config, nodes, ids };
        cluster.join().await;
        cluster.wait_settled().await;
        cluster
    }

    /// Makes one cluster of the nodes.
    async fn join(&self) {
        let masters = self.config.masters;
        for (index, node) in self.nodes.iter().enumerate() {
            node.command::<()>(cmd("CLUSTER").arg("SET-CONFIG-EPOCH").arg(index + 1)).await;
            if index < masters {
                let range = |index: usize| (usize::from(SLOTS) * index / masters) as u16;
                let slots: Vec<u16> = (range(index)..range(index + 1)).collect();
                node.command::<()>(cmd("CLUSTER").arg("ADDSLOTS").arg(slots)).await;
            }
        }
        for node in &self.nodes[1..] {
            self.meet(node).await;
        }
        for (index, node) in self.nodes.iter().enumerate().skip(masters) {
            let replicate = cmd("CLUSTER").arg("REPLICATE").arg(&self.ids[index % masters]).to_owned();
            eventually("the replica knows its master", READY_WITHIN, async || {
                node.try_command::<()>(&replicate).await.map_err(|error| error.to_string())
            })
            .await;
        }
    }

    async fn meet(&self, node: &Server) {
        let meet =
            cmd("CLUSTER").arg("MEET").arg("127.0.0.1").arg(node.port()).arg(node.bus_port()).to_owned();
        self.nodes[0].command::<()>(&meet).await;
    }

    /// What `pick` finds in the view that all responsive nodes share.
    pub(crate) async fn find<F>(&self, what: &str, pick: F) -> &Server
    where
        F: for<'v> Fn(&'v ClusterView) -> Option<&'v MemberView>,
    {
        eventually(what, FAILOVER_WITHIN, async || {
            let view = self.agreed_view().await?;
            match pick(&view) {
                Some(member) => Ok(self.node(&member.id)),
                None => Err(format!("{view:?}")),
            }
        })
        .await
    }

    pub(crate) async fn settled_view(&self) -> ClusterView {
        eventually("the cluster has settled", FAILOVER_WITHIN, async || {
            let view = self.agreed_view().await?;
            let served: usize = view.members.iter().map(MemberView::slot_count).sum();
            let replicas = view.members.iter().filter(|member| member.master.is_some()).count();
            let expected = self.config.masters * self.config.replicas;
            let down = self.nodes.iter().filter(|node| !node.is_responsive()).count();
            let complete = served == usize::from(SLOTS) && replicas + down >= expected;
            if complete { Ok(view) } else { Err(format!("{view:?}")) }
        })
        .await
    }

    async fn agreed_view(&self) -> Result<ClusterView, String> {
        let responsive = self.nodes.iter().filter(|node| node.is_responsive());
        let views = join_all(responsive.map(ClusterView::of)).await;
        let mut views = views.into_iter().collect::<Result<HashSet<ClusterView>, String>>()?.into_iter();
        let view = views.next().ok_or("no node is responsive")?;
        match views.next() {
            None if view.members.len() == self.nodes.len() => Ok(view),
            None => Err(format!("only {} nodes are known", view.members.len())),
            Some(other) => Err(format!("nodes disagree: {view:?} and {other:?}")),
        }
    }

    pub(crate) fn node(&self, id: &str) -> &Server {
        let index = self.ids.iter().position(|known| known == id).expect("a node of this cluster");
        &self.nodes[index]
    }

    pub(crate) fn id(&self, node: &Server) -> &str {
        let index =
            self.nodes.iter().position(|known| known.port() == node.port()).expect("a node of this cluster");
        &self.ids[index]
    }
}
