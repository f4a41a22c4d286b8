//! The first exchange on a new connection: protocol, credentials, name, database, role.
//!
//! It is ours and not redis-rs's because that one folds every authentication error into one kind, drops the
//! server's `max number of clients reached`, and has no fallback from RESP3 to RESP2.

use redis::{Cmd, Pipeline, Value};

use crate::classify::server_error;
use crate::config::{Config, Protocol};
use crate::credentials::Credentials;
use crate::error::{Class, Error, ErrorKind, Result};
use crate::mux::Mux;
use crate::request::Piped;

/// What a server says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Takes writes.
    Master,
    /// Follows a master.
    Replica,
    /// Watches masters.
    Sentinel,
}

/// What the handshake learnt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerInfo {
    /// `None` when the user may not ask.
    pub(crate) role: Option<Role>,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Any,
    /// Reading from a replica of a cluster, which sends readers to its master unless told otherwise.
    ClusterReplica,
}

/// Runs the handshake on a fresh connection. The caller bounds its time.
pub(crate) async fn handshake(
    connection: &Mux,
    config: &Config,
    credentials: Option<&Credentials>,
    purpose: Purpose,
) -> Result<ServerInfo> {
    let info = greet(connection, config, credentials).await?;
    if purpose == Purpose::ClusterReplica
        && let Value::ServerError(error) = connection.ask(&redis::cmd("READONLY")).await?
    {
        return Err(server_error(&error));
    }
    Ok(info)
}

async fn greet(connection: &Mux, config: &Config, credentials: Option<&Credentials>) -> Result<ServerInfo> {
    if config.protocol != Protocol::Resp2 {
        match introduce(connection, config, hello(config, credentials), true).await {
            Err(error) if config.protocol == Protocol::Auto && is_unknown_command(&error) => {}
            outcome => return outcome,
        }
    }
    let auth = credentials.map_or_else(|| redis::cmd("PING"), auth);
    introduce(connection, config, auth, false).await
}

/// Sends the first command and, without waiting for its answer, all the others.
async fn introduce(connection: &Mux, config: &Config, first: Cmd, resp3: bool) -> Result<ServerInfo> {
    let rest = settings(config, resp3);
    let (first, rest) = tokio::join!(connection.ask(&first), connection.ask(Piped::new(&rest)));
    check_first(first?)?;
    let mut rest = rest?;
    let role = rest.pop().as_ref().and_then(parse_role);
    if config.db != 0 {
        check_select(&rest[0])?;
    }
    Ok(ServerInfo { role })
}

/// `SELECT` first where there is one, `ROLE` last; between them commands whose refusal does no harm.
fn settings(config: &Config, resp3: bool) -> Pipeline {
    let mut pipeline = Pipeline::new();
    if config.db != 0 {
        pipeline.cmd("SELECT").arg(config.db);
    }
    if let (Some(name), false) = (&config.client_name, resp3) {
        pipeline.cmd("CLIENT").arg("SETNAME").arg(name);
    }
    pipeline.cmd("CLIENT").arg("SETINFO").arg("LIB-NAME").arg("redis-conn");
    pipeline.cmd("CLIENT").arg("SETINFO").arg("LIB-VER").arg(env!("CARGO_PKG_VERSION"));
    pipeline.cmd("ROLE");
    pipeline
}

fn hello(config: &Config, credentials: Option<&Credentials>) -> Cmd {
    let mut hello = redis::cmd("HELLO");
    hello.arg(3);
    if let Some(credentials) = credentials {
        let user = credentials.expose_user().unwrap_or("default");
        hello.arg("AUTH").arg(user).arg(credentials.expose_password());
    }
    if let Some(name) = &config.client_name {
        hello.arg("SETNAME").arg(name);
    }
    hello
}

pub(crate) fn auth(credentials: &Credentials) -> Cmd {
    let mut auth = redis::cmd("AUTH");
    if let Some(user) = credentials.expose_user() {
        auth.arg(user);
    }
    auth.arg(credentials.expose_password());
    auth
}

/// `PING` stands in for `AUTH` where there are no credentials, so a server that loads is no failure here.
fn check_first(reply: Value) -> Result<()> {
    let Value::ServerError(error) = reply else { return Ok(()) };
    let detail = error.details().unwrap_or_default();
    if error.code() == "LOADING" || error.code() == "MASTERDOWN" || error.code() == "BUSY" {
        return Ok(());
    }
    if detail.starts_with("max number of clients") {
        return Err(
            Error::not_sent(ErrorKind::Unavailable, "the server is at its limit of clients").with_code("ERR")
        );
    }
    if detail.contains("without any password configured") || detail.contains("no password is set") {
        return Err(Error::new(
            ErrorKind::Auth,
            Class::Fatal,
            "a password is set here but not on the server",
        )
        .with_code("ERR"));
    }
    Err(server_error(&error))
}

fn check_select(reply: &Value) -> Result<()> {
    match reply {
        Value::ServerError(error) if error.code() == "ERR" => {
            Err(Error::invalid("db: the server has no such database").with_code("ERR"))
        }
        Value::ServerError(error) => Err(server_error(error)),
        _ => Ok(()),
    }
}

fn is_unknown_command(error: &Error) -> bool {
    matches!(error.code(), Some("ERR" | "NOPROTO")) && error.class() == Class::Reply
}

pub(crate) fn parse_role(reply: &Value) -> Option<Role> {
    let Value::Array(fields) = reply else { return None };
    let name: &[u8] = match fields.first()? {
        Value::BulkString(name) => name,
        Value::SimpleString(name) => name.as_bytes(),
        _ => return None,
    };
    match name {
        b"master" => Some(Role::Master),
        b"slave" => Some(Role::Replica),
        b"sentinel" => Some(Role::Sentinel),
        _ => None,
    }
}
