//! The shared connection under faults: killed and frozen servers, and a proxy that does harm.

use std::sync::Arc;
use std::time::Duration;

use integration_tests::proxy::{Fault, Proxy, Strike};
use integration_tests::{Server, ServerConfig, eventually, long, margin};
use redis_conn::{
    Backoff, Class, Conn, DownReason, ErrorKind, Event, Events, HealthStatus, SetOptions, State,
};
use tokio::time::Instant;

use crate::support::{config, connect, patient, usable_again, within};

const SECOND: Duration = Duration::from_secs(1);

/// The next loss of a connection, and why.
async fn next_down(events: &mut Events) -> DownReason {
    let wait = async {
        loop {
            if let Ok(Event::Down { reason, .. }) = events.recv().await {
                return reason;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("the connection is given up")
}

/// A handle with short pauses between attempts, for tests that lose hundreds of connections in a row.
async fn quickly_back(proxy: &Proxy) -> Conn {
    let backoff = Backoff { min: Duration::from_millis(2), max: Duration::from_millis(10) };
    let patient = config(&proxy.url()).with_backoff(backoff).with_stall_timeout(30 * SECOND);
    Conn::connect(patient).await.expect("connect")
}

async fn counter(server: &Server, key: &str) -> i64 {
    let value: Option<i64> = server.command(redis::cmd("GET").arg(key)).await;
    value.unwrap_or(0)
}

#[tokio::test]
async fn while_the_server_is_down_operations_fail_at_once_and_nothing_was_sent() {
    let server = Server::start().await;
    let conn = connect(&server.url()).await;
    server.kill();
    eventually("the loss is seen", 30 * SECOND, async || match conn.state() {
        State::Down => Ok(()),
        state => Err(format!("{state:?}")),
    })
    .await;
    for _ in 0..100 {
        let began = Instant::now();
        let error = conn.get(b"k", patient()).await.expect_err("no server");
        assert_eq!((error.kind(), error.class()), (ErrorKind::Unavailable, Class::NotSent));
        assert!(began.elapsed() < margin(), "it waited instead of failing at once");
    }
    server.restart().await;
    let took = usable_again(&conn).await;
    println!("usable again {took:?} after PONG");
}

#[tokio::test]
async fn a_frozen_server_ends_every_call_at_its_deadline_and_then_fails_them_at_once() {
    let server = Server::start().await;
    // The calls end before the connection is given up.
    let stall = config(&server.url()).with_stall_timeout(4 * SECOND);
    let conn = Conn::connect(stall).await.expect("a connection");
    let mut events = conn.events();
    server.freeze();
    let calls = (0..64).map(|number| {
        let conn = conn.clone();
        tokio::spawn(async move {
            let deadline = within(2_000);
            let mut incr = redis::cmd("INCR");
            let error = conn.run(incr.arg(format!("n{number}")), deadline).await.expect_err("frozen");
            (Instant::now().duration_since(deadline), error)
        })
    });
    let calls: Vec<_> = calls.collect();
    let mut worst = Duration::ZERO;
    for call in calls {
        let (late, error) = call.await.expect("call");
        worst = worst.max(late);
        assert_eq!((error.kind(), error.class()), (ErrorKind::Timeout, Class::Ambiguous));
    }
    assert!(worst < margin(), "{worst:?} late");
    println!("worst overrun of a deadline: {worst:?}");
    assert_eq!(next_down(&mut events).await, DownReason::Stalled);
    let error = conn.get(b"k", patient()).await.expect_err("given up");
    assert_eq!(error.class(), Class::NotSent);
    server.thaw();
    usable_again(&conn).await;
}

#[tokio::test]
async fn a_black_hole_is_noticed_and_the_connection_replaced() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let stall = config(&proxy.url()).with_stall_timeout(4 * SECOND);
    let conn = Conn::connect(stall).await.expect("a connection");
    let mut events = conn.events();
    let began = Instant::now();
    proxy.set(Fault::BlackHole);
    let error = conn.get(b"k", within(2_000)).await.expect_err("black hole");
    assert_eq!((error.kind(), error.class()), (ErrorKind::Timeout, Class::Ambiguous));
    assert_eq!(next_down(&mut events).await, DownReason::Stalled);
    proxy.set(Fault::None);
    usable_again(&conn).await;
    let took = began.elapsed();
    println!("noticed and replaced in {took:?}");
    assert!(took < 6 * SECOND + margin());
}

#[tokio::test]
async fn a_cancelled_request_that_is_never_answered_counts_as_unanswered() {
    leaves_a_stall(async |conn| {
        let cancelled = tokio::time::timeout(SECOND / 2, conn.get(b"k", patient())).await;
        assert!(cancelled.is_err(), "the black hole answered");
    })
    .await;
}

#[tokio::test]
async fn a_late_request_that_is_never_answered_counts_as_unanswered() {
    leaves_a_stall(async |conn| {
        let late = conn.get(b"k", within(500)).await;
        assert_eq!(late.map_err(|error| error.kind()), Err(ErrorKind::Timeout));
    })
    .await;
}

/// The connection is given up after something was asked of it into a black hole.
async fn leaves_a_stall(ask: impl AsyncFnOnce(&Conn)) {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    // No health check may be under way, since that would be noticed to be unanswered, too.
    let unchecked = config(&proxy.url()).with_health_interval(3600 * SECOND);
    let conn = Conn::connect(unchecked).await.expect("connect");
    conn.health().wait_for(|health| health.status == HealthStatus::Healthy).await.expect("checked");
    let mut events = conn.events();
    proxy.set(Fault::BlackHole);
    ask(&conn).await;
    assert_eq!(next_down(&mut events).await, DownReason::Stalled);
}

#[tokio::test]
async fn an_idle_connection_is_not_taken_for_stalled() {
    let server = Server::start().await;
    let conn =
        Conn::connect(config(&server.url()).with_stall_timeout(2 * SECOND)).await.expect("a connection");
    let mut events = conn.events();
    // Nothing to wait for: it is idle for longer than a server may be silent.
    tokio::time::sleep(3 * SECOND).await;
    conn.get(b"k", patient()).await.expect("still the same connection");
    assert!(events.try_recv().is_err(), "something happened to an idle connection");
}

#[tokio::test]
async fn a_server_that_keeps_sending_is_not_taken_for_stalled() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let stall = config(&proxy.url()).with_stall_timeout(2 * SECOND);
    let conn = Conn::connect(stall).await.expect("a connection");
    let mut events = conn.events();
    server.command::<()>(redis::cmd("SETRANGE").arg("k").arg(1 << 20).arg("x")).await;
    proxy.set_replies(Fault::Delay(Duration::from_millis(250)));
    // 1 MiB in pieces of at most 64 KiB, 250 ms apart: longer than the stall timeout, and never silent.
    let mut get = redis::cmd("GETRANGE");
    conn.run(get.arg("k").arg(0).arg(-1), within(120_000)).await.expect("a slow answer is an answer");
    assert!(events.try_recv().is_err());
}

#[tokio::test]
async fn a_pause_of_this_process_is_no_stall_of_the_server() {
    let server = Server::start().await;
    // A busy machine may keep the server, too, from its answer for a while.
    let stall = config(&server.url()).with_stall_timeout(3 * SECOND);
    let conn = Conn::connect(stall).await.expect("a connection");
    let mut events = conn.events();
    for _ in 0..2 {
        conn.set(b"k", b"v", SetOptions::new(), patient()).await.expect("SET");
        // A blocked runtime, as a suspended machine would have it: nobody looked at the socket meanwhile.
        std::thread::sleep(conn.config().stall_timeout + SECOND / 2);
        assert_eq!(conn.get(b"k", patient()).await.expect("GET"), Some(b"v".to_vec()));
    }
    assert!(events.try_recv().is_err(), "the connection was replaced");
}

#[tokio::test]
async fn swallowed_replies_are_ambiguous_and_never_applied_twice() {
    let rounds = if long() { 1000 } else { 100 };
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let conn = quickly_back(&proxy).await;
    let (mut ok, mut ambiguous) = (0_i64, 0_i64);
    for round in 1..=rounds {
        proxy.strike_at("INCR", Strike::SwallowReply);
        match conn.run(redis::cmd("INCR").arg("n"), patient()).await {
            Ok(_) => ok += 1,
            Err(error) => {
                assert_eq!(error.class(), Class::Ambiguous, "round {round}: {error:?}");
                ambiguous += 1;
            }
        }
        usable_again(&conn).await;
        assert_eq!(proxy.struck(), round);
    }
    let applied = counter(&server, "n").await;
    println!("{rounds} swallowed replies: {ok} ok, {ambiguous} ambiguous, {applied} applied");
    assert!(ok <= applied && applied <= ok + ambiguous, "{ok} <= {applied} <= {ok} + {ambiguous}");
    assert_eq!(ambiguous, rounds as i64, "each reply was swallowed");
}

#[tokio::test]
async fn requests_lost_before_the_server_are_never_reported_as_done() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let conn = quickly_back(&proxy).await;
    for _ in 0..50 {
        proxy.strike_at("INCR", Strike::DropRequest);
        let error = conn.run(redis::cmd("INCR").arg("n"), patient()).await.expect_err("lost");
        assert_eq!(error.class(), Class::Ambiguous, "it left this process: {error:?}");
        usable_again(&conn).await;
    }
    assert_eq!(counter(&server, "n").await, 0);
}

#[tokio::test]
async fn a_reply_cut_at_any_byte_is_an_error_and_never_a_partial_value() {
    let server = Server::start().await;
    server.command::<()>(redis::cmd("SET").arg("k").arg("0123456789")).await;
    let proxy = Proxy::start(server.address()).await;
    let conn = quickly_back(&proxy).await;
    let whole = b"$10\r\n0123456789\r\n".len();
    for bytes in 1..whole {
        proxy.strike_at("GET", Strike::CutAfter(bytes));
        let error = conn.get(b"k", patient()).await.expect_err("cut");
        assert_eq!(error.class(), Class::Ambiguous, "after {bytes} bytes");
        usable_again(&conn).await;
    }
    assert_eq!(conn.get(b"k", patient()).await.expect("whole"), Some(b"0123456789".to_vec()));
}

#[tokio::test]
async fn replies_that_arrive_byte_by_byte_are_whole() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let conn = connect(&proxy.url()).await;
    proxy.set(Fault::ByteByByte);
    let value: Vec<u8> = (0..=255).collect();
    for _ in 0..5 {
        conn.set(b"k", &value, SetOptions::new(), patient()).await.expect("SET");
        assert_eq!(conn.get(b"k", patient()).await.expect("GET"), Some(value.clone()));
    }
}

#[tokio::test]
async fn a_reset_is_followed_by_a_new_connection() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let conn = connect(&proxy.url()).await;
    let mut events = conn.events();
    for _ in 0..5 {
        proxy.reset();
        assert_eq!(next_down(&mut events).await, DownReason::Lost);
        usable_again(&conn).await;
    }
}

#[tokio::test]
async fn a_storm_of_resets_does_not_become_a_storm_of_connections() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let _conn = connect(&proxy.url()).await;
    let before = proxy.accepted();
    let began = Instant::now();
    while began.elapsed() < 3 * SECOND {
        proxy.reset();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let rate = (proxy.accepted() - before) as f64 / began.elapsed().as_secs_f64();
    println!("{rate:.1} connections a second");
    assert!(rate < 20.0, "{rate}");
}

#[tokio::test]
async fn what_is_still_queued_at_its_deadline_is_never_written() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let narrow = config(&proxy.url()).with_max_in_flight(1).with_stall_timeout(30 * SECOND);
    let conn = Conn::connect(narrow).await.expect("a connection");
    conn.health().wait_for(|health| health.status == HealthStatus::Healthy).await.expect("checked");
    proxy.set_requests(Fault::Stuck);
    let sent = tokio::spawn({
        let conn = conn.clone();
        async move { conn.run(redis::cmd("INCR").arg("sent"), patient()).await }
    });
    tokio::task::yield_now().await;
    let mut queued = Vec::new();
    for _ in 0..32 {
        let conn = conn.clone();
        queued
            .push(tokio::spawn(async move { conn.run(redis::cmd("INCR").arg("queued"), within(200)).await }));
    }
    for call in queued {
        let error = call.await.expect("call").expect_err("queued until its deadline");
        assert_eq!((error.kind(), error.class()), (ErrorKind::Timeout, Class::NotSent));
    }
    proxy.set_requests(Fault::None);
    sent.await.expect("call").expect("the one in front is answered");
    conn.run(&redis::cmd("PING"), patient()).await.expect("PING");
    assert_eq!(counter(&server, "queued").await, 0);
    assert_eq!(counter(&server, "sent").await, 1);
}

#[tokio::test]
async fn a_deadline_in_the_past_sends_nothing() {
    let server = Server::start().await;
    let conn = connect(&server.url()).await;
    let error = conn.run(redis::cmd("INCR").arg("n"), Instant::now()).await.expect_err("too late");
    assert_eq!((error.kind(), error.class()), (ErrorKind::Timeout, Class::NotSent));
    conn.run(&redis::cmd("PING"), patient()).await.expect("PING");
    assert_eq!(counter(&server, "n").await, 0);
}

#[tokio::test]
async fn a_full_queue_refuses_and_an_empty_one_takes_all() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let narrow = config(&proxy.url())
        .with_max_in_flight(2)
        .with_max_queued(3)
        .with_stall_timeout(30 * SECOND)
        .with_health_interval(3600 * SECOND);
    let conn = Conn::connect(narrow).await.expect("a connection");
    // The one health check of this hour is over, so that the budget is all there.
    conn.health().wait_for(|health| health.status == HealthStatus::Healthy).await.expect("checked");
    proxy.set_replies(Fault::Stuck);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let conn = conn.clone();
            tokio::spawn(async move { conn.run(&redis::cmd("PING"), patient()).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy.set_replies(Fault::None);
    let mut overloaded = 0;
    for call in calls {
        if let Err(error) = call.await.expect("call") {
            assert_eq!((error.kind(), error.class()), (ErrorKind::Overloaded, Class::NotSent));
            overloaded += 1;
        }
    }
    assert_eq!(overloaded, 15, "two were in flight and three waited");
}

#[tokio::test]
async fn loading_keeps_the_connection_and_is_refused() {
    let slow = ServerConfig::default()
        .with_option("key-load-delay", 2000)
        .with_option("loading-process-events-interval-bytes", 1024)
        .with_option("enable-debug-command", "local");
    let server = slow.start().await;
    server.command::<()>(redis::cmd("DEBUG").arg("POPULATE").arg(3000)).await;
    let patience = config(&server.url()).with_stall_timeout(30 * SECOND);
    let conn = Conn::connect(patience).await.expect("a connection");
    let mut events = conn.events();
    let reload = tokio::spawn({
        let conn = connect(&server.url()).await;
        async move { conn.run(redis::cmd("DEBUG").arg("RELOAD"), within(30_000)).await }
    });
    let refused = eventually("LOADING", 30 * SECOND, async || match conn.get(b"key:1", within(500)).await {
        Err(error) if error.code() == Some("LOADING") => Ok(error),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!((refused.kind(), refused.class()), (ErrorKind::NotReady, Class::Refused));
    reload.abort();
    assert!(events.try_recv().is_err(), "the connection was replaced");
}

#[tokio::test]
async fn clones_share_one_connection() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let conn = Arc::new(connect(&proxy.url()).await);
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let conn = Conn::clone(&conn);
            tokio::spawn(async move { conn.run(&redis::cmd("PING"), patient()).await })
        })
        .collect();
    for call in calls {
        call.await.expect("call").expect("PING");
    }
    assert_eq!(proxy.accepted(), 1);
}
