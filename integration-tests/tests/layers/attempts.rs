//! Exact numbers of attempts, and the time they have.

use integration_tests::proxy::{Fault, Proxy};
use integration_tests::{Server, eventually, margin};
use state_redis::{ErrorKind, PutItem, PutOptions, RedisBackend, StateBackend, StateBackendExt, Ttl};
use tokio::time::Instant;

use crate::support::{backend, calls, ms, on, ran, unstalled};

/// Requests reach the server and are run; nobody ever hears of it.
async fn deaf(server: &Server, attempts: u32) -> (Proxy, RedisBackend) {
    let proxy = Proxy::start(server.address()).await;
    let settings = unstalled(&proxy).retry_config(attempts, ms(5), ms(10), 0.0).attempt_timeout(ms(300));
    let settings = settings.command_timeout(ms(30_000)).enable_circuit_breaker(false);
    let backend = backend(settings).await;
    proxy.set_replies(Fault::BlackHole);
    (proxy, backend)
}

#[tokio::test]
async fn a_read_is_attempted_exactly_as_often_as_set() {
    let server = Server::start().await;
    for attempts in 1..=6 {
        let (_proxy, backend) = deaf(&server, attempts).await;
        let before = calls(&server, "get").await;
        let error = backend.get(b"k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        ran(&server, "get", before + u64::from(attempts)).await;
        assert_eq!(backend.stats().await.resilience.retries, u64::from(attempts) - 1);
        assert!(attempts == 1 || error.context().contains(&format!("{attempts} attempts")), "{error}");
    }
}

#[tokio::test]
async fn an_overwrite_is_repeated_and_what_may_count_twice_is_not() {
    let server = Server::start().await;
    let (_proxy, put) = deaf(&server, 3).await;
    let error = put.put(b"k", b"v").await.unwrap_err();
    assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Timeout, true), "{error}");
    ran(&server, "set", 3).await;
    assert_eq!(server.command::<String>(redis::cmd("GET").arg("state:d|k")).await, "v");

    for operation in 0..4 {
        let (_proxy, backend) = deaf(&server, 3).await;
        let error = match operation {
            0 => backend.increment(b"n", 1).await.map(drop),
            1 => backend.put_if_absent(b"once", b"v", Ttl::Default).await.map(drop),
            2 => backend.get_and_delete(b"k").await.map(drop),
            _ => backend.batch_put_if_absent(&[PutItem::new(b"b", b"v")]).await.remove(0).map(drop),
        }
        .unwrap_err();
        assert!(error.is_ambiguous(), "operation {operation}: {error}");
    }
    // Each conditional write was sent once, and nothing was counted twice.
    ran(&server, "set", 5).await;
    ran(&server, "incrby", 1).await;
    assert_eq!(server.command::<i64>(redis::cmd("GET").arg("state:d|n")).await, 1, "counted once");
}

#[tokio::test]
async fn a_command_of_the_callers_is_repeated_as_he_says() {
    use state_redis::Idempotency;
    let server = Server::start().await;
    for (idempotency, attempts) in
        [(Idempotency::Safe, 3), (Idempotency::Idempotent, 3), (Idempotency::Unsafe, 1)]
    {
        let (_proxy, backend) = deaf(&server, 3).await;
        let before = calls(&server, "strlen").await;
        let error = backend.command(redis::cmd("STRLEN").arg("k"), idempotency).await.unwrap_err();
        ran(&server, "strlen", before + attempts).await;
        assert_eq!(error.is_ambiguous(), idempotency != Idempotency::Safe, "{idempotency:?}: {error}");
    }
}

#[tokio::test]
async fn what_cannot_succeed_later_is_attempted_once() {
    let server = Server::start().await;
    let backend = backend(on(&server).retry_config(5, ms(1), ms(1), 0.0)).await;
    let _: i64 = server.command(redis::cmd("RPUSH").arg("state:d|list").arg("x")).await;
    assert_eq!(backend.get(b"list").await.unwrap_err().kind(), ErrorKind::WrongType);
    assert_eq!(calls(&server, "get").await, 1);
    let error = backend.put_with_ttl(b"k", b"v", ms(0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(calls(&server, "set").await, 0);
    assert_eq!(backend.stats().await.resilience.retries, 0);
}

#[tokio::test]
async fn a_pause_of_the_server_within_the_deadline_is_waited_for() {
    let server = Server::start().await;
    let backend = backend(on(&server).command_timeout(ms(30_000))).await;
    let _: () = server.command(redis::cmd("CLIENT").arg("PAUSE").arg(400).arg("ALL")).await;
    backend.put(b"k", b"v").await.expect("the pause is shorter than the deadline");
}

#[tokio::test]
async fn a_pause_of_the_server_beyond_the_deadline_is_a_timeout() {
    let server = Server::start().await;
    for (retries, attempt) in [(1, None), (1_000, None), (1_000, Some(ms(20)))] {
        let settings = on(&server).command_timeout(ms(200)).retry_config(retries, ms(1), ms(1), 0.0);
        let backend = backend(settings.attempt_timeout(attempt).enable_circuit_breaker(false)).await;
        let _: () = server.command(redis::cmd("CLIENT").arg("PAUSE").arg(2_000).arg("ALL")).await;
        let start = Instant::now();
        let error = backend.get(b"k").await.unwrap_err();
        let took = start.elapsed();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(
            took >= ms(150) && took < ms(200) + margin(),
            "{took:?} with {retries} attempts of {attempt:?}"
        );
        eventually("the pause is over", ms(30_000), async || {
            backend.get(b"k").await.map_err(|error| error.to_string())
        })
        .await;
    }
}

#[tokio::test]
async fn connecting_to_a_server_that_hangs_ends_by_its_timeout() {
    let server = Server::start().await;
    server.freeze();
    let start = Instant::now();
    let config = on(&server).connect_timeout(ms(300)).build().unwrap();
    let error = RedisBackend::new(config).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable), "{error}");
    assert!(start.elapsed() >= ms(250) && start.elapsed() < ms(300) + margin(), "{:?}", start.elapsed());
    server.thaw();
}

#[tokio::test]
async fn a_ttl_below_a_second_is_kept_to_the_millisecond() {
    let server = Server::start().await;
    let backend = backend(on(&server)).await;
    backend.put_with_ttl(b"k", b"v", ms(500)).await.unwrap();
    let options = PutOptions::default().with_ttl(Ttl::After(ms(900)));
    assert!(backend.put_with(b"w", b"v", options).await.unwrap());
    assert!(backend.put_if_absent(b"once", b"v", Ttl::After(ms(900))).await.unwrap());
    for key in [&b"k"[..], b"w", b"once"] {
        eventually("the key expires", ms(30_000), async || {
            if backend.contains(key).await.unwrap() { Err("still there".to_owned()) } else { Ok(()) }
        })
        .await;
    }
    let short = crate::support::backend(on(&server).default_ttl(ms(800))).await;
    short.put(b"default", b"v").await.expect("a default below a second is no error");
    let left: i64 = server.command(redis::cmd("PTTL").arg("state:d|default")).await;
    // -2: its time is over already; -1 would be a key that stays.
    assert!((1..=800).contains(&left) || left == -2, "{left}");
}
