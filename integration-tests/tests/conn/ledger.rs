//! Counting what was acknowledged against what the server holds, through kills and cancellations.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use integration_tests::{Server, ServerConfig, eventually, long, margin};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use redis_conn::{Batching, Class, Conn, SetOptions};
use tokio::time::Instant;

use crate::support::{config, connect, patient, usable_again, within};

const SECOND: Duration = Duration::from_secs(1);
const TASKS: u64 = 16;

/// What the callers know of one counter.
#[derive(Default)]
struct Account {
    ok: AtomicI64,
    ambiguous: AtomicI64,
    refused: AtomicI64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_kills_and_restarts_no_acknowledged_write_is_lost_and_none_is_applied_twice() {
    let rounds = if long() { 20 } else { 4 };
    let durable =
        ServerConfig::default().with_option("appendonly", "yes").with_option("appendfsync", "always");
    let server = durable.start().await;
    let conn = connect(&server.url()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let accounts: Vec<_> = (0..TASKS).map(|_| Arc::new(Account::default())).collect();
    let workers: Vec<_> = (0..TASKS)
        .map(|task| {
            tokio::spawn(work(conn.clone(), task, Arc::clone(&accounts[task as usize]), Arc::clone(&stop)))
        })
        .collect();
    let mut worst = Duration::ZERO;
    for _ in 0..rounds {
        all_get_through(&accounts).await;
        server.kill();
        server.restart().await;
        worst = worst.max(usable_again(&conn).await);
    }
    stop.store(true, Ordering::SeqCst);
    let mut newest = Vec::new();
    for worker in workers {
        newest.push(worker.await.expect("worker"));
    }
    println!("{rounds} kills; usable again at most {worst:?} after PONG");
    if long() {
        assert!(worst <= Duration::from_millis(250), "{worst:?}");
    }
    for (task, (account, newest)) in accounts.iter().zip(newest).enumerate() {
        check(&server, task, account, newest).await;
    }
}

/// Waits until each caller was told of one more increment.
async fn all_get_through(accounts: &[Arc<Account>]) {
    let told = || accounts.iter().map(|account| account.ok.load(Ordering::SeqCst)).collect::<Vec<_>>();
    let before = told();
    eventually("every task gets through", 60 * SECOND, async || {
        let now = told();
        if now.iter().zip(&before).all(|(now, before)| now > before) {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await;
}

/// Increments a counter and writes numbered values until told to stop; returns the newest acknowledged value.
async fn work(conn: Conn, task: u64, account: Arc<Account>, stop: Arc<AtomicBool>) -> i64 {
    let (counter, register) = (format!("counter:{task}"), format!("register:{task}"));
    let mut newest = 0;
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        match conn.run(redis::cmd("INCR").arg(&counter), within(500)).await {
            Ok(_) => account.ok.fetch_add(1, Ordering::SeqCst),
            Err(error) if error.class() == Class::Ambiguous => {
                account.ambiguous.fetch_add(1, Ordering::SeqCst)
            }
            Err(_) => account.refused.fetch_add(1, Ordering::SeqCst),
        };
        number += 1;
        let value = number.to_string();
        if conn.set(register.as_bytes(), value.as_bytes(), SetOptions::new(), within(500)).await.is_ok() {
            newest = number;
        } else {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    newest
}

async fn check(server: &Server, task: usize, account: &Account, newest: i64) {
    let counter: i64 = server.command(redis::cmd("GET").arg(format!("counter:{task}"))).await;
    let register: i64 = server.command(redis::cmd("GET").arg(format!("register:{task}"))).await;
    let ok = account.ok.load(Ordering::SeqCst);
    let ambiguous = account.ambiguous.load(Ordering::SeqCst);
    assert!(ok > 0, "task {task} never got through");
    assert!(
        ok <= counter && counter <= ok + ambiguous,
        "task {task}: {ok} <= {counter} <= {ok} + {ambiguous}"
    );
    assert!(register >= newest, "task {task}: {newest} was acknowledged, {register} is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_calls_never_mix_replies_up_and_leak_nothing() {
    let operations: u64 = if long() { 100_000 } else { 10_000 };
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let server = Server::start().await;
    let eager = Batching { threshold: Some(16), ..Batching::default() };
    let narrow = config(&server.url()).with_batching(eager).with_max_in_flight(64).with_max_queued(4096);
    let conn = Conn::connect(narrow).await.expect("connect");
    let wrong = Arc::new(AtomicU64::new(0));
    let dropped = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..128)
        .map(|task| {
            let (conn, wrong, dropped) = (conn.clone(), Arc::clone(&wrong), Arc::clone(&dropped));
            let random = StdRng::seed_from_u64(seed.wrapping_add(task));
            tokio::spawn(async move { storm(conn, task, operations / 128, random, &wrong, &dropped).await })
        })
        .collect();
    for task in tasks {
        task.await.expect("task");
    }
    println!("{operations} operations, {} dropped", dropped.load(Ordering::SeqCst));
    assert_eq!(wrong.load(Ordering::SeqCst), 0, "seed {seed}");
    assert!(dropped.load(Ordering::SeqCst) > operations / 10, "too few were dropped to show anything");
    // All permits are back: as many operations as the budget has room for run at once.
    let ping = redis::cmd("PING");
    let all = (0..64).map(|_| conn.run(&ping, patient()));
    for pong in futures_util::future::join_all(all).await {
        pong.expect("PING");
    }
    eventually("one connection is left", 30 * SECOND, async || {
        let clients: String = server.command(redis::cmd("CLIENT").arg("LIST")).await;
        if clients.lines().count() == 2 { Ok(()) } else { Err(clients) }
    })
    .await;
}

/// Writes and reads values that name their key; drops a fifth of the calls at a random moment.
async fn storm(
    conn: Conn,
    task: u64,
    operations: u64,
    mut random: StdRng,
    wrong: &AtomicU64,
    dropped: &AtomicU64,
) {
    for number in 0..operations {
        let key = format!("{task}:{}", number % 8);
        let operation = async {
            if number % 3 == 0 {
                let value = format!("{key}|{number}");
                conn.set(key.as_bytes(), value.as_bytes(), SetOptions::new(), patient()).await.expect("SET");
            } else if number % 3 == 1 {
                let value = conn.get(key.as_bytes(), patient()).await.expect("GET");
                let is_wrong = value.is_some_and(|value| !value.starts_with(format!("{key}|").as_bytes()));
                wrong.fetch_add(u64::from(is_wrong), Ordering::SeqCst);
            } else {
                let echo = conn.run(redis::cmd("ECHO").arg(&key), patient()).await.expect("ECHO");
                let is_wrong = echo != redis::Value::BulkString(key.clone().into_bytes());
                wrong.fetch_add(u64::from(is_wrong), Ordering::SeqCst);
            }
        };
        if random.random_bool(0.2) {
            let patience = Duration::from_micros(random.random_range(0..300));
            let cut = tokio::time::timeout(patience, operation).await.is_err();
            dropped.fetch_add(u64::from(cut), Ordering::SeqCst);
        } else {
            operation.await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_under_load_lets_no_call_overrun_its_deadline() {
    let server = Server::start().await;
    let conn = connect(&server.url()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..64)
        .map(|task| {
            let (conn, stop) = (conn.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut worst = Duration::ZERO;
                let key = format!("k{task}");
                while !stop.load(Ordering::SeqCst) {
                    let deadline = within(250);
                    let outcome = conn.get(key.as_bytes(), deadline).await;
                    worst = worst.max(Instant::now().saturating_duration_since(deadline));
                    if outcome.is_err() {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
                worst
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.freeze();
    tokio::time::sleep(3 * SECOND).await;
    server.thaw();
    let back = usable_again(&conn).await;
    stop.store(true, Ordering::SeqCst);
    let mut worst = Duration::ZERO;
    for worker in workers {
        worst = worst.max(worker.await.expect("worker"));
    }
    println!("worst overrun {worst:?}; usable again {back:?} after SIGCONT");
    assert!(worst < if long() { Duration::from_millis(50) } else { margin() }, "{worst:?}");
}
