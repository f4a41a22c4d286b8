//! Which node of a cluster a connection goes to: one fixed master, or one of several that will all do.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rand::seq::IndexedRandom as _;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::endpoint::{Endpoint, EndpointSource, FixedEndpoint};
use crate::error::{Error, ErrorKind, Result};
use crate::events::State;
use crate::handshake::ServerInfo;
use crate::shards::{Shards, View};

/// How often a search for a node may have the topology looked at.
const SUSPECT_INTERVAL: Duration = Duration::from_secs(1);

/// The source of the connections to one node of a cluster.
pub(crate) struct Member {
    endpoint: Arc<Endpoint>,
    fixed: FixedEndpoint,
    shards: Weak<Shards>,
}

impl Member {
    pub(crate) fn new(endpoint: &Arc<Endpoint>, shards: &Weak<Shards>) -> Self {
        let fixed = FixedEndpoint::new(Endpoint::clone(endpoint));
        Self { endpoint: Arc::clone(endpoint), fixed, shards: Weak::clone(shards) }
    }
}

#[async_trait]
impl EndpointSource for Member {
    async fn locate(&self) -> Result<Arc<Endpoint>> {
        Ok(Arc::clone(&self.endpoint))
    }

    fn generation(&self) -> watch::Receiver<u64> {
        self.fixed.generation()
    }

    fn replicas(&self) -> Option<Arc<dyn EndpointSource>> {
        Some(Pick::start(&self.shards.upgrade()?, Among::ReplicasOf(Arc::clone(&self.endpoint))))
    }

    fn verify(&self, endpoint: &Endpoint, server: &ServerInfo) -> Result<()> {
        self.fixed.verify(endpoint, server)
    }

    fn constant(&self) -> Option<Arc<Endpoint>> {
        Some(Arc::clone(&self.endpoint))
    }

    fn misled(&self) {
        if let Some(shards) = self.shards.upgrade() {
            shards.suspect();
        }
    }
}

/// The nodes that will do.
#[derive(Clone, Debug)]
pub(crate) enum Among {
    Masters,
    ReplicasOf(Arc<Endpoint>),
}

impl Among {
    fn candidates(&self, view: &View) -> Vec<Arc<Endpoint>> {
        let shards = view.map.shards();
        match self {
            Self::Masters => shards.iter().map(|shard| Arc::clone(&shard.master)).collect(),
            Self::ReplicasOf(master) => {
                let shard = shards.iter().find(|shard| shard.master == *master);
                shard.map(|shard| shard.replicas.clone()).unwrap_or_default()
            }
        }
    }
}

/// One node drawn from several, for one connection at a time; left when it is no longer among them.
pub(crate) struct Pick {
    shards: Weak<Shards>,
    among: Among,
    drawn: Mutex<Option<Arc<Endpoint>>>,
    suspected: Mutex<Option<Instant>>,
    generation: watch::Sender<u64>,
}

impl Pick {
    pub(crate) fn start(shards: &Arc<Shards>, among: Among) -> Arc<Self> {
        let pick = Arc::new(Self {
            shards: Arc::downgrade(shards),
            among,
            drawn: Mutex::default(),
            suspected: Mutex::default(),
            generation: watch::Sender::new(0),
        });
        shards.tell(&pick);
        pick
    }

    /// Looks whether the node that was drawn is still one of those that will do.
    pub(crate) fn review(&self, view: &View) {
        let candidates = self.among.candidates(view);
        let left = self.drawn.lock().take_if(|drawn| !candidates.contains(drawn));
        if left.is_some() {
            self.generation.send_modify(|generation| *generation += 1);
        }
    }

    /// Another node than before is wanted, or the first one: has the topology looked at, but not all the time
    /// where a master simply has no replicas.
    fn suspect(&self, shards: &Shards) {
        let mut suspected = self.suspected.lock();
        if suspected.is_none_or(|at| at.elapsed() >= SUSPECT_INTERVAL) {
            *suspected = Some(Instant::now());
            shards.suspect();
        }
    }

    fn draw(&self, shards: &Shards) -> Option<Arc<Endpoint>> {
        let view = shards.view();
        let candidates = self.among.candidates(&view);
        let is_down = |candidate: &&Arc<Endpoint>| view.state_of(candidate).is_some_and(|s| s != State::Up);
        let fit: Vec<_> = candidates.iter().filter(|candidate| !is_down(candidate)).collect();
        let drawn = fit.choose(&mut rand::rng()).copied().or_else(|| candidates.choose(&mut rand::rng()));
        drawn.cloned()
    }
}

#[async_trait]
impl EndpointSource for Pick {
    async fn locate(&self) -> Result<Arc<Endpoint>> {
        let gone = || Error::not_sent(ErrorKind::Closed, "the handle is gone");
        let shards = self.shards.upgrade().ok_or_else(gone)?;
        let next = self.draw(&shards);
        self.drawn.lock().clone_from(&next);
        self.suspect(&shards);
        next.ok_or_else(|| Error::not_sent(ErrorKind::Unavailable, "the cluster names no such node"))
    }

    fn generation(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// A replica that has been promoted meanwhile is as good, until the topology tells.
    fn verify(&self, _: &Endpoint, _: &ServerInfo) -> Result<()> {
        Ok(())
    }
}
