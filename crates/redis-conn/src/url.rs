//! Reads connection URLs. A URL may hold a password, so no error repeats any part of it.

use std::path::PathBuf;

use crate::config::{Config, Servers};
use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
#[cfg(not(feature = "tls"))]
use crate::error::{Class, ErrorKind};
use crate::error::{Error, Result};
#[cfg(feature = "tls")]
use crate::tls::Tls;

mod query;

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_SENTINEL_PORT: u16 = 26379;

pub(crate) fn parse(url: &str) -> Result<Config> {
    let (scheme, rest) =
        url.split_once(':').ok_or_else(|| wrong("has no scheme; expected redis://host:port/db"))?;
    let rest = rest.split('#').next().unwrap_or_default();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut config = match scheme.to_ascii_lowercase().as_str() {
        "redis" => parse_standalone(rest)?,
        "redis+unix" | "redis-unix" | "unix" => parse_unix(rest)?,
        "redis+sentinel" => parse_sentinel(rest)?,
        "redis+cluster" => parse_cluster(rest)?,
        "rediss" => over_tls(parse_standalone(rest)?)?,
        "rediss+sentinel" => over_tls(parse_sentinel(rest)?)?,
        "rediss+cluster" => over_tls(parse_cluster(rest)?)?,
        _ => {
            return Err(wrong(
                "has an unknown scheme; known are redis, rediss, redis+unix, redis+sentinel, redis+cluster",
            ));
        }
    };
    query::apply(&mut config, query)?;
    Ok(config)
}

#[cfg(feature = "tls")]
fn over_tls(mut config: Config) -> Result<Config> {
    config.tls = Some(Tls::default());
    if matches!(config.servers, Servers::Sentinel { .. }) {
        config.sentinel.tls = Some(Tls::default());
    }
    Ok(config)
}

#[cfg(not(feature = "tls"))]
fn over_tls(_: Config) -> Result<Config> {
    Err(unsupported("rediss"))
}

fn parse_standalone(rest: &str) -> Result<Config> {
    let parts = Authority::split(rest)?;
    let [host] = parts.hosts.as_slice() else { return Err(wrong("names more than one host")) };
    let mut config = Config::standalone(parse_host(host, DEFAULT_PORT)?);
    config.credentials = parts.credentials;
    config.db = parse_db(parts.path)?;
    Ok(config)
}

fn parse_unix(rest: &str) -> Result<Config> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if !path.starts_with('/') {
        return Err(wrong("needs an absolute path to the socket"));
    }
    Ok(Config::standalone(Endpoint::Unix(PathBuf::from(percent_decode(path)?))))
}

fn parse_sentinel(rest: &str) -> Result<Config> {
    let parts = Authority::split(rest)?;
    let (service, db) = parts.path.split_once('/').unwrap_or((parts.path, ""));
    if service.is_empty() {
        return Err(wrong("lacks the service name: redis+sentinel://host1,host2/service/db"));
    }
    let sentinels = parse_hosts(&parts.hosts, DEFAULT_SENTINEL_PORT)?;
    let mut config = Config::new(Servers::Sentinel { sentinels, service: percent_decode(service)? });
    config.credentials = parts.credentials;
    config.db = parse_db(db)?;
    Ok(config)
}

fn parse_cluster(rest: &str) -> Result<Config> {
    let parts = Authority::split(rest)?;
    if !parts.path.is_empty() {
        return Err(wrong("selects a database, which a cluster does not have"));
    }
    let mut config = Config::new(Servers::Cluster { seeds: parse_hosts(&parts.hosts, DEFAULT_PORT)? });
    config.credentials = parts.credentials;
    Ok(config)
}

/// `//user:password@host1,host2/path`, taken apart.
struct Authority<'a> {
    credentials: Option<Credentials>,
    hosts: Vec<&'a str>,
    path: &'a str,
}

impl<'a> Authority<'a> {
    fn split(rest: &'a str) -> Result<Self> {
        let rest = rest.strip_prefix("//").ok_or_else(|| wrong("lacks // after the scheme"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        Ok(Self {
            credentials: login.map(parse_login).transpose()?.flatten(),
            hosts: hosts.split(',').collect(),
            path: path.trim_end_matches('/'),
        })
    }
}

fn parse_login(login: &str) -> Result<Option<Credentials>> {
    if login.is_empty() {
        return Ok(None);
    }
    let (user, password) =
        login.split_once(':').ok_or_else(|| wrong("has a user without a password; write :password@"))?;
    let (user, password) = (percent_decode(user)?, percent_decode(password)?);
    Ok(Some(if user.is_empty() {
        Credentials::password(password)
    } else {
        Credentials::user(user, password)
    }))
}

fn parse_hosts(hosts: &[&str], default_port: u16) -> Result<Vec<Endpoint>> {
    hosts.iter().map(|host| parse_host(host, default_port)).collect()
}

fn parse_host(text: &str, default_port: u16) -> Result<Endpoint> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(|| wrong("has an IPv6 address without ]"))?;
            (host, after.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(wrong("lacks a host"));
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0),
        None => Some(default_port),
    };
    Ok(Endpoint::tcp(percent_decode(host)?, port.ok_or_else(|| wrong("has a port that is no port"))?))
}

fn parse_db(path: &str) -> Result<u32> {
    match path {
        "" => Ok(0),
        number => number.parse().map_err(|_| wrong("has a database that is no number")),
    }
}

fn percent_decode(text: &str) -> Result<String> {
    let bad = || wrong("has a broken percent escape");
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let digits = text.get(at + 1..at + 3).ok_or_else(bad)?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(bad());
            }
            decoded.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(decoded).map_err(|_| bad())
}

fn wrong(what: &'static str) -> Error {
    Error::invalid(format!("the URL {what}"))
}

#[cfg(not(feature = "tls"))]
fn unsupported(scheme: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, Class::Fatal, format!("{scheme} URLs"))
}

#[cfg(test)]
mod tests;
