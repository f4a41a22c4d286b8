//! Masters that die or hand over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use integration_tests::{Cluster, eventually, tag_for};
use redis_conn::{Conn, SetOptions};
use tokio::time::Instant;

use crate::support::{connect, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_master_is_replaced_and_the_other_slots_do_not_notice() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let victim = cluster.owner_of(0).await;
    let healthy_key = tag_for(16_383);
    // By default a cluster that lacks one slot refuses all.
    for node in cluster.nodes() {
        node.command::<()>(redis::cmd("CONFIG").arg("SET").arg("cluster-require-full-coverage").arg("no"))
            .await;
    }

    let stop = Arc::new(AtomicBool::new(false));
    let healthy = tokio::spawn(latencies(conn.clone(), healthy_key, Arc::clone(&stop)));
    let killed = Instant::now();
    victim.kill();
    let successor = cluster.successor_of(victim, 0).await;
    let promoted = killed.elapsed();
    let written = conn.set(tag_for(0).as_bytes(), b"v", SetOptions::new(), soon()).await;
    let usable = killed.elapsed();
    stop.store(true, Ordering::Relaxed);
    let slowest = healthy.await.unwrap();

    written.unwrap();
    println!("promoted after {promoted:?}, written after {usable:?}, healthy slot at most {slowest:?}");
    assert!(usable < promoted + Duration::from_secs(2), "{usable:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let kept: Option<String> = successor.command(redis::cmd("GET").arg(tag_for(0))).await;
    assert_eq!(kept.as_deref(), Some("v"));
}

/// Writes one key until stopped; every write succeeds. Returns the slowest.
async fn latencies(conn: Conn, key: String, stop: Arc<AtomicBool>) -> Duration {
    let mut slowest = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        conn.set(key.as_bytes(), b"v", SetOptions::new(), soon()).await.expect("a healthy slot");
        slowest = slowest.max(began.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    slowest
}

#[tokio::test]
async fn a_manual_failover_is_followed_without_an_error() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let old = cluster.owner_of(0).await;
    let key = tag_for(0);
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn(latencies(conn.clone(), key.clone(), Arc::clone(&stop)));
    cluster.failover(old).await;
    conn.set(key.as_bytes(), b"after", SetOptions::new(), soon()).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    println!("slowest write across the failover: {:?}", writing.await.unwrap());
}

#[tokio::test]
async fn a_lost_shard_ends_operations_at_their_deadline_and_leaves_the_others() {
    let cluster = Cluster::start().await;
    for node in cluster.nodes() {
        node.command::<()>(redis::cmd("CONFIG").arg("SET").arg("cluster-require-full-coverage").arg("no"))
            .await;
    }
    let conn = connect(&cluster).await;
    let victim = cluster.owner_of(0).await;
    cluster.replica_of(victim).await.kill();
    victim.kill();
    // What was under way when the connection broke may have run; from then on nothing is sent.
    let key = tag_for(0);
    eventually("the loss is noticed", Duration::from_secs(5), async || {
        let error = conn.get(key.as_bytes(), Instant::now() + Duration::from_millis(100)).await.unwrap_err();
        if error.is_safe_to_repeat() { Ok(()) } else { Err(error.to_string()) }
    })
    .await;
    let began = Instant::now();
    let error = conn.get(key.as_bytes(), began + Duration::from_millis(500)).await.unwrap_err();
    assert!(error.is_safe_to_repeat(), "{error:?}");
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    conn.set(tag_for(16_383).as_bytes(), b"v", SetOptions::new(), soon()).await.unwrap();
}
