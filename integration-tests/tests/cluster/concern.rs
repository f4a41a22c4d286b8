//! Writes that replicas have to confirm, each at its own shard.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use integration_tests::{Cluster, Server, eventually, slot_of, tag_for};
use redis::Value;
use redis_conn::{Class, Conn, ErrorKind, SetOptions, WriteConcern};

use crate::support::{calls, config, soon, words};

/// Patience that a loaded machine does not exhaust.
const PATIENT: Duration = Duration::from_secs(20);

async fn connect(cluster: &Cluster, timeout: Duration) -> Conn {
    let concern = WriteConcern::Wait { replicas: 1, timeout };
    Conn::connect(config(cluster).with_write_concern(concern)).await.expect("connected")
}

/// What the replica of a slot's master holds under a key.
async fn copy(replicas: &HashMap<u16, &Server>, cluster: &Cluster, key: &str) -> Option<String> {
    let replica = replicas[&cluster.owner_of(slot_of(key.as_bytes())).await.port()];
    let mut connection = replica.connect().await.expect("a control connection");
    redis::cmd("READONLY").query_async::<()>(&mut connection).await.expect("READONLY");
    redis::cmd("GET").arg(key).query_async(&mut connection).await.expect("GET")
}

async fn replicas(cluster: &Cluster) -> HashMap<u16, &Server> {
    let mut replicas = HashMap::new();
    for master in cluster.masters().await {
        replicas.insert(master.port(), cluster.replica_of(master).await);
    }
    replicas
}

#[tokio::test]
async fn a_confirmed_write_is_on_its_shards_replica_when_it_returns() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster, PATIENT).await;
    let replicas = replicas(&cluster).await;
    for round in 0..30 {
        let key = format!("k{round}");
        assert!(conn.set(key.as_bytes(), b"v", SetOptions::new(), soon()).await.expect("SET"));
        assert_eq!(copy(&replicas, &cluster, &key).await.as_deref(), Some("v"), "{key}");
        let write = words(&format!("APPEND {key} w"));
        assert_eq!(conn.write(&write, soon()).await.expect("APPEND"), Value::Int(2));
        assert_eq!(copy(&replicas, &cluster, &key).await.as_deref(), Some("vw"), "{key}");
    }
    // A command of many slots is confirmed in all of its parts.
    conn.write(&words("MSET a 1 b 2 c 3"), soon()).await.expect("MSET");
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3")] {
        assert_eq!(copy(&replicas, &cluster, key).await.as_deref(), Some(value), "{key}");
    }
}

#[tokio::test]
async fn writes_at_the_same_time_share_a_wait_at_each_node() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster, PATIENT).await;
    let increments: Vec<_> = (0..600).map(|index| words(&format!("INCR n{}", index % 60))).collect();
    for outcome in join_all(increments.iter().map(|command| conn.write(command, soon()))).await {
        outcome.expect("INCR");
    }
    let mut waits = Vec::new();
    for master in cluster.masters().await {
        waits.push(calls(master, "wait").await);
    }
    println!("600 writes to 3 masters, WAITs: {waits:?}");
    assert!(waits.iter().all(|waits| (1..=40).contains(waits)), "{waits:?}");
}

#[tokio::test]
async fn only_the_shard_without_its_replica_says_so() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster, Duration::from_secs(2)).await;
    let (lame, well) = (tag_for(0), tag_for(16_383));
    let replica = cluster.replica_of(cluster.owner_of(0).await).await;
    replica.freeze();
    let (failed, written) = tokio::join!(
        conn.set(lame.as_bytes(), b"v", SetOptions::new(), soon()),
        conn.set(well.as_bytes(), b"v", SetOptions::new(), soon()),
    );
    let error = failed.expect_err("nobody confirms");
    assert_eq!((error.kind(), error.class()), (ErrorKind::NotReplicated, Class::Ambiguous), "{error:?}");
    assert!(written.expect("the other shard has its replica"));
    assert_eq!(conn.get(lame.as_bytes(), soon()).await.expect("GET"), Some(b"v".to_vec()));
    replica.thaw();
    eventually("confirmed again", Duration::from_secs(30), async || {
        let written = conn.set(lame.as_bytes(), b"w", SetOptions::new(), soon()).await;
        written.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

/// Keys that have gone ahead are confirmed by the replica of the node that took them.
#[tokio::test]
async fn confirmed_writes_follow_a_slot_that_is_half_way() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster, PATIENT).await;
    let tag = tag_for(77);
    for index in 0..20 {
        conn.write(&words(&format!("INCR {tag}{index}")), soon()).await.expect("INCR");
    }
    let target = cluster.owner_of(16_383).await;
    cluster.begin_migration(77, target).await;
    cluster.migrate_keys(77, target, 10).await;
    let before = calls(target, "wait").await;
    let increments: Vec<_> = (0..21).map(|index| words(&format!("INCR {tag}{index}"))).collect();
    let replies = join_all(increments.iter().map(|command| conn.write(command, soon()))).await;
    for (index, reply) in replies.into_iter().enumerate() {
        let expected = if index == 20 { 1 } else { 2 };
        assert_eq!(reply.expect("INCR"), Value::Int(expected), "key {index}");
    }
    assert!(calls(target, "wait").await > before, "those that went ahead were confirmed there");
    cluster.migrate_keys(77, target, 1000).await;
    cluster.finish_migration(77, target).await;
    for index in 0..20 {
        let stored = conn.get(format!("{tag}{index}").as_bytes(), soon()).await.expect("GET");
        assert_eq!(stored, Some(b"2".to_vec()), "key {index}");
    }
}

#[tokio::test]
async fn nothing_confirmed_is_lost_with_its_master() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster, PATIENT).await;
    let tag = tag_for(0);
    let victim = cluster.owner_of(0).await;
    let mut confirmed = Vec::new();
    for index in 0..300 {
        let key = format!("{tag}{index}");
        if index == 200 {
            victim.kill();
        }
        let patience = Duration::from_millis(if index < 200 { 30_000 } else { 500 });
        let deadline = tokio::time::Instant::now() + patience;
        if conn.set(key.as_bytes(), b"v", SetOptions::new(), deadline).await.is_ok() {
            confirmed.push(key);
        }
        if index >= 220 {
            break;
        }
    }
    assert!(confirmed.len() >= 200, "{}", confirmed.len());
    let successor = cluster.successor_of(victim, 0).await;
    for key in &confirmed {
        let kept: Option<String> = successor.command(redis::cmd("GET").arg(key)).await;
        assert_eq!(kept.as_deref(), Some("v"), "{key}");
    }
}
