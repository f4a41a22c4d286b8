//! The pool of dedicated connections.

use std::time::Duration;

use integration_tests::proxy::{Fault, Proxy};
use integration_tests::{Server, eventually, margin};
use redis::AsyncTypedCommands;
use redis_conn::{Class, Conn, ErrorKind, Pooling};
use tokio::time::Instant;

use crate::support::{config, patient, usable_again, within};

const SECOND: Duration = Duration::from_secs(1);

async fn pooled(url: &str, pool: Pooling) -> Conn {
    Conn::connect(config(url).with_pool(pool)).await.expect("connect")
}

async fn id(conn: &mut redis_conn::Dedicated) -> i64 {
    let id = conn.run(redis::cmd("CLIENT").arg("ID"), patient()).await;
    redis::from_redis_value(id.expect("CLIENT ID")).expect("a number")
}

async fn echo(conn: &mut redis_conn::Dedicated) -> redis_conn::Result<redis::Value> {
    conn.run(redis::cmd("ECHO").arg("x"), patient()).await
}

/// The server's own count of its clients, without the one that asks.
async fn clients(server: &Server) -> usize {
    let list: String = server.command(redis::cmd("CLIENT").arg("LIST")).await;
    list.lines().count() - 1
}

#[tokio::test]
async fn the_minimum_is_open_before_connect_returns() {
    let server = Server::start().await;
    let conn = pooled(&server.url(), Pooling { min: 3, ..Pooling::default() }).await;
    assert_eq!(conn.pool_stats().idle, 3);
    // The control connections of the start may not be gone yet.
    eventually("ours are the only ones", 30 * SECOND, async || match clients(&server).await {
        4 => Ok(()),
        open => Err(format!("{open} clients")),
    })
    .await;
}

#[tokio::test]
async fn a_blocking_command_gets_its_element_while_others_work() {
    let server = Server::start().await;
    let conn = pooled(&server.url(), Pooling::default()).await;
    let mut dedicated = conn.dedicated().await.expect("a connection");
    // The handle's own deadline (3 s) does not end a wait that was asked for.
    let waiting = tokio::spawn(async move { dedicated.blpop("q", 20.0).await });
    eventually("the client blocks", 30 * SECOND, async || {
        let blocked = server.info("blocked_clients").await.expect("INFO");
        if blocked.as_deref() == Some("1") { Ok(()) } else { Err(format!("{blocked:?}")) }
    })
    .await;
    conn.run(redis::cmd("RPUSH").arg("q").arg("x"), patient()).await.expect("RPUSH");
    let element = waiting.await.expect("task").expect("BLPOP");
    assert_eq!(element, Some(["q".to_owned(), "x".to_owned()]));
}

#[tokio::test]
async fn a_returned_connection_is_lent_again_without_a_round_trip() {
    let server = Server::start().await;
    let conn = pooled(&server.url(), Pooling::default()).await;
    let mut first = conn.dedicated().await.expect("a connection");
    let first_id = id(&mut first).await;
    echo(&mut first).await.expect("ECHO");
    drop(first);
    let processed = server.info("total_commands_processed").await.expect("INFO");
    let mut again = conn.dedicated().await.expect("a connection");
    let processed_after = server.info("total_commands_processed").await.expect("INFO");
    let count = |text: Option<String>| text.and_then(|text| text.parse::<u64>().ok()).expect("a number");
    // Only what the two looks at the counter cost themselves.
    assert!(count(processed_after) - count(processed) <= 8);
    assert_eq!(id(&mut again).await, first_id);
    assert_eq!(conn.pool_stats().opened, 1);
}

#[tokio::test]
async fn a_cancelled_use_poisons_the_connection() {
    let server = Server::start().await;
    let conn = pooled(&server.url(), Pooling { max: 1, ..Pooling::default() }).await;
    let mut dedicated = conn.dedicated().await.expect("a connection");
    let blpop = redis::cmd("BLPOP").arg("q").arg(0).take();
    let blocked = dedicated.run(&blpop, patient());
    assert!(tokio::time::timeout(SECOND / 2, blocked).await.is_err());
    drop(dedicated);
    assert_eq!((conn.pool_stats().idle, conn.pool_stats().discarded), (0, 1));
    let mut next = conn.dedicated().await.expect("a new connection");
    assert_eq!(echo(&mut next).await.expect("ECHO"), redis::Value::BulkString(b"x".to_vec()));
}

#[tokio::test]
async fn a_timed_out_use_poisons_the_connection() {
    let server = Server::start().await;
    let conn = pooled(&server.url(), Pooling { max: 1, ..Pooling::default() }).await;
    let mut dedicated = conn.dedicated().await.expect("a connection");
    let late =
        dedicated.run(redis::cmd("BLPOP").arg("q").arg(0), within(1_000)).await.expect_err("nothing came");
    assert_eq!((late.kind(), late.class()), (ErrorKind::Timeout, Class::Ambiguous));
    drop(dedicated);
    assert_eq!(conn.pool_stats().discarded, 1);
    // The abandoned BLPOP must not take this element away.
    server.command::<()>(redis::cmd("RPUSH").arg("other").arg("x")).await;
    let mut next = conn.dedicated().await.expect("a new connection");
    echo(&mut next).await.expect("ECHO");
}

#[tokio::test]
async fn an_open_watch_does_not_reach_the_next_caller() {
    let server = Server::start().await;
    let conn = pooled(&server.url(), Pooling { max: 1, ..Pooling::default() }).await;
    for command in
        [redis::cmd("WATCH").arg("k").to_owned(), redis::cmd("SELECT").arg(1).to_owned(), redis::cmd("MULTI")]
    {
        let discarded = conn.pool_stats().discarded;
        let mut dedicated = conn.dedicated().await.expect("a connection");
        dedicated.run(&command, patient()).await.expect("OK");
        drop(dedicated);
        assert_eq!(conn.pool_stats().discarded, discarded + 1);
    }
}

#[tokio::test]
async fn watch_sees_a_change_and_a_finished_transaction_leaves_the_connection_reusable() {
    let server = Server::start().await;
    let conn = pooled(&server.url(), Pooling { max: 1, ..Pooling::default() }).await;
    let mut dedicated = conn.dedicated().await.expect("a connection");
    let mut write = redis::pipe();
    write.atomic().cmd("SET").arg("k").arg("mine");
    dedicated.run(redis::cmd("WATCH").arg("k"), patient()).await.expect("WATCH");
    conn.run(redis::cmd("SET").arg("k").arg("theirs"), patient()).await.expect("SET");
    let aborted = dedicated.run_pipeline(&write, patient()).await.expect_err("k changed");
    assert_eq!((aborted.kind(), aborted.class()), (ErrorKind::Aborted, Class::Reply));
    dedicated.run(redis::cmd("WATCH").arg("k"), patient()).await.expect("WATCH");
    dedicated.run_pipeline(&write, patient()).await.expect("nobody else wrote");
    drop(dedicated);
    assert_eq!(conn.pool_stats().idle, 1);
}

#[tokio::test]
async fn callers_wait_up_to_the_wait_timeout() {
    let server = Server::start().await;
    let pool = Pooling { max: 1, wait_timeout: Duration::from_millis(200), ..Pooling::default() };
    let conn = pooled(&server.url(), pool).await;
    let _held = conn.dedicated().await.expect("a connection");
    let began = Instant::now();
    let error = conn.dedicated().await.expect_err("none free");
    assert_eq!((error.kind(), error.class()), (ErrorKind::Overloaded, Class::NotSent));
    assert!(began.elapsed() < SECOND / 5 + margin());
    assert_eq!(conn.pool_stats().timed_out, 1);
}

#[tokio::test]
async fn callers_are_served_in_order() {
    let server = Server::start().await;
    let pool = Pooling { max: 1, wait_timeout: 30 * SECOND, ..Pooling::default() };
    let conn = pooled(&server.url(), pool).await;
    let held = conn.dedicated().await.expect("a connection");
    let order = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..5 {
        let (conn, order) = (conn.clone(), order.clone());
        tasks.push(tokio::spawn(async move {
            let _dedicated = conn.dedicated().await.expect("its turn");
            order.lock().push(number);
        }));
        tokio::task::yield_now().await;
    }
    drop(held);
    for task in tasks {
        task.await.expect("task");
    }
    assert_eq!(*order.lock(), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn idle_and_old_connections_are_closed_down_to_the_minimum() {
    let server = Server::start().await;
    let pool = Pooling { min: 1, idle_timeout: Duration::from_millis(300), ..Pooling::default() };
    let conn = pooled(&server.url(), pool).await;
    let lent = futures_util::future::join_all((0..4).map(|_| conn.dedicated())).await;
    drop(lent);
    eventually("only the minimum is left", 30 * SECOND, async || match conn.pool_stats() {
        stats if stats.idle == 1 && stats.discarded >= 3 => Ok(()),
        stats => Err(format!("{stats:?}")),
    })
    .await;

    let young = Pooling { max_lifetime: Duration::from_millis(100), ..Pooling::default() };
    let conn = pooled(&server.url(), young).await;
    let first = conn.dedicated().await.expect("a connection");
    tokio::time::sleep(Duration::from_millis(150)).await;
    drop(first);
    assert_eq!((conn.pool_stats().idle, conn.pool_stats().discarded), (0, 1));
}

#[tokio::test]
async fn after_a_restart_no_dead_connection_is_lent() {
    let server = Server::start().await;
    let conn = pooled(&server.url(), Pooling { min: 2, ..Pooling::default() }).await;
    server.kill();
    eventually("the loss is seen", 30 * SECOND, async || match conn.dedicated().await {
        Err(error) if error.class() == Class::NotSent => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    server.restart().await;
    usable_again(&conn).await;
    for _ in 0..4 {
        let mut dedicated = conn.dedicated().await.expect("a connection");
        echo(&mut dedicated).await.expect("a live one");
    }
}

#[tokio::test]
async fn connections_of_an_earlier_epoch_are_not_lent() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let conn = pooled(&proxy.url(), Pooling { min: 1, ..Pooling::default() }).await;
    // Only the shared connection stalls; the idle one looks healthy and is dropped all the same.
    proxy.set(Fault::BlackHole);
    conn.get(b"k", within(100)).await.expect_err("black hole");
    eventually("the stall is seen", 30 * SECOND, async || {
        if conn.run(&redis::cmd("PING"), within(50)).await.is_err_and(|error| error.class() == Class::NotSent)
        {
            Ok(())
        } else {
            Err("still up".to_owned())
        }
    })
    .await;
    proxy.set(Fault::None);
    usable_again(&conn).await;
    let mut dedicated = conn.dedicated().await.expect("a connection");
    echo(&mut dedicated).await.expect("a live one");
    assert!(conn.pool_stats().discarded >= 1);
}

#[tokio::test]
async fn a_storm_of_cancelled_waits_and_uses_leaks_nothing() {
    let server = Server::start().await;
    let conn = pooled(&server.url(), Pooling { max: 4, ..Pooling::default() }).await;
    for round in 0..300_u64 {
        let use_it = async {
            let mut dedicated = conn.dedicated().await.expect("a connection");
            let _ = dedicated.run(redis::cmd("BLPOP").arg("q").arg("0.001"), patient()).await;
        };
        let _ = tokio::time::timeout(Duration::from_micros(round * 7 % 1500), use_it).await;
    }
    let stats = conn.pool_stats();
    assert_eq!((stats.in_use, stats.waiting), (0, 0), "{stats:?}");
    eventually("closed connections are gone", 30 * SECOND, async || match clients(&server).await {
        open if open <= 1 + stats.idle => Ok(()),
        open => Err(format!("{open} clients")),
    })
    .await;
}

#[tokio::test]
async fn commands_that_stream_are_refused_on_dedicated_connections_too() {
    let server = Server::start().await;
    let conn = pooled(&server.url(), Pooling::default()).await;
    let mut dedicated = conn.dedicated().await.expect("free");
    for line in ["SUBSCRIBE news", "UNSUBSCRIBE", "MONITOR"] {
        let mut command = redis::Cmd::new();
        line.split(' ').for_each(|word| {
            command.arg(word);
        });
        let mut pipeline = redis::pipe();
        pipeline.add_command(command.clone());
        let refused = [
            dedicated.run(&command, patient()).await.expect_err("refused"),
            dedicated.run_pipeline(&pipeline, patient()).await.expect_err("refused"),
        ];
        for error in refused {
            assert_eq!((error.kind(), error.class()), (ErrorKind::Unsupported, Class::NotSent), "{line}");
        }
    }
    let pong = dedicated.run(&redis::cmd("PING"), patient()).await.expect("as before");
    assert_eq!(pong, redis::Value::SimpleString("PONG".to_owned()));
}
