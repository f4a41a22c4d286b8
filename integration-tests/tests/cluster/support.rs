//! What the tests of this binary share.

use std::time::Duration;

use integration_tests::{Cluster, Server, eventually};
use redis_conn::{Config, Conn};
use tokio::time::Instant;

/// A deadline that only a hang reaches.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

pub(crate) fn config(cluster: &Cluster) -> Config {
    Config::from_url(&cluster.url()).expect("the cluster's URL")
}

/// A handle to the cluster.
pub(crate) async fn connect(cluster: &Cluster) -> Conn {
    Conn::connect(config(cluster)).await.expect("a running cluster")
}

/// How often a server ran a command.
pub(crate) async fn calls(server: &Server, command: &str) -> u64 {
    let calls = server.info(&format!("cmdstat_{command}")).await.expect("INFO").unwrap_or_default();
    let calls = calls.strip_prefix("calls=").and_then(|rest| rest.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

/// Waits until a client blocks at the server.
pub(crate) async fn blocked(server: &Server) {
    eventually("a client blocks", Duration::from_secs(30), async || {
        let blocked = server.info("blocked_clients").await.expect("INFO");
        if blocked.as_deref() == Some("1") { Ok(()) } else { Err(format!("{blocked:?}")) }
    })
    .await;
}

/// A command in words.
pub(crate) fn words(line: &str) -> redis::Cmd {
    let mut words = line.split(' ');
    let mut command = redis::cmd(words.next().expect("a name"));
    words.for_each(|word| {
        command.arg(word);
    });
    command
}
