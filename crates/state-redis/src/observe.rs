//! What the connection tells: handed on to the instruments, and to the breakers.

use std::time::Duration;

use redis_conn::{BatchKind, DownReason, Endpoint, Error, Observer};

#[cfg(feature = "resilience")]
use crate::breakers::Breakers;
use crate::instruments::Instruments;

/// Watches the connections of one backend.
pub(crate) struct Watcher {
    pub(crate) instruments: Instruments,
    #[cfg(feature = "resilience")]
    pub(crate) breakers: Option<std::sync::Arc<Breakers>>,
}

impl Observer for Watcher {
    fn connected(&self, endpoint: &Endpoint, took: Duration) {
        self.instruments.connected(endpoint, took);
        #[cfg(feature = "resilience")]
        if let Some(breakers) = &self.breakers {
            breakers.connected(endpoint);
        }
    }

    fn connect_failed(&self, endpoint: Option<&Endpoint>, _error: &Error) {
        self.instruments.connect_failed();
        #[cfg(feature = "resilience")]
        if let (Some(breakers), Some(endpoint)) = (&self.breakers, endpoint) {
            breakers.connect_failed(endpoint);
        }
        #[cfg(not(feature = "resilience"))]
        let _ = endpoint;
    }

    fn disconnected(&self, endpoint: &Endpoint, reason: DownReason) {
        self.instruments.disconnected(endpoint, reason);
    }

    fn subscriber_opened(&self, _endpoint: &Endpoint) {
        self.instruments.subscriber_opened();
    }

    fn subscriber_closed(&self, _endpoint: &Endpoint) {
        self.instruments.subscriber_closed();
    }

    fn queued(&self, waited: Duration) {
        self.instruments.queued(waited);
    }

    fn batch_sent(&self, kind: BatchKind, members: usize) {
        self.instruments.batch_sent(kind, members);
    }

    fn pool_waited(&self, waited: Duration) {
        self.instruments.pool_waited(waited);
    }
}

/// Watches the connections of a backend's locks: only those that subscribe are counted, since no operation passes there.
#[cfg(feature = "locks")]
pub(crate) struct SubscriberWatcher(pub(crate) Instruments);

#[cfg(feature = "locks")]
impl Observer for SubscriberWatcher {
    fn subscriber_opened(&self, _endpoint: &Endpoint) {
        self.0.subscriber_opened();
    }

    fn subscriber_closed(&self, _endpoint: &Endpoint) {
        self.0.subscriber_closed();
    }
}
