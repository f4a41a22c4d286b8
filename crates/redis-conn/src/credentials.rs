//! Who we are to the server: fixed credentials, or a provider that is asked before every handshake.

use std::fmt;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;

use crate::error::Result;

/// A user name and a password. Neither shows in `Debug`.
#[derive(Clone)]
pub struct Credentials {
    user: Option<SecretString>,
    password: SecretString,
}

impl Credentials {
    /// The password of the `default` user (`requirepass`).
    pub fn password(password: impl Into<String>) -> Self {
        Self { user: None, password: SecretString::from(password.into()) }
    }

    /// An ACL user and its password.
    pub fn user(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: Some(SecretString::from(user.into())), password: SecretString::from(password.into()) }
    }

    pub(crate) fn expose_user(&self) -> Option<&str> {
        self.user.as_ref().map(ExposeSecret::expose_secret)
    }

    pub(crate) fn expose_password(&self) -> &str {
        self.password.expose_secret()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(redacted)")
    }
}

/// Hands out the credentials for the next handshake.
///
/// It is asked before every connection attempt, so a rotated password is picked up by the first attempt after
/// the rotation; an attempt that fails (`WRONGPASS`) is followed by another one that asks again.
#[async_trait]
pub trait CredentialsProvider: Send + Sync + 'static {
    /// The credentials valid now, `None` to connect without authentication.
    ///
    /// # Errors
    /// Whatever keeps the provider from answering; it becomes the source of the attempt's error, so keep
    /// secrets out of it. The attempt is repeated later.
    async fn credentials(&self) -> Result<Option<Credentials>, Box<dyn std::error::Error + Send + Sync>>;

    /// A counter that grows with every rotation. Connections that stand are then authenticated anew with what
    /// [`credentials`](Self::credentials) answers, without a reconnect: needed where a server ends or limits
    /// sessions whose credentials have run out. Until the server accepts the new ones they stay authenticated as
    /// they were, and it is tried again every second. Dedicated connections are authenticated anew before their
    /// next command; subscriptions cannot be and move to a new connection, which shows as a
    /// [`Notice::Gap`](crate::Notice::Gap). Default: `None`, rotation is noticed by new connections only.
    fn rotations(&self) -> Option<watch::Receiver<u64>> {
        None
    }
}

/// The provider behind credentials that never change.
pub(crate) struct FixedCredentials(pub(crate) Option<Credentials>);

#[async_trait]
impl CredentialsProvider for FixedCredentials {
    async fn credentials(&self) -> Result<Option<Credentials>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.clone())
    }
}
