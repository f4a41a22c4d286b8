//! Masters that die or hand over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use integration_tests::{Cluster, eventually, long, margin, tag_for};
use redis_conn::{Conn, SetOptions};
use tokio::time::{Instant, sleep};

use crate::support::{connect, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_master_is_replaced_and_the_other_slots_do_not_notice() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let victim = cluster.owner_of(0).await;
    // By default a cluster that lacks one slot refuses all.
    for node in cluster.nodes() {
        node.command::<()>(redis::cmd("CONFIG").arg("SET").arg("cluster-require-full-coverage").arg("no"))
            .await;
    }

    let stop = Arc::new(AtomicBool::new(false));
    let writing: Vec<_> = [8000, 16_383]
        .map(tag_for)
        .map(|key| tokio::spawn(latencies(conn.clone(), key, Arc::clone(&stop))))
        .into();
    // As long before as the failover takes, give or take.
    sleep(Duration::from_secs(3)).await;
    let killed = Instant::now();
    victim.kill();
    let successor = cluster.successor_of(victim, 0).await;
    let promoted = killed.elapsed();
    let written = conn.set(tag_for(0).as_bytes(), b"v", SetOptions::new(), soon()).await;
    let usable = killed.elapsed();
    stop.store(true, Ordering::Relaxed);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for task in writing {
        for (began, took) in task.await.unwrap() {
            if began < killed { before.push(took) } else { after.push(took) }
        }
    }

    written.unwrap();
    let ratio = p99(&mut after).as_secs_f64() / p99(&mut before).as_secs_f64();
    println!(
        "promoted after {promoted:?}, written after {usable:?}; healthy slots: p99 {:?} before, {:?} after the kill \
         (ratio {ratio:.2}), slowest {:?}, {} and {} writes",
        p99(&mut before),
        p99(&mut after),
        after.last().unwrap(),
        before.len(),
        after.len()
    );
    assert!(usable < promoted + if long() { Duration::from_millis(300) } else { margin() }, "{usable:?}");
    assert!(*after.last().unwrap() < margin());
    assert!(!long() || ratio <= 2.0, "{ratio}");
    let kept: Option<String> = successor.command(redis::cmd("GET").arg(tag_for(0))).await;
    assert_eq!(kept.as_deref(), Some("v"));
}

fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// Writes one key until stopped; every write succeeds. Returns when each began and how long it took.
async fn latencies(conn: Conn, key: String, stop: Arc<AtomicBool>) -> Vec<(Instant, Duration)> {
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        conn.set(key.as_bytes(), b"v", SetOptions::new(), soon()).await.expect("a healthy slot");
        times.push((began, began.elapsed()));
        sleep(Duration::from_millis(1)).await;
    }
    times
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
    let slowest = writing.await.unwrap().into_iter().map(|(_, took)| took).max();
    println!("slowest write across the failover: {slowest:?}");
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
    eventually("the loss is noticed", Duration::from_secs(30), async || {
        let error = conn.get(key.as_bytes(), Instant::now() + Duration::from_millis(100)).await.unwrap_err();
        if error.is_safe_to_repeat() { Ok(()) } else { Err(error.to_string()) }
    })
    .await;
    let began = Instant::now();
    let error = conn.get(key.as_bytes(), began + Duration::from_millis(500)).await.unwrap_err();
    assert!(error.is_safe_to_repeat(), "{error:?}");
    assert!(began.elapsed() < Duration::from_millis(500) + margin(), "{:?}", began.elapsed());
    conn.set(tag_for(16_383).as_bytes(), b"v", SetOptions::new(), soon()).await.unwrap();
}
