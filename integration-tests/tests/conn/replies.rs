//! A real server driven into every error reply a standalone server or a replica can give.

use std::time::Duration;

use integration_tests::{Server, ServerConfig, eventually};
use redis::Cmd;
use redis_conn::{Class, Conn, DownReason, Error, ErrorKind, Event, Events};

use crate::support::{config, connect, patient, within};

const SECOND: Duration = Duration::from_secs(1);

fn cmd(line: &str) -> Cmd {
    let mut words = line.split(' ');
    let mut command = redis::cmd(words.next().expect("a name"));
    words.for_each(|word| {
        command.arg(word);
    });
    command
}

/// The error a command is answered with.
async fn refusal(conn: &Conn, line: &str) -> Error {
    conn.run(&cmd(line), patient()).await.expect_err(line)
}

fn expect(error: &Error, code: &str, kind: ErrorKind, class: Class) {
    assert_eq!((error.code(), error.kind(), error.class()), (Some(code), kind, class), "{error:?}");
}

/// That nothing has happened to the connection.
fn kept(events: &mut Events) {
    assert!(events.try_recv().is_err(), "the connection was replaced");
}

async fn replaced(events: &mut Events, expected: DownReason) {
    let down = async {
        loop {
            if let Ok(Event::Down { reason, .. }) = events.recv().await {
                return reason;
            }
        }
    };
    assert_eq!(tokio::time::timeout(30 * SECOND, down).await.expect("replaced"), expected);
}

#[tokio::test]
async fn answers_to_the_command_itself_keep_the_connection() {
    let server = Server::start().await;
    let conn = connect(&server.url()).await;
    let mut events = conn.events();
    conn.run(&cmd("SET text x"), patient()).await.expect("SET");
    expect(&refusal(&conn, "LPUSH text y").await, "WRONGTYPE", ErrorKind::WrongType, Class::Reply);
    let sha = "EVALSHA ffffffffffffffffffffffffffffffffffffffff 0";
    expect(&refusal(&conn, sha).await, "NOSCRIPT", ErrorKind::NoScript, Class::Reply);
    expect(&refusal(&conn, "NONSENSE c4nary").await, "ERR", ErrorKind::Reply, Class::Reply);
    let overflow = refusal(&conn, "INCR text").await;
    expect(&overflow, "ERR", ErrorKind::Reply, Class::Reply);
    assert!(overflow.context().contains("not an integer"), "{overflow}");
    let mut broken = redis::pipe();
    broken.atomic().cmd("SET").arg("n").arg(1).cmd("NONSENSE");
    let aborted = conn.run_pipeline(&broken, patient()).await.expect_err("EXECABORT");
    expect(&aborted, "EXECABORT", ErrorKind::Aborted, Class::Reply);
    kept(&mut events);
}

#[tokio::test]
async fn oom_and_misconf_are_fatal_and_keep_the_connection() {
    let server = Server::start().await;
    let conn = connect(&server.url()).await;
    let mut events = conn.events();
    server.command::<()>(&cmd("CONFIG SET maxmemory 1")).await;
    expect(&refusal(&conn, "SET k v").await, "OOM", ErrorKind::ServerFull, Class::Fatal);
    let in_script = refusal(&conn, "EVAL return(redis.call('SET','k','v')) 0").await;
    expect(&in_script, "OOM", ErrorKind::ServerFull, Class::Fatal);
    server.command::<()>(&cmd("CONFIG SET maxmemory 0")).await;

    // A folder in the place of the snapshot makes saving fail.
    let folder = server.dir().join("data/dump.rdb");
    std::fs::remove_file(&folder).ok();
    std::fs::create_dir_all(&folder).expect("a folder");
    server.command::<()>(cmd("CONFIG SET save").arg("1 1")).await;
    let misconf = eventually("MISCONF", 30 * SECOND, async || {
        let _ = server.try_command::<redis::Value>(&cmd("BGSAVE")).await;
        match conn.run(&cmd("SET k v"), within(1000)).await {
            Err(error) if error.code() == Some("MISCONF") => Ok(error),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    expect(&misconf, "MISCONF", ErrorKind::ServerFull, Class::Fatal);
    kept(&mut events);
}

#[tokio::test]
async fn busy_and_noreplicas_are_refused_and_keep_the_connection() {
    let slow = ServerConfig::default().with_option("busy-reply-threshold", 50);
    let server = slow.start().await;
    let conn = Conn::connect(config(&server.url()).with_stall_timeout(20 * SECOND)).await.expect("connect");
    let other = Conn::connect(config(&server.url()).with_stall_timeout(20 * SECOND)).await.expect("connect");
    let mut events = conn.events();
    let looping = tokio::spawn(async move {
        let mut script = redis::cmd("EVAL");
        other.run(script.arg("while true do end").arg(0), patient()).await
    });
    let busy = eventually("BUSY", 30 * SECOND, async || match conn.run(&cmd("GET k"), within(1000)).await {
        Err(error) if error.code() == Some("BUSY") => Ok(error),
        other => Err(format!("{other:?}")),
    })
    .await;
    expect(&busy, "BUSY", ErrorKind::NotReady, Class::Refused);
    conn.run(&cmd("SCRIPT KILL"), patient()).await.expect("SCRIPT KILL");
    looping.await.expect("task").expect_err("killed");

    server.command::<()>(&cmd("CONFIG SET min-replicas-to-write 3")).await;
    expect(&refusal(&conn, "SET k v").await, "NOREPLICAS", ErrorKind::NotReady, Class::Refused);
    kept(&mut events);
}

#[tokio::test]
async fn a_demoted_master_answers_readonly_and_the_connection_is_replaced_but_not_over_and_over() {
    let master = Server::start().await;
    let server = Server::start().await;
    let conn = connect(&server.url()).await;
    let mut events = conn.events();
    server.command::<()>(&cmd(&format!("REPLICAOF 127.0.0.1 {}", master.port()))).await;
    expect(&refusal(&conn, "SET k v").await, "READONLY", ErrorKind::ReadOnly, Class::WrongRole);
    replaced(&mut events, DownReason::WrongRole).await;
    crate::support::usable_again(&conn).await;
    let mut events = conn.events();
    for _ in 0..100 {
        expect(&refusal(&conn, "SET k v").await, "READONLY", ErrorKind::ReadOnly, Class::WrongRole);
    }
    kept(&mut events);
}

#[tokio::test]
async fn a_replica_cut_off_from_its_master_answers_masterdown() {
    let server = ServerConfig::default().with_option("replica-serve-stale-data", "no").start().await;
    let conn = connect(&server.url()).await;
    let mut events = conn.events();
    server.command::<()>(&cmd("REPLICAOF 127.0.0.1 1")).await;
    expect(&refusal(&conn, "GET k").await, "MASTERDOWN", ErrorKind::NotReady, Class::Refused);
    replaced(&mut events, DownReason::WrongRole).await;
}

#[tokio::test]
async fn a_blocked_client_is_unblocked_when_its_node_is_demoted() {
    let server = Server::start().await;
    let conn = connect(&server.url()).await;
    let mut dedicated = conn.dedicated().await.expect("a connection");
    let waiting = tokio::spawn(async move { dedicated.run(&cmd("BLPOP q 0"), patient()).await });
    eventually("the client blocks", 30 * SECOND, async || {
        let blocked = server.info("blocked_clients").await.expect("INFO");
        if blocked.as_deref() == Some("1") { Ok(()) } else { Err(format!("{blocked:?}")) }
    })
    .await;
    server.command::<()>(&cmd("REPLICAOF 127.0.0.1 1")).await;
    let error = waiting.await.expect("task").expect_err("UNBLOCKED");
    expect(&error, "UNBLOCKED", ErrorKind::ReadOnly, Class::WrongRole);
}

#[tokio::test]
async fn what_the_acl_forbids_is_fatal_and_names_no_user() {
    let acl = "user c4nary on >pw ~app:* +@all -flushall";
    let server = ServerConfig::default().with_acl(acl).start().await;
    let conn = connect(&format!("redis://c4nary:pw@{}/", server.address())).await;
    let mut events = conn.events();
    for line in ["FLUSHALL", "GET other:k"] {
        let error = refusal(&conn, line).await;
        expect(&error, "NOPERM", ErrorKind::Denied, Class::Fatal);
        assert!(!format!("{error} {error:?}").contains("c4nary"));
    }
    kept(&mut events);
}

#[tokio::test]
async fn wrong_and_missing_passwords_are_fatal() {
    let server = ServerConfig::default().with_password("right").start().await;
    for (url, code) in [
        (format!("redis://:wrong@{}/", server.address()), "WRONGPASS"),
        (format!("redis://{}/", server.address()), "NOAUTH"),
    ] {
        let error = Conn::connect(config(&url)).await.expect_err("refused");
        expect(&error, code, ErrorKind::Auth, Class::Fatal);
    }
}

#[tokio::test]
async fn a_server_at_its_limit_of_clients_is_unavailable_and_says_so() {
    let server = Server::start().await;
    let _first = connect(&server.url()).await;
    server.command::<()>(&cmd("CONFIG SET maxclients 1")).await;
    let impatient = config(&server.url()).with_connect_timeout(Duration::from_millis(300));
    // The server says why and closes; a reset may overtake its words, so the reason is not in every attempt.
    eventually("the reason", 30 * SECOND, async || {
        let error = Conn::connect(impatient.clone()).await.expect_err("full");
        assert_eq!((error.kind(), error.class()), (ErrorKind::Unavailable, Class::NotSent), "{error:?}");
        if error.context().contains("limit of clients") { Ok(()) } else { Err(error.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn cross_slot_and_a_slot_nobody_serves_are_told_apart() {
    let server = ServerConfig::default().with_option("cluster-enabled", "yes").start().await;
    let conn = connect(&server.url()).await;
    let mut events = conn.events();
    expect(&refusal(&conn, "GET a").await, "CLUSTERDOWN", ErrorKind::NotReady, Class::Refused);
    server.command::<()>(&cmd("CLUSTER ADDSLOTSRANGE 0 16383")).await;
    eventually("the slots are served", 30 * SECOND, async || {
        conn.run(&cmd("GET a"), patient()).await.map_err(|error| format!("{error:?}"))
    })
    .await;
    expect(&refusal(&conn, "MGET a b").await, "CROSSSLOT", ErrorKind::CrossSlot, Class::Reply);
    kept(&mut events);
}
