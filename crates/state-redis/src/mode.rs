//! Which servers to talk to.

use std::fmt;

use redis_conn::{Config, Endpoint, Servers};
use state_core::{ErrorKind, StateError, StateResult};

use crate::error;

/// Which servers to talk to. Credentials in URLs never show in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum RedisMode {
    /// One server.
    Standalone {
        /// `redis://[[user]:password@]host[:port][/db]`, `redis+unix:///path`, or another URL that
        /// [`redis_conn::Config::from_url`] reads.
        url: String,
    },
    /// The master of a service that sentinels watch over.
    Sentinel {
        /// The sentinels, as `redis://host[:port]` each, on port 26379 where none is named. User and password in the
        /// first are those of the master; those of the sentinels go behind it, as `?sentinel_password=...`.
        sentinels: Vec<String>,
        /// The name of the service (`sentinel monitor NAME ...`).
        service_name: String,
    },
    /// A Redis Cluster.
    Cluster {
        /// Some of its nodes, as `redis://host[:port]` each.
        nodes: Vec<String>,
    },
}

/// Where sentinels listen by default.
const SENTINEL_PORT: u16 = 26379;

impl RedisMode {
    /// The connection settings for these servers.
    pub(crate) fn conn_config(&self) -> StateResult<Config> {
        match self {
            Self::Standalone { url } => from_url("mode.url", url),
            Self::Sentinel { sentinels, service_name } => {
                if service_name.is_empty() {
                    return Err(invalid("mode.service_name is empty"));
                }
                let (mut config, known) = endpoints("mode.sentinels", sentinels)?;
                let sentinels = known.into_iter().zip(sentinels).map(at_sentinel_port).collect();
                config.servers = Servers::Sentinel { sentinels, service: service_name.clone() };
                Ok(config)
            }
            Self::Cluster { nodes } => {
                let (mut config, seeds) = endpoints("mode.nodes", nodes)?;
                config.servers = Servers::Cluster { seeds };
                Ok(config)
            }
        }
    }
}

impl Default for RedisMode {
    fn default() -> Self {
        Self::Standalone { url: "redis://localhost:6379".to_owned() }
    }
}

impl fmt::Debug for RedisMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standalone { url } => f.debug_struct("Standalone").field("url", &redacted(url)).finish(),
            Self::Sentinel { sentinels, service_name } => f
                .debug_struct("Sentinel")
                .field("sentinels", &sentinels.iter().map(|url| redacted(url)).collect::<Vec<_>>())
                .field("service_name", service_name)
                .finish(),
            Self::Cluster { nodes } => f
                .debug_struct("Cluster")
                .field("nodes", &nodes.iter().map(|url| redacted(url)).collect::<Vec<_>>())
                .finish(),
        }
    }
}

fn from_url(field: &str, url: &str) -> StateResult<Config> {
    Config::from_url(url).map_err(|cause| error::in_config(field, cause))
}

/// The endpoints of several URLs, and the settings that the first one brings.
fn endpoints(field: &str, urls: &[String]) -> StateResult<(Config, Vec<Endpoint>)> {
    let configs = urls.iter().map(|url| from_url(field, url)).collect::<StateResult<Vec<_>>>()?;
    let endpoints = configs.iter().map(|config| match &config.servers {
        Servers::Standalone(endpoint) => Ok(endpoint.clone()),
        _ => Err(invalid(format!("{field} takes one host in each URL"))),
    });
    let endpoints = endpoints.collect::<StateResult<Vec<_>>>()?;
    let first = configs.into_iter().next().ok_or_else(|| invalid(format!("{field} is empty")))?;
    Ok((first, endpoints))
}

/// Where a sentinel listens: not where servers do, unless its URL names the port.
fn at_sentinel_port((endpoint, url): (Endpoint, &String)) -> Endpoint {
    match endpoint {
        Endpoint::Tcp { host, .. } if !names_port(url) => Endpoint::tcp(host, SENTINEL_PORT),
        named => named,
    }
}

/// Whether a URL of one host has a port.
fn names_port(url: &str) -> bool {
    let behind_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = behind_scheme.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    // An IPv6 address has colons of its own, in brackets.
    host.rsplit(']').next().unwrap_or_default().contains(':')
}

fn invalid(context: impl Into<std::borrow::Cow<'static, str>>) -> StateError {
    StateError::new(ErrorKind::InvalidConfig, context)
}

/// `url` without what may be secret: the user, the password and the query.
fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "(redacted)".to_owned() };
    let rest = rest.split('?').next().unwrap_or_default();
    match rest.rsplit_once('@') {
        Some((_login, host)) => format!("{scheme}://(redacted)@{host}"),
        None => format!("{scheme}://{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_where_and_hides_who() {
        for url in
            ["redis://u:s3cret@h:1/2", "redis://h:1/2?password=s3cret", "s3cret", "redis://a:s3c@ret@h:1/2"]
        {
            let shown = format!("{:?}", RedisMode::Standalone { url: url.to_owned() });
            assert!(!shown.contains("s3c") && !shown.contains("ret@"), "{shown}");
        }
        let shown = format!("{:?}", RedisMode::Standalone { url: "redis://u:p@host:7/2".to_owned() });
        assert!(shown.contains("@host:7/2"), "{shown}");
    }

    #[test]
    fn empty_lists_are_refused_by_name() {
        let sentinel = RedisMode::Sentinel { sentinels: Vec::new(), service_name: "main".to_owned() };
        assert!(sentinel.conn_config().unwrap_err().context().contains("mode.sentinels"));
        let sentinels = vec!["redis://h".to_owned()];
        let nameless = RedisMode::Sentinel { sentinels, service_name: String::new() };
        assert!(nameless.conn_config().unwrap_err().context().contains("mode.service_name"));
        let cluster = RedisMode::Cluster { nodes: Vec::new() };
        assert!(cluster.conn_config().unwrap_err().context().contains("mode.nodes"));
    }

    #[test]
    fn sentinels_have_a_port_of_their_own() {
        let urls = [
            "redis://a",
            "redis://u:p@b/0?sentinel_password=x:y",
            "redis://c:7",
            "redis://[::1]",
            "redis://[::1]:7",
        ];
        let sentinels = urls.map(str::to_owned).to_vec();
        let mode = RedisMode::Sentinel { sentinels, service_name: "main".to_owned() };
        let Servers::Sentinel { sentinels, .. } = mode.conn_config().unwrap().servers else { panic!() };
        let ports = [("a", 26379), ("b", 26379), ("c", 7), ("::1", 26379), ("::1", 7)];
        assert_eq!(sentinels, ports.map(|(host, port)| Endpoint::tcp(host, port)));
    }

    #[test]
    fn every_endpoint_of_a_list_is_kept() {
        let nodes = ["redis://a:1", "redis://b:2"].map(str::to_owned).to_vec();
        let config = RedisMode::Cluster { nodes }.conn_config().unwrap();
        let seeds = vec![Endpoint::tcp("a", 1), Endpoint::tcp("b", 2)];
        assert_eq!(config.servers, Servers::Cluster { seeds });
    }
}
