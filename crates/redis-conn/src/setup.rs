//! What all parts of one handle share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::broadcast;
use tokio::time::timeout;

use crate::config::Config;
use crate::dial::Dialer;
use crate::endpoint::{Endpoint, EndpointSource};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::observe::Observer;

/// Events a slow subscriber may lag behind before it misses some.
const EVENT_BACKLOG: usize = 256;

/// Configuration, dialer, where to connect, the epoch and the event stream of one handle.
pub(crate) struct Setup {
    pub(crate) config: Arc<Config>,
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) source: Arc<dyn EndpointSource>,
    pub(crate) events: broadcast::Sender<Event>,
    /// Whether its keys lie in many slots, which one `MGET` cannot span.
    pub(crate) many_slots: bool,
    epoch: AtomicU64,
}

impl Setup {
    pub(crate) fn new(config: Arc<Config>, source: Arc<dyn EndpointSource>) -> Arc<Self> {
        Arc::new(Self {
            dialer: Arc::new(Dialer::new(Arc::clone(&config))),
            config,
            source,
            events: broadcast::Sender::new(EVENT_BACKLOG),
            many_slots: false,
            epoch: AtomicU64::new(1),
        })
    }

    /// The same for one node of several: its own place to connect to and its own epoch, all else shared.
    pub(crate) fn for_node(&self, source: Arc<dyn EndpointSource>) -> Arc<Self> {
        Arc::new(Self {
            config: Arc::clone(&self.config),
            dialer: Arc::clone(&self.dialer),
            source,
            events: self.events.clone(),
            many_slots: true,
            epoch: AtomicU64::new(1),
        })
    }

    /// What connections need that stand beside the shared one and are watched apart from it: an epoch and events
    /// of their own, all else shared.
    pub(crate) fn beside(
        &self,
        config: Arc<Config>,
        dialer: Dialer,
        source: Arc<dyn EndpointSource>,
    ) -> Arc<Self> {
        Arc::new(Self {
            config,
            dialer: Arc::new(dialer),
            source,
            events: broadcast::Sender::new(1),
            many_slots: self.many_slots,
            epoch: AtomicU64::new(1),
        })
    }

    /// The endpoint to dial now, found within the dial timeout.
    ///
    /// # Errors
    /// What the source answered, or `Timeout`.
    pub(crate) async fn locate(&self) -> Result<Arc<Endpoint>> {
        match timeout(self.config.dial_timeout, self.source.locate()).await {
            Ok(located) => located,
            Err(_) => {
                Err(Error::not_sent(ErrorKind::Timeout, "the server was not found within dial_timeout"))
            }
        }
    }

    /// The present epoch: connections of an earlier one are not to be used for new work.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// A connection was lost or given up, so the others to that server are not trusted either.
    pub(crate) fn bump_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Tells whoever listens; without listeners the event is dropped.
    pub(crate) fn publish(&self, event: Event) {
        let _ = self.events.send(event);
    }

    pub(crate) fn observe(&self, tell: impl FnOnce(&dyn Observer)) {
        if let Some(observer) = &self.config.observer {
            tell(observer.as_ref());
        }
    }
}
