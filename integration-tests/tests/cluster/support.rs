//! What the tests of this binary share.

use std::time::Duration;

use integration_tests::Cluster;
use redis_conn::{Config, Conn};
use tokio::time::Instant;

/// A deadline that only a hang reaches.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// Whether the long forms were asked for.
pub(crate) fn long() -> bool {
    std::env::var_os("STATE_REDIS_LONG").is_some_and(|value| value == "1")
}

/// A handle to the cluster.
pub(crate) async fn connect(cluster: &Cluster) -> Conn {
    let config = Config::from_url(&cluster.url()).expect("the cluster's URL");
    Conn::connect(config).await.expect("a running cluster")
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
