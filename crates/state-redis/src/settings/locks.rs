//! The settings of locks.

use state_core::StateResult;

use super::{Setting, exact, login, many, one, unknown};
use crate::config::RedisConfig;
use crate::text::Text;
#[cfg(feature = "tls")]
use crate::validate::invalid;

/// Settings that make sense only together.
#[derive(Default)]
pub(super) struct Parts {
    username: Option<String>,
    password: Option<String>,
    #[cfg(feature = "tls")]
    ca_certs: Option<String>,
    #[cfg(feature = "tls")]
    certfile: Option<String>,
    #[cfg(feature = "tls")]
    keyfile: Option<String>,
}

impl Parts {
    /// Puts together what belongs together.
    ///
    /// # Errors
    /// `InvalidConfig`, naming what is missing.
    pub(super) fn join(mut self, config: &mut RedisConfig) -> StateResult<()> {
        if let Some(credentials) = login(&mut self.username, &mut self.password, "redlock_")? {
            config.redlock_credentials = Some(credentials);
        }
        #[cfg(feature = "tls")]
        self.join_tls(config)?;
        Ok(())
    }

    #[cfg(feature = "tls")]
    fn join_tls(self, config: &mut RedisConfig) -> StateResult<()> {
        use std::path::PathBuf;
        let mut tls = config.redlock_tls.take();
        if let Some(path) = self.ca_certs {
            tls = Some(tls.unwrap_or_default().with_roots(PathBuf::from(path)));
        }
        match (self.certfile, self.keyfile) {
            (Some(certificate), Some(key)) => {
                let identified =
                    tls.unwrap_or_default().with_identity(PathBuf::from(certificate), PathBuf::from(key));
                tls = Some(identified);
            }
            (None, None) => {}
            _ => return Err(invalid("redlock_ssl_certfile and redlock_ssl_keyfile are given together")),
        }
        config.redlock_tls = tls;
        Ok(())
    }
}

/// A text that is one of the [`Parts`].
macro_rules! part {
    ($name:literal, $about:literal, $field:ident) => {
        Setting {
            name: $name,
            about: $about,
            read: |draft, given| exact(given).map(|text| draft.locks.$field = Some(text)),
            show: unknown,
        }
    };
}

pub(super) const LOCKS: &[Setting] = &[
    Setting {
        name: "redlock_nodes",
        about: "URLs of the masters that grant locks by majority",
        read: |draft, given| many(given).map(|urls| draft.config.redlock_nodes = urls),
        show: unknown,
    },
    part!("redlock_username", "Their ACL user, for URLs without a password", username),
    part!("redlock_password", "Their password, for URLs without one", password),
    #[cfg(feature = "tls")]
    part!("redlock_ssl_ca_certs", "PEM file of the authorities that sign their certificates", ca_certs),
    #[cfg(feature = "tls")]
    part!("redlock_ssl_certfile", "PEM file of the certificate presented to them", certfile),
    #[cfg(feature = "tls")]
    part!("redlock_ssl_keyfile", "PEM file of its key", keyfile),
    setting!("locks_max_ttl", "The longest TTL of a lock", locks.max_ttl),
    setting!("locks_node_timeout", "How long a server may take over a lock", locks.node_timeout),
    setting!("locks_quarantine", "Whether servers abstain after a restart", locks.quarantine),
    setting!("lock_wait", "How long `acquire_lock` waits; else as long as the TTL", lock_wait),
];
