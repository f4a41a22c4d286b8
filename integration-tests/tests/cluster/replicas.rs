//! Typed reads from the replicas of a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use integration_tests::{Cluster, Server, eventually, tag_for};
use redis_conn::{Conn, Duty, ErrorKind, HealthStatus, ReadFrom, SetOptions};
use tokio::time::Instant;

use crate::support::{calls, config, soon};

async fn connect(cluster: &Cluster, read_from: ReadFrom) -> Conn {
    Conn::connect(config(cluster).with_read_from(read_from)).await.expect("connected")
}

async fn gets(servers: &[&Server]) -> u64 {
    let mut sum = 0;
    for server in servers {
        sum += calls(server, "get").await;
    }
    sum
}

fn key(index: usize) -> Vec<u8> {
    format!("k{index}").into_bytes()
}

/// A cluster with so many keys, whose nodes name its replicas: they name none that has never had anything to
/// replicate.
async fn filled(keys: usize) -> Cluster {
    let cluster = Cluster::start().await;
    let conn = Conn::connect(config(&cluster)).await.expect("connected");
    for index in 0..keys {
        conn.set(&key(index), b"v", SetOptions::new(), soon()).await.expect("SET");
    }
    for slot in [0, 8000, 16_383] {
        conn.set(tag_for(slot).as_bytes(), b"v", SetOptions::new(), soon()).await.expect("SET");
    }
    eventually("the replicas have every key and are named", Duration::from_secs(30), async || {
        let mut seen = Vec::new();
        for node in cluster.nodes() {
            let slots: redis::Value = node.command(redis::cmd("CLUSTER").arg("SLOTS")).await;
            seen.push((node.command::<usize>(&redis::cmd("DBSIZE")).await, slots));
        }
        let stored: usize = seen.iter().map(|(stored, _)| stored).sum();
        let named = seen.iter().all(|(_, slots)| names_replicas(slots));
        if named && stored == 2 * (keys + 3) { Ok(()) } else { Err(format!("{stored} copies, {seen:?}")) }
    })
    .await;
    cluster
}

/// Whether every range has a master and a replica.
fn names_replicas(slots: &redis::Value) -> bool {
    let redis::Value::Array(ranges) = slots else { return false };
    ranges.iter().all(|range| matches!(range, redis::Value::Array(parts) if parts.len() == 4))
}

#[tokio::test]
async fn typed_reads_go_to_replicas_with_and_without_batches() {
    let cluster = filled(300).await;
    let conn = connect(&cluster, ReadFrom::Replica).await;
    let reads = (0..300).map(|index| {
        let conn = conn.clone();
        async move { conn.get(&key(index), soon()).await }
    });
    for value in futures_util::future::join_all(reads).await {
        assert_eq!(value.expect("GET"), Some(b"v".to_vec()));
    }
    for index in 0..300 {
        assert_eq!(conn.get(&key(index), soon()).await.expect("GET"), Some(b"v".to_vec()));
    }
    assert_eq!(gets(&cluster.masters().await).await, 0, "no master was asked");
    let all: Vec<&Server> = cluster.nodes().iter().collect();
    assert_eq!(gets(&all).await, 600);
    let mut health = conn.health();
    let health = health.wait_for(|health| health.status == HealthStatus::Healthy).await.expect("watched");
    let replicas = health.nodes.iter().filter(|node| node.duty == Duty::Replica).count();
    assert_eq!(replicas, 3, "{health:?}");
}

/// Under `PreferReplica`, what a replica lacks the master is asked for, so a slot on the move shows no holes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_move_never_seem_absent() {
    let cluster = filled(1).await;
    let conn = connect(&cluster, ReadFrom::PreferReplica).await;
    let tag = tag_for(5);
    let keys: Vec<String> = (0..50).map(|index| format!("{tag}{index}")).collect();
    for key in &keys {
        conn.set(key.as_bytes(), b"v", SetOptions::new(), soon()).await.expect("SET");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let reading = tokio::spawn({
        let (conn, keys, stop) = (conn.clone(), keys.clone(), Arc::clone(&stop));
        async move {
            let mut reads = 0;
            while !stop.load(Ordering::Relaxed) {
                let value = conn.get(keys[reads % keys.len()].as_bytes(), soon()).await.expect("GET");
                assert_eq!(value, Some(b"v".to_vec()), "after {reads} reads");
                reads += 1;
            }
            reads
        }
    });
    let (first, second) = (cluster.owner_of(5).await, cluster.owner_of(16_383).await);
    let began = Instant::now();
    for to in [second, first, second] {
        cluster.begin_migration(5, to).await;
        // Both replicas lack some of the keys meanwhile.
        while cluster.migrate_keys(5, to, 10).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cluster.finish_migration(5, to).await;
    }
    stop.store(true, Ordering::Relaxed);
    let reads = reading.await.expect("no read fails");
    println!("{reads} reads in {:?} while the slot moved three times", began.elapsed());
}

#[tokio::test]
async fn without_its_replica_the_master_answers_when_it_may() {
    let cluster = filled(1).await;
    let preferring = connect(&cluster, ReadFrom::PreferReplica).await;
    let insisting = connect(&cluster, ReadFrom::Replica).await;
    let master = cluster.owner_of(integration_tests::slot_of(b"k0")).await;
    let replica = cluster.replica_of(master).await;
    replica.kill();
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        assert_eq!(preferring.get(b"k0", soon()).await.expect("GET"), Some(b"v".to_vec()));
    }
    let asked = gets(&[master]).await;
    assert!(asked > 0);
    let deadline = Instant::now() + Duration::from_secs(2);
    let error = insisting.get(b"k0", deadline).await.expect_err("no replica");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    replica.restart().await;
    eventually("read from the replica again", Duration::from_secs(30), async || {
        let deadline = Instant::now() + Duration::from_secs(1);
        insisting.get(b"k0", deadline).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn reads_go_on_when_a_replica_becomes_the_master() {
    let cluster = filled(1).await;
    let conn = connect(&cluster, ReadFrom::PreferReplica).await;
    let slot = integration_tests::slot_of(b"k0");
    let old = cluster.owner_of(slot).await;
    cluster.failover(old).await;
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        assert_eq!(conn.get(b"k0", soon()).await.expect("GET"), Some(b"v".to_vec()));
    }
    conn.set(b"k0", b"w", SetOptions::new(), soon()).await.expect("SET");
    eventually("the former master answers, as the replica", Duration::from_secs(30), async || {
        let before = gets(&[old]).await;
        conn.get(b"k0", soon()).await.expect("GET");
        let after = gets(&[old]).await;
        if after > before { Ok(()) } else { Err(format!("{after} GETs")) }
    })
    .await;
}
