//! Measures typed operations against a bare redis-rs connection, round by round in one run.
//!
//! `cargo run --release -p redis-conn --example ratio -- redis://127.0.0.1:6379/ [rounds]`
//!
//! Prints, for 1 to 512 tasks, operations per second of both and the median of the pairwise ratios. Absolute
//! figures depend on the machine; the ratios are taken within each round.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis_conn::{Config, Conn, SetOptions};

const KEYS: u64 = 10_000;
const ROUND: Duration = Duration::from_millis(400);

#[derive(Clone, Copy)]
enum Operation {
    Get,
    Set,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "redis://127.0.0.1:6379/".to_owned());
    let rounds: usize = arguments.next().map_or(Ok(9), |rounds| rounds.parse())?;
    let conn = Conn::connect(Config::from_url(&url)?).await?;
    let client = redis::Client::open(url.as_str())?;
    let bare = client.get_multiplexed_async_connection().await?;
    fill(&conn).await?;
    println!("{:>6} {:>4} {:>12} {:>12} {:>7}", "tasks", "op", "bare/s", "redis-conn/s", "ratio");
    for tasks in [1, 16, 64, 256, 512] {
        for operation in [Operation::Get, Operation::Set] {
            report(&conn, &bare, tasks, operation, rounds).await;
        }
    }
    Ok(())
}

async fn fill(conn: &Conn) -> Result<(), redis_conn::Error> {
    for number in 0..KEYS {
        conn.set(&key(number), &[b'x'; 100], SetOptions::new(), soon()).await?;
    }
    Ok(())
}

async fn report(conn: &Conn, bare: &MultiplexedConnection, tasks: u64, operation: Operation, rounds: usize) {
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let b = rate(tasks, |round, seed| work_bare(bare.clone(), operation, round, seed)).await;
        let a = rate(tasks, |round, seed| work_conn(conn.clone(), operation, round, seed)).await;
        ratios.push(a / b);
        ours.push(a);
        theirs.push(b);
    }
    let name = if matches!(operation, Operation::Get) { "GET" } else { "SET" };
    let (ours, theirs, ratio) = (median(ours), median(theirs), median(ratios));
    println!("{tasks:>6} {name:>4} {theirs:>12.0} {ours:>12.0} {ratio:>7.2}");
}

/// Tells the tasks of a round when it is over, and counts what they did.
#[derive(Default)]
struct Round {
    over: AtomicBool,
    done: AtomicU64,
}

/// Runs `tasks` tasks for a round and returns operations per second.
async fn rate<T: Future<Output = ()> + Send + 'static>(
    tasks: u64,
    mut work: impl FnMut(Arc<Round>, u64) -> T,
) -> f64 {
    let round = Arc::new(Round::default());
    let began = Instant::now();
    let running: Vec<_> = (0..tasks).map(|seed| tokio::spawn(work(Arc::clone(&round), seed))).collect();
    tokio::time::sleep(ROUND).await;
    round.over.store(true, Ordering::Relaxed);
    for task in running {
        task.await.expect("a task of the bench");
    }
    round.done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

async fn work_bare(mut conn: MultiplexedConnection, operation: Operation, round: Arc<Round>, seed: u64) {
    let mut done = 0;
    while !round.over.load(Ordering::Relaxed) {
        let key = key((seed * 7919 + done) % KEYS);
        let command = match operation {
            Operation::Get => redis::cmd("GET").arg(key).take(),
            Operation::Set => redis::cmd("SET").arg(key).arg(&[b'y'; 100]).take(),
        };
        conn.send_packed_command(&command).await.expect("an answer");
        done += 1;
    }
    round.done.fetch_add(done, Ordering::Relaxed);
}

async fn work_conn(conn: Conn, operation: Operation, round: Arc<Round>, seed: u64) {
    let mut done = 0;
    while !round.over.load(Ordering::Relaxed) {
        let key = key((seed * 7919 + done) % KEYS);
        match operation {
            Operation::Get => drop(conn.get(&key, soon()).await.expect("an answer")),
            Operation::Set => {
                conn.set(&key, &[b'y'; 100], SetOptions::new(), soon()).await.expect("an answer");
            }
        }
        done += 1;
    }
    round.done.fetch_add(done, Ordering::Relaxed);
}

fn key(number: u64) -> Vec<u8> {
    format!("ratio:{number}").into_bytes()
}

fn soon() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(3)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
