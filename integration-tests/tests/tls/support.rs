//! Settings that the tests of this binary share.

use std::time::Duration;

use integration_tests::{Certificates, Identity, Server, ServerConfig};
use redis_conn::{Config, Conn, Error, Tls};
use tokio::time::Instant;

/// A server that demands client certificates, and presents `identity`.
pub(crate) async fn tls_server(certificates: &Certificates, identity: Identity) -> Server {
    ServerConfig::default().with_tls(certificates.serving(identity)).start().await
}

/// Trusts the tests' authority and presents `identity`.
pub(crate) fn tls_as(certificates: &Certificates, identity: Identity) -> Tls {
    trusting(certificates).with_identity(certificates.certificate(identity), certificates.key(identity))
}

/// Trusts the tests' authority and presents nothing.
pub(crate) fn trusting(certificates: &Certificates) -> Tls {
    Tls::default().with_roots(certificates.ca())
}

pub(crate) fn config(server: &Server, tls: Tls) -> Config {
    Config::from_url(&server.url()).expect("a valid URL").with_tls(tls)
}

/// The error of a connection that must not come about.
pub(crate) async fn refused(config: Config) -> Error {
    Conn::connect(config).await.expect_err("this connection must be refused")
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

pub(crate) async fn ping(conn: &Conn) -> Result<redis::Value, Error> {
    conn.run(&redis::cmd("PING"), soon()).await
}
