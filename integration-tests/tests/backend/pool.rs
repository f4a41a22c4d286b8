//! The settings of the pool are kept.

use std::time::{Duration, Instant};

use integration_tests::{Server, margin};
use state_redis::ErrorKind;

use crate::support::{backend, on};

#[tokio::test]
async fn the_least_number_of_dedicated_connections_is_open_at_once() {
    let server = Server::start().await;
    let backend = backend(on(&server).pool_config(3, 5, Duration::from_secs(1))).await;
    let list: String = server.command(redis::cmd("CLIENT").arg("LIST")).await;
    let ours =
        list.lines().filter(|line| line.contains(&format!("laddr=127.0.0.1:{}", server.port()))).count();
    assert_eq!(ours, 1 + 3, "{list}");
    backend.close().await;
}

#[tokio::test]
async fn a_caller_beyond_the_most_waits_for_the_pool_timeout() {
    let server = Server::start().await;
    let backend = backend(on(&server).pool_config(0, 1, Duration::from_millis(200))).await;
    let lent = backend.dedicated().await.expect("the first one");
    let began = Instant::now();
    let error = backend.dedicated().await.expect_err("there is only one");
    assert_eq!(error.kind(), ErrorKind::Overloaded, "{error}");
    let waited = began.elapsed();
    assert!(
        waited >= Duration::from_millis(200) && waited < Duration::from_millis(200) + margin(),
        "{waited:?}"
    );
    // Operations share another connection.
    backend.put(b"k", b"v").await.expect("a put");
    drop(lent);
    backend.dedicated().await.expect("the one that was given back");
}
