//! The nodes of a cluster and which of them serves what, kept fresh by one task.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use rand::seq::SliceRandom;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::backoff::jittered;
use crate::endpoint::Endpoint;
use crate::error::{Class, Error, ErrorKind, Result};
use crate::events::{Event, State};
use crate::ground::Ground;
use crate::node::Node;
use crate::pick::{Member, Pick};
use crate::reader::ReadFrom;
use crate::reply;
use crate::setup::Setup;
use crate::slots::SlotMap;

/// How long one look at the topology may take.
const LEARN_TIMEOUT: Duration = Duration::from_secs(1);

/// Nodes asked at a time. Two that agree are believed: one alone may be cut off from its peers.
const WITNESSES: usize = 3;

/// Shortest and longest pause between two looks, however many operations ask for one.
const REFRESH_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(200));

/// Looks at the topology that a node has to be missing from before its connections are closed.
const FORGET_AFTER: u32 = 2;

/// Nodes known at a time. The Redis Cluster specification recommends at most 1000.
const MAX_NODES: usize = 1024;

/// The nodes of one cluster.
pub(crate) struct Shards {
    setup: Arc<Setup>,
    seeds: Vec<Arc<Endpoint>>,
    view: ArcSwap<View>,
    nodes: Mutex<HashMap<Arc<Endpoint>, Known>>,
    /// Connections whose place depends on the view.
    picks: Mutex<Vec<Weak<Pick>>>,
    stale: Notify,
    version: watch::Sender<u64>,
    this: Weak<Self>,
}

/// A slot map together with the nodes it names, so that an operation finds its node without a lock.
pub(crate) struct View {
    pub(crate) map: SlotMap,
    /// The masters, in the order of the map's shards.
    pub(crate) masters: Vec<Arc<Node>>,
}

struct Known {
    node: Arc<Node>,
    missed: u32,
}

impl View {
    /// The master that serves `slot`.
    pub(crate) fn master_of(&self, slot: u16) -> Option<&Arc<Node>> {
        self.masters.get(self.map.shard_index(slot)?)
    }

    /// State of the connection to a master; `None` for any other node.
    pub(crate) fn state_of(&self, endpoint: &Endpoint) -> Option<State> {
        let index = self.map.shards().iter().position(|shard| *shard.master == *endpoint)?;
        self.masters.get(index).map(|node| node.state())
    }
}

impl Shards {
    /// Learns the topology from the first seed that knows it.
    ///
    /// # Errors
    /// The last seed's failure, when none answers by the deadline; `Unsupported` when the servers are not in
    /// cluster mode.
    pub(crate) async fn discover(
        setup: Arc<Setup>,
        seeds: &[Endpoint],
        deadline: Instant,
    ) -> Result<Arc<Self>> {
        let shards = Arc::new_cyclic(|this| Self {
            setup,
            seeds: seeds.iter().cloned().map(Arc::new).collect(),
            view: ArcSwap::from_pointee(View { map: SlotMap::empty(), masters: Vec::new() }),
            nodes: Mutex::default(),
            picks: Mutex::default(),
            stale: Notify::new(),
            version: watch::Sender::new(0),
            this: Weak::clone(this),
        });
        let mut pause = REFRESH_PAUSE.0;
        loop {
            let error = match shards.learn(deadline).await {
                Ok(()) => match shards.what_is_missing() {
                    None => break,
                    Some(missing) => Error::not_sent(ErrorKind::NotReady, missing),
                },
                Err(error) => error,
            };
            let hopeless = matches!(error.class(), Class::Fatal | Class::Reply);
            if hopeless || Instant::now() + pause >= deadline {
                return Err(error);
            }
            sleep(pause).await;
            pause = (pause * 2).min(REFRESH_PAUSE.1);
        }
        let masters = shards.view().masters.clone();
        join_all(masters.iter().map(|node| node.ready(deadline)))
            .await
            .into_iter()
            .collect::<Result<()>>()?;
        Ok(shards)
    }

    /// What the topology lacks to start with.
    fn what_is_missing(&self) -> Option<&'static str> {
        let view = self.view();
        let needs_replicas = self.setup.config.read_from == ReadFrom::Replica;
        if !view.map.is_complete() {
            Some("the cluster does not serve all slots")
        } else if needs_replicas && view.map.shards().iter().any(|shard| shard.replicas.is_empty()) {
            Some("a master has no replica that could be read from")
        } else {
            None
        }
    }

    /// Keeps the view fresh, for ever.
    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        let mut pause = REFRESH_PAUSE.0;
        loop {
            let interval = jittered(self.setup.config.topology_interval);
            let asked_for = timeout(interval, self.stale.notified()).await.is_ok();
            let before = *self.version.borrow();
            if let Err(error) = self.learn(Instant::now() + LEARN_TIMEOUT).await {
                tracing::debug!(kind = ?error.kind(), context = error.context(), "topology not learnt");
            }
            let fruitless = asked_for && before == *self.version.borrow();
            pause = if fruitless { (pause * 2).min(REFRESH_PAUSE.1) } else { REFRESH_PAUSE.0 };
            sleep(pause).await;
        }
    }

    /// The view as it is now.
    pub(crate) fn view(&self) -> Guard<Arc<View>> {
        self.view.load()
    }

    /// Somebody was sent elsewhere or met a dead node: have a look soon.
    pub(crate) fn suspect(&self) {
        self.stale.notify_one();
    }

    /// Grows with every change of the view.
    pub(crate) fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    pub(crate) fn setup(&self) -> &Arc<Setup> {
        &self.setup
    }

    /// The node at an endpoint that a redirect named, connected by the deadline.
    ///
    /// # Errors
    /// Its failure to connect; `Protocol` when the cluster names more nodes than any cluster has.
    pub(crate) async fn at(&self, endpoint: &Arc<Endpoint>, deadline: Instant) -> Result<Arc<Node>> {
        let node = self.node(endpoint)?;
        node.connected(deadline).await?;
        Ok(node)
    }

    /// Has a connection's place reviewed with every change of the view.
    pub(crate) fn tell(&self, pick: &Arc<Pick>) {
        let mut picks = self.picks.lock();
        picks.retain(|pick| pick.strong_count() > 0);
        picks.push(Arc::downgrade(pick));
    }

    /// A master without regard to slots, a connected one if there is any.
    pub(crate) fn any_master(&self) -> Option<Arc<Node>> {
        let view = self.view();
        let up = |node: &&Arc<Node>| node.state() == State::Up;
        let start = rand::random_range(0..view.masters.len().max(1));
        let turned = || view.masters.iter().cycle().skip(start).take(view.masters.len());
        turned().find(up).or_else(|| turned().next()).cloned()
    }

    /// Asks all masters what they own.
    ///
    /// # Errors
    /// The failure of a master to answer; `NotReady` when together they do not own all slots.
    pub(crate) async fn survey(&self, deadline: Instant) -> Result<Ground> {
        let masters = self.view().masters.clone();
        let answers = join_all(masters.iter().map(|node| nodes_by(node, deadline))).await;
        let answers = answers.into_iter().collect::<Result<Vec<_>>>()?;
        Ground::survey(&answers, &|announced| self.setup.config.reachable(announced)).ok_or_else(|| {
            let context = "the masters do not own all slots, so keys would be missing";
            Error::new(ErrorKind::NotReady, Class::Refused, context)
        })
    }

    /// Closes the connections to all nodes.
    pub(crate) async fn close(&self) {
        let nodes: Vec<Arc<Node>> = self.nodes.lock().values().map(|known| Arc::clone(&known.node)).collect();
        join_all(nodes.iter().map(|node| node.close())).await;
    }

    /// One look at the topology.
    async fn learn(&self, deadline: Instant) -> Result<()> {
        let mut failure = Error::not_sent(ErrorKind::Unavailable, "no node of the cluster is known");
        for witnesses in self.candidates()?.chunks(WITNESSES) {
            match self.ask(witnesses, deadline).await {
                Ok(map) => return self.adopt(map),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Nodes to ask: connected ones in random order, and when there are none all that were ever heard of.
    fn candidates(&self) -> Result<Vec<Arc<Node>>> {
        let known: Vec<Arc<Node>> = self.nodes.lock().values().map(|known| Arc::clone(&known.node)).collect();
        let mut up: Vec<Arc<Node>> = known.into_iter().filter(|node| node.state() == State::Up).collect();
        if up.is_empty() {
            let view = self.view();
            let replicas = view.map.shards().iter().flat_map(|shard| &shard.replicas);
            let masters = view.map.shards().iter().map(|shard| &shard.master);
            up = masters.chain(replicas).chain(&self.seeds).map(|at| self.node(at)).collect::<Result<_>>()?;
        }
        up.shuffle(&mut rand::rng());
        Ok(up)
    }

    /// The map two witnesses agree on, or else the fullest one.
    async fn ask(&self, witnesses: &[Arc<Node>], deadline: Instant) -> Result<SlotMap> {
        let deadline = deadline.min(Instant::now() + LEARN_TIMEOUT);
        let mut answers: FuturesUnordered<_> =
            witnesses.iter().map(|node| slots_by(node, deadline)).collect();
        let mut best: Option<SlotMap> = None;
        let mut failure = None;
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(map) if best.as_ref() == Some(&map) => return Ok(map),
                Ok(map) if best.as_ref().is_none_or(|best| !best.is_complete()) => best = Some(map),
                Ok(_) => {}
                Err(error) => failure = Some(error),
            }
        }
        best.ok_or_else(|| failure.unwrap_or_else(|| Error::not_sent(ErrorKind::Unavailable, "no witness")))
    }

    fn adopt(&self, map: SlotMap) -> Result<()> {
        if self.view().map != map {
            let masters =
                map.shards().iter().map(|shard| self.node(&shard.master)).collect::<Result<Vec<_>>>()?;
            let count = masters.len();
            self.view.store(Arc::new(View { map, masters }));
            self.version.send_modify(|version| *version += 1);
            self.review_picks();
            tracing::debug!(masters = count, "the cluster's topology changed");
            self.setup.publish(Event::TopologyChanged { masters: count });
        }
        self.forget_absent();
        Ok(())
    }

    fn review_picks(&self) {
        let view = self.view();
        let picks: Vec<_> = self.picks.lock().iter().filter_map(Weak::upgrade).collect();
        picks.iter().for_each(|pick| pick.review(&view));
    }

    /// Drops nodes that the topology has not named for a while, and with them their connections.
    fn forget_absent(&self) {
        let view = self.view();
        self.nodes.lock().retain(|endpoint, known| {
            let named = view.map.shards().iter().any(|shard| shard.master == *endpoint);
            known.missed = if named { 0 } else { known.missed + 1 };
            known.missed <= FORGET_AFTER
        });
    }

    /// The node at an endpoint; connecting starts with the first call.
    pub(crate) fn node(&self, endpoint: &Arc<Endpoint>) -> Result<Arc<Node>> {
        let mut nodes = self.nodes.lock();
        if let Some(known) = nodes.get_mut(endpoint) {
            known.missed = 0;
            return Ok(Arc::clone(&known.node));
        }
        if nodes.len() >= MAX_NODES {
            let context = "the cluster names more nodes than a cluster can have";
            return Err(Error::new(ErrorKind::Protocol, Class::NotSent, context));
        }
        let source = Arc::new(Member::new(endpoint, &self.this));
        let node = Arc::new(Node::start(self.setup.for_node(source)));
        nodes.insert(Arc::clone(endpoint), Known { node: Arc::clone(&node), missed: 0 });
        Ok(node)
    }
}

/// One node's idea of the cluster in words, and where that node is.
async fn nodes_by(node: &Arc<Node>, deadline: Instant) -> Result<(Arc<Endpoint>, String)> {
    let endpoint = Arc::clone(&node.link().live()?.endpoint);
    let reply = node.send(redis::cmd("CLUSTER").arg("NODES") as &redis::Cmd, deadline).await?;
    let text = redis::from_redis_value(reply::value(reply)?).map_err(|_| reply::unexpected())?;
    Ok((endpoint, text))
}

/// One node's idea of who serves what.
async fn slots_by(node: &Arc<Node>, deadline: Instant) -> Result<SlotMap> {
    let asked = async {
        node.connected(deadline).await?;
        let endpoint = Arc::clone(&node.link().live()?.endpoint);
        let reply = node.send(redis::cmd("CLUSTER").arg("SLOTS") as &redis::Cmd, deadline).await?;
        let reply = reply::value(reply).map_err(|error| match error.kind() {
            ErrorKind::Reply => {
                let context = "the server is not in cluster mode, or refuses CLUSTER SLOTS";
                Error::new(ErrorKind::Unsupported, Class::Fatal, context).with_source(error)
            }
            _ => error,
        })?;
        let reachable = |announced| node.setup().config.reachable(announced);
        SlotMap::parse(&reply, &endpoint, &reachable)
            .ok_or_else(|| Error::new(ErrorKind::Protocol, Class::NotSent, "not a reply to CLUSTER SLOTS"))
    };
    timeout_at(deadline, asked)
        .await
        .unwrap_or_else(|_| Err(Error::not_sent(ErrorKind::Timeout, "asking for the topology")))
}
