//! Measures this crate against a bare redis-rs connection, round by round in one run.
//!
//! `cargo run --release -p redis-conn --example ratio -- redis://127.0.0.1:6379/ [rounds]`
//!
//! The bare connection has the same socket options; a second one has those of redis-rs, with Nagle's algorithm on.
//! Prints, for 1 to 512 tasks, operations per second, the 99th percentile of the latency in microseconds, and the
//! ratios of the rates: median, and in brackets the range of the middle 80 % of the rounds. Absolute figures depend
//! on the machine; the ratios are taken within each round.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{Cmd, IntoConnectionInfo};
use redis_conn::{Config, Conn, SetOptions};

const KEYS: u64 = 10_000;
const VALUE: [u8; 100] = [b'y'; 100];
const ROUND: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug)]
enum Operation {
    Get,
    Set,
    /// `INCRBY` by `Conn::run`, which never batches.
    Run,
}

#[derive(Clone)]
enum Candidate {
    Bare(MultiplexedConnection),
    Ours(Conn),
}

/// What is compared.
struct Candidates {
    ours: Candidate,
    bare: Candidate,
    with_nagle: Candidate,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "redis://127.0.0.1:6379/".to_owned());
    let rounds: usize = arguments.next().map_or(Ok(21), |rounds| rounds.parse())?;
    let candidates = connect(&url).await?;
    for number in 0..KEYS {
        candidates.ours.clone().ask(Operation::Set, number).await;
    }
    println!("tasks   op |    bare/s   p99 | redis-conn/s   p99 | ratio              | to Nagle's");
    for operation in [Operation::Get, Operation::Set, Operation::Run] {
        for tasks in [1, 8, 16, 64, 256, 512] {
            report(&candidates, tasks, operation, rounds).await;
        }
    }
    Ok(())
}

async fn connect(url: &str) -> Result<Candidates, Box<dyn Error>> {
    let config = Config::from_url(url)?;
    let mut settings = TcpSettings::default().set_nodelay(config.tcp.nodelay);
    if let Some(probes) = &config.tcp.keepalive {
        let keepalive = TcpKeepalive::new().with_time(probes.idle).with_interval(probes.interval);
        settings = settings.set_keepalive(keepalive.with_retries(probes.retries));
    }
    if let Some(timeout) = config.tcp.user_timeout {
        settings = settings.set_user_timeout(timeout);
    }
    let bare = redis::Client::open(url.into_connection_info()?.set_tcp_settings(settings))?;
    Ok(Candidates {
        ours: Candidate::Ours(Conn::connect(config).await?),
        bare: Candidate::Bare(bare.get_multiplexed_async_connection().await?),
        with_nagle: Candidate::Bare(redis::Client::open(url)?.get_multiplexed_async_connection().await?),
    })
}

async fn report(candidates: &Candidates, tasks: u64, operation: Operation, rounds: usize) {
    let (mut bare, mut ours, mut ratios, mut nagle) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut bare_p99, mut our_p99) = (Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=rounds {
        let b = measure(&candidates.bare, operation, tasks).await;
        let c = measure(&candidates.ours, operation, tasks).await;
        let n = measure(&candidates.with_nagle, operation, tasks).await;
        if round > 0 {
            ratios.push(c.rate / b.rate);
            nagle.push(c.rate / n.rate);
            bare.push(b.rate);
            ours.push(c.rate);
            bare_p99.push(b.p99);
            our_p99.push(c.p99);
        }
    }
    let operation = format!("{operation:?}");
    println!(
        "{tasks:>5} {operation:>4} | {:>9.0} {:>5.0} | {:>12.0} {:>5.0} | {:.2} ({:.2} .. {:.2}) | {:.2} ({:.2} .. {:.2})",
        at(&mut bare, 0.5),
        at(&mut bare_p99, 0.5),
        at(&mut ours, 0.5),
        at(&mut our_p99, 0.5),
        at(&mut ratios, 0.5),
        at(&mut ratios, 0.1),
        at(&mut ratios, 0.9),
        at(&mut nagle, 0.5),
        at(&mut nagle, 0.1),
        at(&mut nagle, 0.9),
    );
}

/// Operations per second, and microseconds.
struct Measured {
    rate: f64,
    p99: f64,
}

/// Runs `tasks` tasks, each of which asks again and again, for a round.
async fn measure(candidate: &Candidate, operation: Operation, tasks: u64) -> Measured {
    let is_over = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|task| tokio::spawn(work(candidate.clone(), operation, task, Arc::clone(&is_over))))
        .collect();
    tokio::time::sleep(ROUND).await;
    is_over.store(true, Ordering::Relaxed);
    let (mut done, mut latencies) = (0, Vec::new());
    for task in running {
        let (count, sampled) = task.await.expect("a task of the bench");
        done += count;
        latencies.extend(sampled);
    }
    Measured { rate: done as f64 / began.elapsed().as_secs_f64(), p99: at(&mut latencies, 0.99) }
}

/// Counts its operations, and times one in eight.
async fn work(
    mut candidate: Candidate,
    operation: Operation,
    task: u64,
    is_over: Arc<AtomicBool>,
) -> (u64, Vec<f64>) {
    let (mut done, mut latencies) = (0, Vec::new());
    while !is_over.load(Ordering::Relaxed) {
        let began = (done % 8 == 0).then(Instant::now);
        candidate.ask(operation, (task * 7919 + done) % KEYS).await;
        latencies.extend(began.map(|began| began.elapsed().as_secs_f64() * 1e6));
        done += 1;
    }
    (done, latencies)
}

impl Candidate {
    async fn ask(&mut self, operation: Operation, number: u64) {
        let key = key(operation, number);
        match (self, operation) {
            (Self::Bare(bare), Operation::Get) => send(bare, redis::cmd("GET").arg(key)).await,
            (Self::Bare(bare), Operation::Set) => send(bare, redis::cmd("SET").arg(key).arg(&VALUE)).await,
            (Self::Bare(bare), Operation::Run) => send(bare, redis::cmd("INCRBY").arg(key).arg(1)).await,
            (Self::Ours(conn), Operation::Get) => drop(conn.get(&key, soon()).await.expect("an answer")),
            (Self::Ours(conn), Operation::Set) => {
                conn.set(&key, &VALUE, SetOptions::new(), soon()).await.expect("an answer");
            }
            (Self::Ours(conn), Operation::Run) => {
                drop(conn.run(redis::cmd("INCRBY").arg(key).arg(1), soon()).await.expect("an answer"));
            }
        }
    }
}

async fn send(bare: &mut MultiplexedConnection, command: &Cmd) {
    bare.send_packed_command(command).await.expect("an answer");
}

fn key(operation: Operation, number: u64) -> Vec<u8> {
    let kind = if matches!(operation, Operation::Run) { "count" } else { "text" };
    format!("ratio:{kind}:{number}").into_bytes()
}

fn soon() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(3)
}

/// The value below which this share of all lies.
fn at(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(((values.len().max(1) - 1) as f64 * share).round() as usize).copied().unwrap_or_default()
}
