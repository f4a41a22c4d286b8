//! What nodes of a cluster answer to a client that takes one of them for a standalone server.

use std::time::Duration;

use integration_tests::{Cluster, Server, tag_for};
use redis_conn::{Class, Config, Conn, Error, ErrorKind, Events};

use crate::support::{soon, words};

const SLOT: u16 = 77;

async fn alone(node: &Server) -> Conn {
    Conn::connect(Config::from_url(&node.url()).expect("a valid URL")).await.expect("a connection")
}

async fn refusal(conn: &Conn, line: &str) -> Error {
    conn.run(&words(line), soon()).await.expect_err(line)
}

fn expect(error: &Error, code: &str, kind: ErrorKind, class: Class) {
    assert_eq!((error.code(), error.kind(), error.class()), (Some(code), kind, class), "{error:?}");
    assert!(error.is_safe_to_repeat());
}

fn kept(events: &mut Events) {
    assert!(events.try_recv().is_err(), "the connection was replaced");
}

#[tokio::test]
async fn moved_ask_and_tryagain_are_told_apart_and_keep_the_connection() {
    let cluster = Cluster::start().await;
    let (owner, target) = (cluster.owner_of(SLOT).await, cluster.owner_of(16_383).await);
    let (at_owner, at_target) = (alone(owner).await, alone(target).await);
    let (mut owner_events, mut target_events) = (at_owner.events(), at_target.events());
    let tag = tag_for(SLOT);
    at_owner.run(&words(&format!("SET {tag}there v")), soon()).await.expect("SET");

    let get = format!("GET {tag}there");
    expect(&refusal(&at_target, &get).await, "MOVED", ErrorKind::Redirected, Class::WrongRole);
    cluster.begin_migration(SLOT, target).await;
    let absent = format!("GET {tag}absent");
    expect(&refusal(&at_owner, &absent).await, "ASK", ErrorKind::Redirected, Class::WrongRole);
    let both = format!("MGET {tag}there {tag}absent");
    expect(&refusal(&at_owner, &both).await, "TRYAGAIN", ErrorKind::NotReady, Class::Refused);
    expect(&refusal(&at_target, &get).await, "MOVED", ErrorKind::Redirected, Class::WrongRole);
    for error in [refusal(&at_owner, &absent).await, refusal(&at_target, &get).await] {
        assert!(!format!("{error} {error:?}").contains(&tag), "no key in {error:?}");
    }
    kept(&mut owner_events);
    kept(&mut target_events);
}

#[tokio::test]
async fn a_client_blocked_on_a_slot_that_leaves_is_sent_after_it() {
    let cluster = Cluster::start().await;
    let (owner, target) = (cluster.owner_of(SLOT).await, cluster.owner_of(16_383).await);
    let conn = alone(owner).await;
    let mut events = conn.events();
    let mut dedicated = conn.dedicated().await.expect("a connection");
    let blpop = words(&format!("BLPOP {}queue 0", tag_for(SLOT)));
    let waiting = tokio::spawn(async move { dedicated.run(&blpop, soon()).await });
    crate::support::blocked(owner).await;
    cluster.move_slot(SLOT, target).await;
    let error = tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("in time");
    expect(&error.expect("task").expect_err("moved"), "MOVED", ErrorKind::Redirected, Class::WrongRole);
    kept(&mut events);
}
