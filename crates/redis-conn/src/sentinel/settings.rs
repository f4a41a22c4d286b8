//! How to talk to the sentinels.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::credentials::{Credentials, CredentialsProvider};
use crate::error::{Error, Result};
#[cfg(feature = "tls")]
use crate::tls::Tls;

/// How to talk to the sentinels. Sentinels have credentials and TLS of their own: those of the master are never
/// sent to them.
///
/// Each sentinel is watched over two connections: one subscribed to `+switch-master`, one to ask. An ACL user for
/// that needs, on the sentinels, `&+switch-master +subscribe +sentinel|get-master-addr-by-name`; and, on the
/// master, `+role` beside what the application uses. What else the user may do is made use of:
/// `+sentinel|master` lets the latest configuration win where no address has a majority, `+sentinel|sentinels
/// +sentinel|myid` lets further sentinels be learned, `+sentinel|replicas` is needed to read from replicas.
#[derive(Clone)]
#[non_exhaustive]
pub struct SentinelSettings {
    /// Credentials of the sentinels. Default: none.
    pub credentials: Option<Credentials>,
    /// Rotating credentials of the sentinels, preferred over [`credentials`](Self::credentials). Default: none.
    pub credentials_provider: Option<Arc<dyn CredentialsProvider>>,
    /// TLS to the sentinels. Default: none, plain TCP.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
    /// Pause between two questions to each sentinel, beside its notifications; each pause is drawn from the
    /// upper half. Default: 2 s.
    pub poll_interval: Duration,
    /// Whether to watch the sentinels that the configured ones know, too. Default: true.
    pub learn: bool,
}

impl Default for SentinelSettings {
    fn default() -> Self {
        Self {
            credentials: None,
            credentials_provider: None,
            #[cfg(feature = "tls")]
            tls: None,
            poll_interval: Duration::from_secs(2),
            learn: true,
        }
    }
}

impl SentinelSettings {
    /// Sets [`credentials`](Self::credentials).
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Sets [`credentials_provider`](Self::credentials_provider).
    #[must_use]
    pub fn with_credentials_provider(mut self, provider: Arc<dyn CredentialsProvider>) -> Self {
        self.credentials_provider = Some(provider);
        self
    }

    /// Sets [`tls`](Self::tls).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets [`poll_interval`](Self::poll_interval).
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Sets [`learn`](Self::learn).
    #[must_use]
    pub fn with_learn(mut self, learn: bool) -> Self {
        self.learn = learn;
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        if self.poll_interval < Duration::from_millis(10) {
            return Err(Error::invalid("sentinel.poll_interval must not be below 10 ms"));
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.validate();
        }
        Ok(())
    }
}

impl fmt::Debug for SentinelSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("SentinelSettings");
        debug.field("credentials", &self.credentials);
        debug.field("credentials_provider", &self.credentials_provider.is_some());
        #[cfg(feature = "tls")]
        debug.field("tls", &self.tls);
        debug.field("poll_interval", &self.poll_interval);
        debug.field("learn", &self.learn).finish()
    }
}
