//! Slots that move under load: callers notice nothing, and every increment counts once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use integration_tests::{Cluster, long, margin, slot_of, tag_for};
use redis::Value;
use redis_conn::{Batching, Conn, ErrorKind, SetOptions};
use tokio::time::Instant;

use crate::support::{config, connect, soon, words};

/// Counters that tasks increment until told to stop; each task knows how often it was told "done".
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<Vec<AtomicU64>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// `tasks` tasks increment `counters` keys, one command at a time or in pipelines of ten.
    fn start(conn: &Conn, tasks: usize, counters: usize, pipelined: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done: Arc<Vec<AtomicU64>> = Arc::new((0..counters).map(|_| AtomicU64::new(0)).collect());
        let tasks = (0..tasks).map(|task| {
            let (conn, stop, done) = (conn.clone(), Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                let mut next = task * 7;
                while !stop.load(Ordering::Relaxed) {
                    let members: Vec<usize> = (0..if pipelined { 10 } else { 1 })
                        .map(|offset| (next + offset * 13) % counters)
                        .collect();
                    next += 1;
                    let deadline = soon();
                    if pipelined {
                        let mut pipeline = redis::pipe();
                        members.iter().for_each(|counter| {
                            pipeline.incr(format!("c{counter}"), 1);
                        });
                        for reply in conn.run_pipeline(&pipeline, deadline).await.expect("a user error") {
                            reply.expect("a member's error");
                        }
                    } else {
                        let command = words(&format!("INCR c{}", members[0]));
                        conn.run(&command, deadline).await.expect("a user error");
                    }
                    members.iter().for_each(|counter| {
                        done[*counter].fetch_add(1, Ordering::Relaxed);
                    });
                }
            })
        });
        let tasks = tasks.collect();
        Self { stop, done, tasks }
    }

    async fn finish(self, conn: &Conn) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no operation fails");
        }
        let mut total = 0;
        for (counter, done) in self.done.iter().enumerate() {
            let stored = conn.get(format!("c{counter}").as_bytes(), soon()).await.unwrap();
            let stored: u64 = stored.map_or(0, |text| String::from_utf8(text).unwrap().parse().unwrap());
            assert_eq!(stored, done.load(Ordering::Relaxed), "counter {counter}");
            total += stored;
        }
        total
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reshard_under_increments_costs_no_error_and_no_count() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let load = Load::start(&conn, 32, 2000, false);
    move_slots_back_and_forth(&cluster).await;
    let total = load.finish(&conn).await;
    println!("{total} increments during the moves, no error, all counters exact");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reshard_under_pipelined_increments_repeats_only_the_members_that_were_redirected() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let load = Load::start(&conn, 16, 2000, true);
    move_slots_back_and_forth(&cluster).await;
    let total = load.finish(&conn).await;
    println!("{total} pipelined increments during the moves, no error, all counters exact");
}

/// Each task writes keys of its own, half of them in a slot that moves, and reads them back: what it reads is what it
/// wrote last.
async fn write_and_read(conn: Conn, task: usize, stop: Arc<AtomicBool>) -> u64 {
    let mut rounds = 0_u64;
    let tags = [tag_for(task as u16 % 30), String::new()];
    while !stop.load(Ordering::Relaxed) {
        let key = format!("{}t{task}:{}", tags[rounds as usize % 2], rounds % 50);
        let value = rounds.to_string();
        let written = conn.set(key.as_bytes(), value.as_bytes(), SetOptions::new(), soon()).await;
        assert!(written.expect("a user error"));
        let read = conn.get(key.as_bytes(), soon()).await.expect("a user error");
        assert_eq!(read, Some(value.into_bytes()), "task {task}, round {rounds}");
        rounds += 1;
    }
    rounds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typed_operations_follow_slots_that_move_with_and_without_batches() {
    let cluster = Cluster::start().await;
    // Above the threshold of in-flight operations they travel in batches.
    for threshold in [Some(4), None] {
        let batching = Batching { threshold, ..Batching::default() };
        let conn = Conn::connect(config(&cluster).with_batching(batching)).await.expect("connected");
        let stop = Arc::new(AtomicBool::new(false));
        let start = |task| tokio::spawn(write_and_read(conn.clone(), task, Arc::clone(&stop)));
        let tasks: Vec<_> = (0..32).map(start).collect();
        move_slots_back_and_forth(&cluster).await;
        stop.store(true, Ordering::Relaxed);
        let mut rounds = 0;
        for task in tasks {
            rounds += task.await.expect("no operation fails");
        }
        println!("{rounds} writes and reads during the moves, batches {threshold:?}, none failed or stale");
    }
}

async fn move_slots_back_and_forth(cluster: &Cluster) {
    let masters = cluster.masters().await;
    let last = if long() { 499 } else { 29 };
    let (first, second) = (cluster.owner_of(0).await, cluster.owner_of(16_383).await);
    assert!(masters.len() == 3 && first.port() != second.port());
    let began = Instant::now();
    cluster.reshard(0..=last, second).await;
    cluster.reshard(0..=last, first).await;
    println!("{} slots moved and moved back in {:?}", last + 1, began.elapsed());
}

#[tokio::test]
async fn a_slot_half_way_is_served_whole() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let tag = tag_for(77);
    let key = |index: usize| format!("{tag}:{index}");
    for index in 0..20 {
        conn.set(key(index).as_bytes(), b"1", SetOptions::new(), soon()).await.unwrap();
    }
    let target = cluster.owner_of(16_383).await;
    cluster.begin_migration(77, target).await;
    assert_eq!(cluster.migrate_keys(77, target, 10).await, 10);

    // Half of these are answered ASK, with and without batches; a new key, too.
    for index in 0..20 {
        let command = words(&format!("INCR {}", key(index)));
        assert_eq!(conn.run(&command, soon()).await.unwrap(), Value::Int(2), "key {index}");
    }
    let mut pipeline = redis::pipe();
    (0..21).for_each(|index| {
        pipeline.incr(key(index), 1);
    });
    let replies: Vec<Value> =
        conn.run_pipeline(&pipeline, soon()).await.unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(replies[..20], vec![Value::Int(3); 20]);
    assert_eq!(replies[20], Value::Int(1));
    for index in 0..20 {
        assert_eq!(conn.get(key(index).as_bytes(), soon()).await.unwrap().unwrap(), b"3");
    }
    cluster.migrate_keys(77, target, 1000).await;
    cluster.finish_migration(77, target).await;
    for index in 0..20 {
        assert_eq!(conn.get(key(index).as_bytes(), soon()).await.unwrap().unwrap(), b"3");
    }
}

#[tokio::test]
async fn keys_of_a_slot_half_way_are_read_together_once_it_has_arrived() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let tag = tag_for(500);
    let keys: Vec<String> = (0..10).map(|index| format!("{tag}:{index}")).collect();
    for key in &keys {
        conn.set(key.as_bytes(), b"v", SetOptions::new(), soon()).await.unwrap();
    }
    let target = cluster.owner_of(16_383).await;
    cluster.begin_migration(500, target).await;
    cluster.migrate_keys(500, target, 5).await;

    // TRYAGAIN until the deadline, and nothing but that.
    let mget = words(&format!("MGET {}", keys.join(" ")));
    let began = Instant::now();
    let error = conn.run(&mget, began + Duration::from_secs(2)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_safe_to_repeat()), (ErrorKind::NotReady, true), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2) + margin(), "{:?}", began.elapsed());

    let reading = tokio::spawn({
        let (conn, mget) = (conn.clone(), mget.clone());
        async move { conn.run(&mget, soon()).await }
    });
    cluster.migrate_keys(500, target, 1000).await;
    cluster.finish_migration(500, target).await;
    let Value::Array(values) = reading.await.unwrap().unwrap() else { panic!("not an array") };
    assert_eq!(values, vec![Value::BulkString(b"v".to_vec()); 10]);
}

#[tokio::test]
async fn a_transaction_follows_its_slot() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let tag = tag_for(900);
    let mut pipeline = redis::pipe();
    pipeline.atomic().incr(format!("{tag}:a"), 1).incr(format!("{tag}:b"), 1);
    let run = async |expected: i64| {
        let replies = conn.run_pipeline(&pipeline, soon()).await.unwrap();
        let replies: Vec<Value> = replies.into_iter().map(Result::unwrap).collect();
        assert_eq!(replies, [Value::Int(expected), Value::Int(expected)]);
    };
    run(1).await;
    let target = cluster.owner_of(16_383).await;
    cluster.begin_migration(900, target).await;
    cluster.migrate_keys(900, target, 1000).await;
    run(2).await;
    cluster.finish_migration(900, target).await;
    run(3).await;
}

#[tokio::test]
async fn slots_agree_with_the_servers() {
    let cluster = Cluster::start().await;
    for key in ["", "foo", "{a}b", "a{b", "a{}b", "{}{x}", "x{y}z{w}", "{{a}}"] {
        let slot: u16 = cluster.nodes()[0].command(redis::cmd("CLUSTER").arg("KEYSLOT").arg(key)).await;
        assert_eq!(slot, slot_of(key.as_bytes()), "{key}");
    }
}
