//! Opening a handle, sending things over it, closing it.

use std::time::Duration;

use integration_tests::{Server, ServerConfig, eventually, margin};
use redis::AsyncTypedCommands;
use redis_conn::{Class, Condition, Config, Conn, Endpoint, ErrorKind, Event, Expiry, SetOptions, State};

use crate::support::{config, connect, patient};

#[tokio::test]
async fn commands_pipelines_and_typed_operations_work() {
    let server = Server::start().await;
    let conn = connect(&server.url()).await;
    let pong = conn.run(&redis::cmd("PING"), patient()).await.expect("PING");
    assert_eq!(pong, redis::Value::SimpleString("PONG".into()));

    let options = SetOptions::new();
    assert!(conn.set(b"k", b"v", options, patient()).await.expect("SET"));
    assert_eq!(conn.get(b"k", patient()).await.expect("GET"), Some(b"v".to_vec()));
    assert_eq!(conn.get(b"absent", patient()).await.expect("GET"), None);
    assert!(
        !conn.set(b"k", b"w", options.with_condition(Condition::IfAbsent), patient()).await.expect("SET NX")
    );
    assert!(
        !conn.set(b"x", b"w", options.with_condition(Condition::IfPresent), patient()).await.expect("SET XX")
    );

    let mut pipe = redis::pipe();
    pipe.cmd("INCR").arg("n").cmd("INCR").arg("k").cmd("INCR").arg("n");
    let results = conn.run_pipeline(&pipe, patient()).await.expect("pipeline");
    assert_eq!(results.len(), 3);
    assert_eq!(*results[0].as_ref().expect("first"), redis::Value::Int(1));
    assert_eq!(results[1].as_ref().expect_err("second").class(), Class::Reply);
    assert_eq!(*results[2].as_ref().expect("third"), redis::Value::Int(2));
}

#[tokio::test]
async fn an_atomic_pipeline_returns_one_result_per_member() {
    let server = Server::start().await;
    let conn = connect(&server.url()).await;
    let mut pipe = redis::pipe();
    pipe.atomic().cmd("SET").arg("k").arg("text").cmd("INCR").arg("k").cmd("GET").arg("k");
    let results = conn.run_pipeline(&pipe, patient()).await.expect("ran");
    assert_eq!(results.len(), 3);
    assert!(results[0].is_ok() && results[2].is_ok());
    assert_eq!(results[1].as_ref().expect_err("INCR of text").code(), Some("ERR"));

    let mut refused = redis::pipe();
    refused.atomic().cmd("SET").arg("k").cmd("INCR").arg("n");
    let error = conn.run_pipeline(&refused, patient()).await.expect_err("EXECABORT");
    assert_eq!((error.kind(), error.class()), (ErrorKind::Aborted, Class::Reply));
}

#[tokio::test]
async fn every_time_to_live_reaches_the_server() {
    let server = Server::start().await;
    let conn = connect(&server.url()).await;
    let ttl = async |key: &str| -> i64 { server.command(redis::cmd("PTTL").arg(key)).await };
    let short = SetOptions::new().with_ttl(Duration::from_millis(90_500));
    conn.set(b"k", b"1", short, patient()).await.expect("SET PX");
    assert!((80_000..=90_500).contains(&ttl("k").await));
    conn.set(b"k", b"2", SetOptions::new().with_expiry(Expiry::Keep), patient()).await.expect("SET KEEPTTL");
    assert!((80_000..=90_500).contains(&ttl("k").await));
    conn.set(b"k", b"3", SetOptions::new(), patient()).await.expect("SET");
    assert_eq!(ttl("k").await, -1);
    let zero = SetOptions::new().with_ttl(Duration::from_micros(999));
    let error = conn.set(b"k", b"4", zero, patient()).await.expect_err("below a millisecond");
    assert_eq!((error.kind(), error.class()), (ErrorKind::InvalidInput, Class::NotSent));
    assert_eq!(conn.get(b"k", patient()).await.expect("GET"), Some(b"3".to_vec()));
}

#[tokio::test]
async fn redis_rs_commands_and_scripts_run_over_the_handle() {
    let server = Server::start().await;
    let mut conn = connect(&server.url()).await;
    conn.set_ex("k", "v", 60).await.expect("SETEX");
    assert_eq!(conn.getrange("k", 0, -1).await.expect("GETRANGE"), "v");
    let script = redis::Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    for expected in [5, 10] {
        let sum: i64 = script.key("n").arg(5).invoke_async(&mut conn).await.expect("script");
        assert_eq!(sum, expected);
    }
    let error = conn.incr("k", 1).await.expect_err("not a number");
    assert_eq!(error.code(), Some("ERR"));
    let refused = redis::cmd("SELECT").arg(1).exec_async(&mut conn).await.expect_err("SELECT is refused");
    let ours = redis_conn::Error::from_redis(&refused).expect("an error of this crate");
    assert_eq!(ours.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn database_name_protocol_and_password_are_set_on_the_connection() {
    let server = ServerConfig::default().with_password("s3cret pass").start().await;
    for protocol in ["resp2", "resp3"] {
        let url =
            format!("redis://:s3cret%20pass@{}/3?protocol={protocol}&client_name=teller", server.address());
        let conn = connect(&url).await;
        let me = conn.run(redis::cmd("CLIENT").arg("INFO"), patient()).await.expect("CLIENT INFO");
        let me: String = redis::from_redis_value(me).expect("text");
        let resp = if protocol == "resp3" { "resp=3" } else { "resp=2" };
        for part in ["name=teller", "db=3", resp] {
            assert!(me.contains(part) || !me.contains("resp="), "{part} not in {me}");
        }
        conn.close().await;
    }
}

#[tokio::test]
async fn a_unix_socket_works_like_a_port() {
    let server = Server::start().await;
    let conn = connect(&server.unix_url()).await;
    conn.set(b"k", b"v", SetOptions::new(), patient()).await.expect("SET");
    assert_eq!(conn.get(b"k", patient()).await.expect("GET"), Some(b"v".to_vec()));
}

#[tokio::test]
async fn wrong_credentials_fail_at_once_and_are_not_repeated_in_the_error() {
    let server = ServerConfig::default().with_password("right").start().await;
    for url in [format!("redis://:c4nary@{}/", server.address()), format!("redis://{}/", server.address())] {
        for protocol in ["resp2", "resp3"] {
            let began = std::time::Instant::now();
            let patient =
                config(&format!("{url}?protocol={protocol}")).with_connect_timeout(Duration::from_secs(60));
            let error = Conn::connect(patient).await.expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
            assert!(!format!("{error} {error:?}").contains("c4nary"));
            assert!(began.elapsed() < margin(), "it waited for the connect timeout");
        }
    }
}

#[tokio::test]
async fn nothing_listening_fails_with_a_typed_error_within_the_connect_timeout() {
    let port = integration_tests::Port::reserve();
    let config = Config::standalone(Endpoint::tcp("127.0.0.1", port.number()))
        .with_connect_timeout(Duration::from_millis(300));
    let began = std::time::Instant::now();
    let error = Conn::connect(config).await.expect_err("nobody there");
    assert_eq!((error.kind(), error.class()), (ErrorKind::Unavailable, Class::NotSent));
    assert!(began.elapsed() < Duration::from_millis(300) + margin());
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_a_configuration_error() {
    let server = Server::start().await;
    let error = Conn::connect(config(&server.url()).with_db(9999)).await.expect_err("no such database");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.context().contains("db"), "{error}");
}

#[tokio::test]
async fn closing_ends_the_connections_and_later_operations_fail_as_closed() {
    let server = Server::start().await;
    let conn = connect(&server.url()).await;
    let mut events = conn.events();
    conn.close().await;
    assert_eq!(conn.state(), State::Closed);
    let error = conn.get(b"k", patient()).await.expect_err("closed");
    assert_eq!((error.kind(), error.class()), (ErrorKind::Closed, Class::NotSent));
    assert!(matches!(events.recv().await, Ok(Event::Down { .. })));
    no_clients_left(&server).await;
}

#[tokio::test]
async fn dropping_the_last_clone_ends_the_connections() {
    let server = Server::start().await;
    let conn = connect(&server.url()).await;
    let clone = conn.clone();
    drop(conn);
    clone.get(b"k", patient()).await.expect("the clone still works");
    drop(clone);
    no_clients_left(&server).await;
}

/// Waits until the server has no client but the one that asks.
async fn no_clients_left(server: &Server) {
    eventually("no client left", Duration::from_secs(30), async || {
        let clients: String = server.command(redis::cmd("CLIENT").arg("LIST")).await;
        if clients.lines().count() <= 1 { Ok(()) } else { Err(clients) }
    })
    .await;
}
