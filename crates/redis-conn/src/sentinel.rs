//! Sentinel: finds the master of a service, and follows it the moment the sentinels move it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::config::Config;
use crate::dial::Dialer;
use crate::endpoint::{Endpoint, EndpointSource};
use crate::error::{Class, Error, ErrorKind, Result};
use crate::handshake::{Role, ServerInfo};
use crate::health::{Duty, HealthReason, NodeHealth};

mod ballot;
mod replicas;
mod settings;
mod survey;
mod watcher;

use ballot::{Ballot, Choice, Effect, Vote};
use replicas::ReplicaSource;
pub use settings::SentinelSettings;

/// How often all sentinels are asked while a switch waits for a majority.
const RECOUNT: Duration = Duration::from_millis(25);

/// Most sentinels watched at a time, configured and learned ones together.
const MOST_SENTINELS: usize = 32;

/// The master of a service, as the sentinels name it now.
pub(crate) struct SentinelSource {
    shared: Arc<Shared>,
    patience: Instant,
}

/// What the watchers of all sentinels work on together.
struct Shared {
    service: String,
    settings: SentinelSettings,
    dialer: Dialer,
    /// Time one exchange with a sentinel may take.
    limit: Duration,
    ballot: Mutex<Ballot>,
    /// Grows with every vote.
    votes: watch::Sender<u64>,
    /// Grows when all sentinels are to be asked now.
    hurry: watch::Sender<u64>,
    /// Grows when connections to the master of so far have to be closed.
    generation: watch::Sender<u64>,
    /// The replicas that the sentinel heard last calls healthy.
    replicas: watch::Sender<Vec<Arc<Endpoint>>>,
    /// The replica that is read from.
    reading: Mutex<Option<Arc<Endpoint>>>,
    /// Grows when connections to that replica have to be closed.
    replica_generation: watch::Sender<u64>,
    /// Why a sentinel was not reached when that last happened.
    last_failure: Mutex<Option<Error>>,
    roster: Mutex<Roster>,
    /// How each sentinel that is watched is.
    standing: watch::Sender<Vec<NodeHealth>>,
    /// The watchers; `None` once the source is gone.
    watchers: Mutex<Option<JoinSet<()>>>,
}

/// Who is watched.
#[derive(Default)]
struct Roster {
    endpoints: Vec<Arc<Endpoint>>,
    identities: Vec<Identity>,
}

/// A sentinel by the identity it gives itself, and the one of its addresses that votes.
struct Identity {
    id: String,
    address: Arc<Endpoint>,
    learned: bool,
}

impl SentinelSource {
    /// Starts watching `sentinels`. Must be called on a runtime.
    pub(crate) fn start(config: &Config, sentinels: &[Endpoint], service: &str) -> Self {
        let shared = Arc::new(Shared {
            service: service.to_owned(),
            settings: config.sentinel.clone(),
            dialer: Dialer::new(Arc::new(for_sentinels(config))),
            limit: config.dial_timeout,
            ballot: Mutex::default(),
            votes: watch::Sender::new(0),
            hurry: watch::Sender::new(0),
            generation: watch::Sender::new(0),
            replicas: watch::Sender::new(Vec::new()),
            reading: Mutex::default(),
            replica_generation: watch::Sender::new(0),
            last_failure: Mutex::default(),
            roster: Mutex::default(),
            standing: watch::Sender::default(),
            watchers: Mutex::new(Some(JoinSet::new())),
        });
        for sentinel in sentinels {
            shared.enrol(sentinel.clone(), false);
        }
        // Longer than a slow sentinel takes, shorter than one attempt may take.
        Self { shared, patience: Instant::now() + config.dial_timeout.mul_f64(0.75) }
    }
}

/// The settings of connections to sentinels: those of the master, without its database and credentials.
fn for_sentinels(config: &Config) -> Config {
    let settings = &config.sentinel;
    let mut config = Config { db: 0, max_in_flight: 16, ..config.clone() };
    config.credentials.clone_from(&settings.credentials);
    config.credentials_provider.clone_from(&settings.credentials_provider);
    #[cfg(feature = "tls")]
    config.tls.clone_from(&settings.tls);
    config
}

#[async_trait]
impl EndpointSource for SentinelSource {
    async fn locate(&self) -> Result<Arc<Endpoint>> {
        let mut votes = self.shared.votes.subscribe();
        self.shared.hurry();
        loop {
            votes.mark_unchanged();
            let choice = self.shared.ballot.lock().choose(self.patience, Instant::now());
            match choice {
                Choice::Master(endpoint) => return Ok(endpoint),
                Choice::Undecided(until) => {
                    // Woken by a vote or by the time; both lead to another choice.
                    let soon = until.min(Instant::now() + RECOUNT);
                    if timeout_at(soon, votes.changed()).await.is_err() {
                        self.shared.hurry();
                    }
                }
                Choice::Unknown => return Err(self.shared.nowhere()),
            }
        }
    }

    fn generation(&self) -> watch::Receiver<u64> {
        self.shared.generation.subscribe()
    }

    fn replicas(&self) -> Option<Arc<dyn EndpointSource>> {
        Some(Arc::new(ReplicaSource { shared: Arc::clone(&self.shared) }))
    }

    fn verify(&self, endpoint: &Endpoint, server: &ServerInfo) -> Result<()> {
        match server.role {
            Some(Role::Master) | None => Ok(()),
            Some(_) => {
                self.shared.ballot.lock().reject(Arc::new(endpoint.clone()), Instant::now());
                Err(Error::new(
                    ErrorKind::NotReady,
                    Class::WrongRole,
                    format!("{endpoint} is named as the master and is none"),
                ))
            }
        }
    }

    fn close(&self) {
        self.shared.watchers.lock().take();
    }

    fn sentinels(&self) -> Option<watch::Receiver<Vec<NodeHealth>>> {
        Some(self.shared.standing.subscribe())
    }

    #[cfg(feature = "tls")]
    async fn reload_tls(&self) -> Result<()> {
        self.shared.dialer.reload_tls().await
    }
}

impl Drop for SentinelSource {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// Watches one more sentinel, unless it is watched already or there are too many.
    fn enrol(self: &Arc<Self>, sentinel: Endpoint, learned: bool) {
        let sentinel = Arc::new(sentinel);
        let mut roster = self.roster.lock();
        if roster.endpoints.contains(&sentinel) || roster.endpoints.len() >= MOST_SENTINELS {
            return;
        }
        let mut watchers = self.watchers.lock();
        let Some(watchers) = watchers.as_mut() else { return };
        roster.endpoints.push(Arc::clone(&sentinel));
        self.ballot.lock().enrol(&sentinel.to_string());
        self.note(&sentinel, Some(HealthReason::NotChecked), None);
        while watchers.try_join_next().is_some() {}
        watchers.spawn(watcher::watch(Arc::clone(self), sentinel, learned));
    }

    /// Watches a sentinel that another one told us of.
    fn learn(self: &Arc<Self>, id: &str, sentinel: Endpoint) {
        if !self.roster.lock().identities.iter().any(|known| known.id == id) {
            self.enrol(sentinel, true);
        }
    }

    /// Whether `sentinel` is the address that votes for the sentinel calling itself `id`: one of several does. A
    /// configured address takes over from a learned one, because the configuration may name it by a host name
    /// that outlives addresses.
    fn claim(&self, id: &str, sentinel: &Arc<Endpoint>, learned: bool) -> bool {
        let mut roster = self.roster.lock();
        if roster
            .identities
            .iter()
            .any(|known| known.id == id && known.address != *sentinel && known.learned <= learned)
        {
            return false;
        }
        roster.identities.retain(|known| known.id != id && known.address != *sentinel);
        roster.identities.push(Identity { id: id.to_owned(), address: Arc::clone(sentinel), learned });
        true
    }

    /// Takes a sentinel's vote away; it goes on being watched.
    fn withdraw(&self, sentinel: &Arc<Endpoint>) {
        self.ballot.lock().strike(&sentinel.to_string());
        self.standing.send_if_modified(|standing| {
            let watched = standing.len();
            standing.retain(|health| health.endpoint.as_ref() != Some(sentinel));
            standing.len() < watched
        });
        self.roster.lock().identities.retain(|known| known.address != *sentinel);
        self.counted();
    }

    /// No longer watches a sentinel.
    fn dismiss(&self, sentinel: &Arc<Endpoint>) {
        self.withdraw(sentinel);
        self.roster.lock().endpoints.retain(|watched| watched != sentinel);
    }

    fn vote(&self, sentinel: &Endpoint, vote: Option<Vote>) {
        let effect = self.ballot.lock().vote(&sentinel.to_string(), vote, Instant::now());
        if effect == Effect::Leave {
            tracing::info!(service = %self.service, "the sentinels are moving the master");
            self.generation.send_modify(|generation| *generation += 1);
            self.hurry();
        }
        self.counted();
    }

    fn lost(&self, sentinel: &Arc<Endpoint>, error: Error) {
        self.ballot.lock().lost(&sentinel.to_string());
        let against = match error.kind() {
            ErrorKind::Auth | ErrorKind::Denied => HealthReason::Auth,
            _ => HealthReason::NotConnected,
        };
        self.note(sentinel, Some(against), None);
        *self.last_failure.lock() = Some(error);
        self.counted();
    }

    fn counted(&self) {
        self.votes.send_modify(|count| *count += 1);
    }

    /// Keeps how a sentinel is; one that answers, does so as a sentinel.
    fn note(&self, sentinel: &Arc<Endpoint>, against: Option<HealthReason>, latency: Option<Duration>) {
        let now = NodeHealth {
            latency,
            role: latency.map(|_| Role::Sentinel),
            ..NodeHealth::of(Some(Arc::clone(sentinel)), Duty::Sentinel, against)
        };
        self.standing.send_if_modified(|standing| {
            match standing.iter_mut().find(|known| known.endpoint == now.endpoint) {
                Some(known) => {
                    let is_news = now.is_news_after(known);
                    *known = now;
                    is_news
                }
                None => {
                    standing.push(now);
                    true
                }
            }
        });
    }

    fn name_replicas(&self, replicas: Vec<Arc<Endpoint>>) {
        let left = self.reading.lock().take_if(|reading| !replicas.contains(reading));
        self.replicas.send_replace(replicas);
        if left.is_some() {
            self.replica_generation.send_modify(|generation| *generation += 1);
        }
    }

    /// Has all sentinels asked now.
    fn hurry(&self) {
        self.hurry.send_modify(|count| *count += 1);
    }

    /// Why no master is known.
    fn nowhere(&self) -> Error {
        match self.last_failure.lock().as_ref() {
            Some(failure)
                if matches!(failure.kind(), ErrorKind::Auth | ErrorKind::Denied | ErrorKind::Tls) =>
            {
                Error::new(failure.kind(), failure.class(), format!("a sentinel: {}", failure.context()))
            }
            Some(failure) => {
                let says = failure.context();
                let context = format!("no sentinel names a master of the service, and one failed: {says}");
                Error::not_sent(ErrorKind::Unavailable, context)
            }
            None => Error::not_sent(ErrorKind::Unavailable, "no sentinel names a master of the service"),
        }
    }

    fn reachable(&self, announced: Endpoint) -> Arc<Endpoint> {
        self.dialer.config().reachable(announced)
    }
}
