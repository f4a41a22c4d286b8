//! What stands behind the question mark.

use super::{parse_db, percent_decode, wrong};
use crate::config::{Config, Protocol};
use crate::credentials::Credentials;
use crate::error::Result;

/// Parameters that make sense only together.
#[derive(Default)]
struct Parameters {
    user: Option<String>,
    password: Option<String>,
    sentinel_user: Option<String>,
    sentinel_password: Option<String>,
    files: Files,
}

/// Paths of PEM files, under the names that redis-py has for them.
#[derive(Default)]
struct Files {
    ssl_ca_certs: Option<String>,
    ssl_certfile: Option<String>,
    ssl_keyfile: Option<String>,
}

pub(super) fn apply(config: &mut Config, query: &str) -> Result<()> {
    let mut given = Parameters::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode(value)?;
        match name {
            "db" => config.db = parse_db(&value)?,
            "user" => given.user = Some(value),
            "pass" | "password" => given.password = Some(value),
            "client_name" => config.client_name = Some(value),
            "protocol" => config.protocol = parse_protocol(&value)?,
            "sentinel_user" => given.sentinel_user = Some(value),
            "sentinel_password" => given.sentinel_password = Some(value),
            "ssl_ca_certs" => given.files.ssl_ca_certs = Some(value),
            "ssl_certfile" => given.files.ssl_certfile = Some(value),
            "ssl_keyfile" => given.files.ssl_keyfile = Some(value),
            _ => return Err(wrong("has an unknown query parameter")),
        }
    }
    if let Some(credentials) = login(given.user, given.password)? {
        config.credentials = Some(credentials);
    }
    if let Some(credentials) = login(given.sentinel_user, given.sentinel_password)? {
        config.sentinel.credentials = Some(credentials);
    }
    given.files.apply(config)
}

impl Files {
    fn is_empty(&self) -> bool {
        self.ssl_ca_certs.is_none() && self.ssl_certfile.is_none() && self.ssl_keyfile.is_none()
    }

    /// Sets them for all connections over TLS, to sentinels as well.
    #[cfg(feature = "tls")]
    fn apply(self, config: &mut Config) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let mut tls =
            config.tls.take().ok_or_else(|| wrong("names certificates without TLS; write rediss"))?;
        if let Some(path) = self.ssl_ca_certs {
            tls = tls.with_roots(std::path::PathBuf::from(path));
        }
        match (self.ssl_certfile, self.ssl_keyfile) {
            (Some(certificate), Some(key)) => {
                tls = tls.with_identity(std::path::PathBuf::from(certificate), std::path::PathBuf::from(key));
            }
            (None, None) => {}
            _ => return Err(wrong("needs ssl_certfile and ssl_keyfile together")),
        }
        config.sentinel.tls = config.sentinel.tls.as_ref().map(|_| tls.clone());
        config.tls = Some(tls);
        Ok(())
    }

    #[cfg(not(feature = "tls"))]
    fn apply(self, _: &mut Config) -> Result<()> {
        if self.is_empty() { Ok(()) } else { Err(super::unsupported("certificates in")) }
    }
}

fn login(user: Option<String>, password: Option<String>) -> Result<Option<Credentials>> {
    match (user, password) {
        (Some(user), Some(password)) => Ok(Some(Credentials::user(user, password))),
        (None, Some(password)) => Ok(Some(Credentials::password(password))),
        (Some(_), None) => Err(wrong("has a user without a password")),
        (None, None) => Ok(None),
    }
}

fn parse_protocol(value: &str) -> Result<Protocol> {
    match value {
        "auto" => Ok(Protocol::Auto),
        "resp2" | "2" => Ok(Protocol::Resp2),
        "resp3" | "3" => Ok(Protocol::Resp3),
        _ => Err(wrong("has a protocol other than resp2 and resp3")),
    }
}
