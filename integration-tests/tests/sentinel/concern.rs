//! Writes that replicas have to confirm.

use std::time::Duration;

use futures_util::future::join_all;
use integration_tests::{SentinelConfig, SentinelGroup, Server, eventually};
use redis_conn::{Class, Conn, ErrorKind, WriteConcern};

use crate::support::{config, soon};

async fn group() -> SentinelGroup {
    SentinelConfig::default().with_replicas(1).start().await
}

/// Patience that a loaded machine does not exhaust.
const PATIENT: Duration = Duration::from_secs(20);

async fn connect(group: &SentinelGroup, timeout: Duration) -> Conn {
    let concern = WriteConcern::Wait { replicas: 1, timeout };
    Conn::connect(config(group).with_write_concern(concern)).await.expect("connected")
}

async fn waits(server: &Server) -> u64 {
    let calls = server.info("cmdstat_wait").await.expect("INFO").unwrap_or_default();
    let calls = calls.strip_prefix("calls=").and_then(|rest| rest.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

#[tokio::test]
async fn a_confirmed_write_is_on_the_replica_when_it_returns() {
    let group = group().await;
    let conn = connect(&group, PATIENT).await;
    for round in 0..200_u32 {
        let key = format!("k{round}");
        assert!(conn.set(key.as_bytes(), b"v", Default::default(), soon()).await.expect("SET"));
        let copy: Option<String> = group.nodes()[1].command(redis::cmd("GET").arg(&key)).await;
        assert_eq!(copy.as_deref(), Some("v"), "{key}");
    }
}

#[tokio::test]
async fn writes_at_the_same_time_share_a_wait() {
    let group = group().await;
    let conn = connect(&group, PATIENT).await;
    let writes = (0..500).map(|_| {
        let conn = conn.clone();
        async move { conn.write(redis::cmd("INCR").arg("n"), soon()).await }
    });
    for outcome in join_all(writes).await {
        outcome.expect("INCR");
    }
    let total: u64 = group.nodes()[1].command(redis::cmd("GET").arg("n")).await;
    let waits = waits(&group.nodes()[0]).await;
    println!("500 writes, {waits} WAITs");
    assert_eq!(total, 500);
    assert!((1..=100).contains(&waits), "{waits}");
}

#[tokio::test]
async fn without_its_replica_a_write_says_so_and_reads_go_on() {
    let group = group().await;
    let conn = connect(&group, Duration::from_millis(300)).await;
    let replica = &group.nodes()[1];
    replica.freeze();
    let write = conn.set(b"k", b"v", Default::default(), soon());
    let read = conn.get(b"other", soon());
    let (written, read) = tokio::join!(write, read);
    let error = written.expect_err("nobody confirms");
    assert_eq!((error.kind(), error.class()), (ErrorKind::NotReplicated, Class::Ambiguous), "{error:?}");
    assert_eq!(read.expect("GET"), None, "reads do not stand behind WAIT");
    assert_eq!(conn.get(b"k", soon()).await.expect("GET"), Some(b"v".to_vec()), "the master has it");
    replica.thaw();
    eventually("confirmed again", Duration::from_secs(30), async || {
        let written = conn.set(b"k", b"w", Default::default(), soon()).await;
        written.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn a_refused_write_keeps_its_own_error() {
    let group = group().await;
    let conn = connect(&group, PATIENT).await;
    conn.set(b"k", b"text", Default::default(), soon()).await.expect("SET");
    let error = conn.write(redis::cmd("INCR").arg("k"), soon()).await.expect_err("no number");
    assert_eq!((error.kind(), error.class()), (ErrorKind::Reply, Class::Reply), "{error:?}");
}
