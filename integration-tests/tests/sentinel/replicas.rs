//! Reads from replicas.

use std::time::Duration;

use integration_tests::{SentinelConfig, Server, eventually};
use redis_conn::{Config, Conn, ErrorKind, ReadFrom};
use tokio::time::Instant;

use crate::support::{config, soon};

async fn gets(server: &Server) -> u64 {
    let calls = server.info("cmdstat_get").await.expect("INFO").unwrap_or_default();
    let calls = calls.strip_prefix("calls=").and_then(|rest| rest.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

#[tokio::test]
async fn typed_reads_go_to_the_replica_and_everything_else_to_the_master() {
    let group = SentinelConfig::default().with_replicas(1).start().await;
    let conn = Conn::connect(config(&group).with_read_from(ReadFrom::Replica)).await.expect("connected");
    conn.set(b"k", b"v", Default::default(), soon()).await.expect("SET");
    eventually("the replica has the value", Duration::from_secs(30), async || {
        match conn.get(b"k", soon()).await.expect("GET") {
            Some(value) if value == b"v" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    for _ in 0..100 {
        conn.get(b"k", soon()).await.expect("GET");
    }
    assert_eq!(gets(&group.nodes()[0]).await, 0, "the master was not asked");
    assert!(gets(&group.nodes()[1]).await > 100);
}

#[tokio::test]
async fn without_a_replica_the_master_answers_when_it_may() {
    let group = SentinelConfig::default().with_replicas(1).start().await;
    let preferring =
        Conn::connect(config(&group).with_read_from(ReadFrom::PreferReplica)).await.expect("connected");
    let insisting = Conn::connect(config(&group).with_read_from(ReadFrom::Replica)).await.expect("connected");
    preferring.set(b"k", b"v", Default::default(), soon()).await.expect("SET");
    group.nodes()[1].kill();
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        preferring.get(b"k", soon()).await.expect("the replica or the master");
    }
    assert_eq!(preferring.get(b"k", soon()).await.expect("GET"), Some(b"v".to_vec()));
    assert!(gets(&group.nodes()[0]).await > 0);
    let error = insisting.get(b"k", soon()).await.expect_err("no replica");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    group.nodes()[1].restart().await;
    eventually("read from the replica again", Duration::from_secs(30), async || {
        insisting.get(b"k", soon()).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn a_standalone_server_has_no_replicas_to_read_from() {
    let config =
        Config::from_url("redis://127.0.0.1").expect("a valid URL").with_read_from(ReadFrom::Replica);
    let error = config.validate().expect_err("no replicas known");
    assert!(error.context().contains("read_from"), "{error:?}");
}
