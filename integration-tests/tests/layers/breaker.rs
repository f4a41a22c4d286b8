//! The breaker is consulted: it opens after so many failures, fails fast, lets probes through, and closes.

use integration_tests::proxy::{Fault, Proxy};
use integration_tests::{Server, eventually, margin};
use state_redis::resilience::BreakerState;
use state_redis::{ErrorKind, RedisBackend, StateBackend};
use tokio::time::Instant;

use crate::support::{backend, calls, ms, on, unstalled};

fn state(backend: &RedisBackend) -> Vec<BreakerState> {
    let health = backend.health();
    health.breakers.iter().map(|(_, snapshot)| snapshot.state).collect()
}

#[tokio::test]
async fn a_slow_server_opens_the_breaker_which_probes_and_closes_again() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let settings = unstalled(&proxy).command_timeout(ms(1_000)).circuit_breaker(true, 3, ms(5_000));
    let backend = backend(settings).await;
    backend.put(b"k", b"v").await.unwrap();
    assert_eq!(state(&backend), [BreakerState::Closed]);

    // Answers come, but later than anybody waits; the connection itself is well.
    proxy.set_replies(Fault::Delay(ms(2_000)));
    for n in 1..=3 {
        assert_eq!(backend.get(b"k").await.unwrap_err().kind(), ErrorKind::Timeout, "failure {n}");
    }
    let opened = Instant::now();
    let before = calls(&server, "get").await;
    for _ in 0..20 {
        let error = backend.get(b"k").await.unwrap_err();
        assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::CircuitOpen, false), "{error}");
    }
    let write = backend.put(b"k", b"w").await.unwrap_err();
    assert_eq!((write.kind(), write.is_ambiguous()), (ErrorKind::CircuitOpen, false), "{write}");
    assert!(opened.elapsed() < ms(5_000), "rejections took {:?}", opened.elapsed());
    assert_eq!(calls(&server, "get").await, before, "an open breaker lets nothing through");
    assert_eq!(state(&backend), [BreakerState::Open]);
    let stats = backend.stats().await;
    assert_eq!((stats.resilience.breaker_openings, stats.resilience.breakers_open), (1, 1));
    assert_eq!(stats.resilience.breaker_rejections, 21);

    proxy.set_replies(Fault::None);
    eventually("the breaker lets a probe through", ms(30_000), async || {
        backend.get(b"k").await.map_err(|error| error.to_string())
    })
    .await;
    assert!(opened.elapsed() >= ms(4_500), "open for {:?}", opened.elapsed());
    eventually("the breaker closes", ms(30_000), async || {
        backend.get(b"k").await.map_err(|error| error.to_string())?;
        let state = state(&backend);
        if state == [BreakerState::Closed] { Ok(()) } else { Err(format!("{state:?}")) }
    })
    .await;
    assert_eq!(backend.stats().await.resilience.breakers_open, 0);
}

#[tokio::test]
async fn calls_on_a_killed_server_open_the_breaker_and_its_return_closes_it() {
    let server = Server::start().await;
    let settings = on(&server).retry_config(1, ms(1), ms(1), 0.0).circuit_breaker(true, 5, ms(60_000));
    let backend = backend(settings).await;
    backend.put(b"k", b"v").await.unwrap();
    server.kill();
    let mut kinds = Vec::new();
    for _ in 0..20 {
        let error = backend.get(b"k").await.unwrap_err();
        assert!(!error.is_ambiguous());
        kinds.push(error.kind());
    }
    // Attempts to connect count too, so that it may open a little earlier.
    assert!(kinds[5..].iter().all(|kind| *kind == ErrorKind::CircuitOpen), "{kinds:?}");
    for (operation, kind) in [
        ("count", backend.count().await.unwrap_err().kind()),
        ("increment", backend.increment(b"n", 1).await.unwrap_err().kind()),
        ("batch_get", backend.batch_get(&[b"k"]).await.remove(0).unwrap_err().kind()),
    ] {
        assert_eq!(kind, ErrorKind::CircuitOpen, "{operation}");
    }
    server.restart().await;
    let back = Instant::now();
    // The breaker would be open for a minute: the new connection closes it.
    eventually("the backend serves again", ms(30_000), async || {
        backend.get(b"k").await.map_err(|error| error.to_string())
    })
    .await;
    println!("served again {:?} after the server was ready", back.elapsed());
    assert_eq!(state(&backend), [BreakerState::Closed]);
}

#[tokio::test]
async fn answers_that_are_errors_do_not_open_the_breaker() {
    let server = Server::start().await;
    let backend = backend(on(&server).circuit_breaker(true, 2, ms(60_000))).await;
    let _: i64 = server.command(redis::cmd("RPUSH").arg("state:d|list").arg("x")).await;
    for _ in 0..50 {
        assert_eq!(backend.get(b"list").await.unwrap_err().kind(), ErrorKind::WrongType);
    }
    assert_eq!(backend.get(b"k").await.unwrap(), None);
    assert_eq!(state(&backend), [BreakerState::Closed]);
}

#[tokio::test]
async fn without_a_breaker_every_call_is_tried() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let settings = unstalled(&proxy).command_timeout(ms(50)).circuit_breaker(false, 1, ms(60_000));
    let backend = backend(settings).await;
    proxy.set_replies(Fault::Delay(ms(200)));
    for _ in 0..5 {
        assert_eq!(backend.get(b"k").await.unwrap_err().kind(), ErrorKind::Timeout);
    }
    assert!(backend.health().breakers.is_empty());
}

#[tokio::test]
async fn locks_are_taken_while_the_breaker_is_open() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let settings = unstalled(&proxy).command_timeout(ms(100)).circuit_breaker(true, 1, ms(60_000));
    let backend = backend(settings).await;
    proxy.set_replies(Fault::Delay(ms(300)));
    assert_eq!(backend.get(b"k").await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(backend.get(b"k").await.unwrap_err().kind(), ErrorKind::CircuitOpen);
    proxy.set_replies(Fault::None);
    let start = Instant::now();
    let guard = backend.acquire_lock("job", ms(10_000)).await.expect("locks pass no breaker");
    assert!(start.elapsed() < ms(2_000) + margin());
    assert_eq!(backend.get(b"k").await.unwrap_err().kind(), ErrorKind::CircuitOpen);
    guard.release().await;
}

/// On one thread: a caller that never waits would keep the supervisor from connecting, and the test from going on.
#[tokio::test(flavor = "current_thread")]
async fn a_caller_that_tries_again_at_once_does_not_keep_the_connection_from_healing() {
    let server = Server::start().await;
    let settings = on(&server).retry_config(1, ms(1), ms(1), 0.0);
    let backend = backend(settings).await;
    backend.put(b"k", b"v").await.unwrap();
    server.kill();
    let impatient = tokio::spawn(async move {
        let mut refused = 0_u64;
        while backend.put(b"k", b"w").await.is_err() {
            refused += 1;
        }
        refused
    });
    server.restart().await;
    let refused = tokio::time::timeout(ms(30_000), impatient).await.expect("it got through").unwrap();
    println!("{refused} calls were refused meanwhile");
    assert!(refused > 10, "the breaker had to open");
}
