//! The settings of the pool are kept.

use std::time::{Duration, Instant};

use integration_tests::{Server, eventually, margin};
use redis::Value;
use state_redis::{ErrorKind, RedisBackend};

use crate::support::{backend, on};

const WITHIN: Duration = Duration::from_secs(30);

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

/// The server's number of the connection that is lent now.
async fn lent_now(backend: &RedisBackend) -> Value {
    let deadline = tokio::time::Instant::now() + WITHIN;
    let mut lent = backend.dedicated().await.expect("a connection");
    lent.run(redis::cmd("CLIENT").arg("ID"), deadline).await.expect("a number")
}

#[tokio::test]
async fn dedicated_connections_that_nobody_uses_are_closed_down_to_the_least_number() {
    let server = Server::start().await;
    let settings = on(&server).pool_config(1, 3, WITHIN).pool_idle_timeout(Duration::from_millis(200));
    let backend = backend(settings).await;
    let lent =
        [backend.dedicated().await, backend.dedicated().await, backend.dedicated().await].map(Result::unwrap);
    assert_eq!(backend.health().pool.in_use, 3);
    drop(lent);
    eventually("one is left", WITHIN, async || {
        let pool = backend.health().pool;
        if pool.idle == 1 && pool.discarded >= 2 { Ok(()) } else { Err(format!("{pool:?}")) }
    })
    .await;
    backend.close().await;
}

#[tokio::test]
async fn dedicated_connections_beyond_their_lifetime_are_replaced() {
    let server = Server::start().await;
    let settings = || on(&server).pool_config(0, 1, WITHIN);
    let young = backend(settings().pool_max_lifetime(Duration::from_millis(200))).await;
    let old = backend(settings()).await;
    let (first_young, first_old) = (lent_now(&young).await, lent_now(&old).await);
    eventually("another one is lent", WITHIN, async || match lent_now(&young).await {
        same if same == first_young => Err(format!("still {same:?}")),
        _ => Ok(()),
    })
    .await;
    assert_eq!(lent_now(&old).await, first_old, "it is younger than half an hour");
}
