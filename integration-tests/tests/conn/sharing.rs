//! How few requests and system calls the work of many tasks takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use integration_tests::Server;
use redis_conn::{BatchKind, Conn, Observer};

use crate::support::{config, connect, patient};

const TASKS: usize = 64;
const ROUNDS: usize = 50;

/// One worker and the server in lockstep, so that what shares a write is decided by the order of tasks alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn commands_of_ready_tasks_share_a_write() {
    let server = Server::start().await;
    let conn = connect(&server.url()).await;
    let before = reads_of_the_server(&conn).await;
    let tasks = (0..TASKS).map(|_| {
        let conn = conn.clone();
        tokio::spawn(async move {
            for _ in 0..ROUNDS {
                conn.run(redis::cmd("INCR").arg("n"), patient()).await.expect("INCR");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("a task");
    }
    let reads = reads_of_the_server(&conn).await - before;
    println!("{} commands arrived in {reads} reads", TASKS * ROUNDS);
    assert!(reads * 16 < TASKS * ROUNDS, "{reads} reads for {} commands", TASKS * ROUNDS);
}

/// Counts batches and their members.
#[derive(Default)]
struct Batches {
    sent: AtomicUsize,
    members: AtomicUsize,
}

impl Observer for Batches {
    fn batch_sent(&self, _: BatchKind, members: usize) {
        self.sent.fetch_add(1, Ordering::SeqCst);
        self.members.fetch_add(members, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn ready_tasks_share_a_batch() {
    let server = Server::start().await;
    let batches = Arc::new(Batches::default());
    let conn = Conn::connect(config(&server.url()).with_observer(batches.clone())).await.expect("connect");
    let tasks = (0..TASKS).map(|_| {
        let conn = conn.clone();
        tokio::spawn(async move {
            for _ in 0..ROUNDS {
                conn.get(b"k", patient()).await.expect("GET");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("a task");
    }
    let (sent, members) = (batches.sent.load(Ordering::SeqCst), batches.members.load(Ordering::SeqCst));
    println!("{members} operations in {sent} batches");
    assert!(members > TASKS * ROUNDS / 2, "only {members} operations were batched");
    assert!(sent * 8 < members, "{sent} batches for {members} operations");
}

async fn reads_of_the_server(conn: &Conn) -> usize {
    let stats = conn.run(redis::cmd("INFO").arg("stats"), patient()).await.expect("INFO");
    let stats: String = redis::from_redis_value(stats).expect("text");
    let line = stats.lines().find_map(|line| line.strip_prefix("total_reads_processed:"));
    line.expect("a count of reads").trim().parse().expect("a number")
}
