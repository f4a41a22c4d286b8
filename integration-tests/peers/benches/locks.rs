//! A lock that nobody else wants and a lock that fifty want, here, in `rslock` and by bare commands, in one run.
//!
//! `cargo bench --bench locks` prints ratios to the bare commands, taken round by round, so that a loaded machine
//! troubles all candidates alike. `-- cost` or `-- line` runs one half.
#![allow(clippy::async_yields_async, reason = "to take a lock yields how to release it")]

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, FutureExt, join_all};
use integration_tests::{Server, ServerConfig};
use rand::RngExt;
use redis::{Cmd, aio::MultiplexedConnection};
use redlock::{LockManager, LockOptions, RedisNode};

const TTL: Duration = Duration::from_secs(10);
const ROUNDS: usize = 40;
const OPERATIONS: usize = 250;
const WAITERS: usize = 50;
const SPAN: Duration = Duration::from_secs(4);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wants = |half: &str| wanted.as_deref().is_none_or(|wanted| wanted == half);
    // In a task, as the work of a program is: the main thread is a worker of nobody.
    if wants("cost") {
        tokio::spawn(cost()).await.expect("no panic");
    }
    if wants("line") {
        tokio::spawn(line()).await.expect("no panic");
    }
}

/// One acquire and one release.
type Operation = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

fn operation<F: Future<Output = ()> + Send + 'static>(
    make: impl Fn() -> F + Send + Sync + 'static,
) -> Operation {
    Box::new(move || make().boxed())
}

/// Acquire and release without contention: the median, and its ratio to SET NX PX and DEL on the same servers.
async fn cost() {
    let servers = servers(5).await;
    for count in [1, 5] {
        let servers = &servers[..count];
        let names = ["SET NX PX + DEL", "smallest scripts", "redlock", "rslock"];
        let candidates =
            [bare(servers).await, scripts(servers).await, ours(servers).await, rslock(servers).await];
        let mut medians = [const { Vec::new() }; 4];
        for round in 0..ROUNDS {
            for (i, candidate) in candidates.iter().enumerate() {
                let median = measure(candidate, OPERATIONS).await;
                // The first round warms up.
                if round > 0 {
                    medians[i].push(median);
                }
            }
        }
        println!("acquire + release, {count} server(s), no contention");
        for (name, figures) in names.iter().zip(&medians) {
            let ratios = figures.iter().zip(&medians[0]).map(|(ours, bare)| ours.div_duration_f64(*bare));
            let [low, middle, high] = quartiles(ratios.collect());
            let [_, time, _] = quartiles(figures.iter().map(Duration::as_secs_f64).collect());
            println!("  {name:<18} {:>7.1} us   x {middle:.2} ({low:.2} to {high:.2})", time * 1e6);
        }
    }
}

async fn measure(operation: &Operation, count: usize) -> Duration {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        operation().await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    times[count / 2]
}

fn quartiles(mut figures: Vec<f64>) -> [f64; 3] {
    figures.sort_unstable_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| figures[(figures.len() - 1) * quarter / 4])
}

async fn servers(count: usize) -> Vec<Server> {
    join_all((0..count).map(|_| ServerConfig::default().with_option("appendonly", "no").start())).await
}

async fn connections(servers: &[Server]) -> Vec<MultiplexedConnection> {
    let connect = async |server: &Server| server.connect().await.expect("a connection");
    join_all(servers.iter().map(connect)).await
}

fn command(words: &[&str]) -> Cmd {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command
}

/// The same command to all servers at once, answered by all.
async fn everywhere(connections: &[MultiplexedConnection], command: &Cmd) {
    let each = connections.iter().cloned().map(|mut connection| async move {
        command.exec_async(&mut connection).await.expect("a reply");
    });
    join_all(each).await;
}

/// Two commands, one after the other, to all servers.
fn both(connections: Vec<MultiplexedConnection>, first: Cmd, second: Cmd) -> Operation {
    let shared = Arc::new((connections, first, second));
    operation(move || {
        let shared = Arc::clone(&shared);
        async move {
            everywhere(&shared.0, &shared.1).await;
            everywhere(&shared.0, &shared.2).await;
        }
    })
}

async fn bare(servers: &[Server]) -> Operation {
    let set = command(&["SET", "bare", "value", "NX", "PX", "10000"]);
    both(connections(servers).await, set, command(&["DEL", "bare"]))
}

/// What any lock in Lua costs at the least: a SET and a compare-and-delete.
async fn scripts(servers: &[Server]) -> Operation {
    let connections = connections(servers).await;
    let set = "return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', 10000)";
    let delete = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end";
    let mut calls = Vec::new();
    for text in [set, delete] {
        everywhere(&connections, &command(&["SCRIPT", "LOAD", text])).await;
        calls.push(command(&["EVALSHA", redis::Script::new(text).get_hash(), "1", "scripted", "value"]));
    }
    let [set, delete] = calls.try_into().expect("two");
    both(connections, set, delete)
}

async fn ours(servers: &[Server]) -> Operation {
    let manager = manager(servers).await;
    operation(move || {
        let manager = manager.clone();
        async move {
            let guard = manager.acquire("k", LockOptions::ttl(TTL)).await.expect("a free lock");
            guard.release().await;
        }
    })
}

async fn manager(servers: &[Server]) -> LockManager {
    let node = |server: &Server| RedisNode::open(&server.url()).expect("a URL");
    if let [server] = servers {
        let client = redis::Client::open(server.url()).expect("a URL");
        return LockManager::builder(Default::default())
            .subscriber(client)
            .single(node(server))
            .await
            .expect("one");
    }
    let manager = LockManager::quorum(servers.iter().map(node)).await.expect("a quorum");
    manager.bootstrap().await.expect("all answer");
    manager
}

async fn rslock(servers: &[Server]) -> Operation {
    let manager = rslock::LockManager::new(servers.iter().map(Server::url).collect());
    operation(move || {
        let manager = manager.clone();
        async move {
            let lock = manager.lock("theirs", TTL).await.expect("a free lock");
            manager.unlock(&lock).await;
        }
    })
}

/// Fifty waiters of one lock on one server, each holding it for about a millisecond.
async fn line() {
    let servers = servers(1).await;
    println!("{WAITERS} waiters of one lock, held for 1 ms by the timer of tokio, one server");
    let ours = Arc::new(manager(&servers).await);
    contend("redlock", &servers[0], move || {
        let manager = Arc::clone(&ours);
        async move {
            let guard = manager.acquire("k", LockOptions::ttl(TTL)).await.expect("a turn");
            async move {
                guard.release().await;
            }
            .boxed()
        }
    })
    .await;
    let theirs = rslock::LockManager::new(servers.iter().map(Server::url).collect());
    contend("rslock", &servers[0], move || {
        let manager = theirs.clone();
        async move {
            let guard = manager.acquire("theirs", TTL).await.expect("it asks for ever");
            async move { guard.release().await }.boxed()
        }
    })
    .await;
    let connection = connections(&servers).await.remove(0);
    contend("SET NX, polled", &servers[0], move || {
        let mut connection = connection.clone();
        async move {
            let set = command(&["SET", "bare", "value", "NX", "PX", "10000"]);
            while set.query_async::<Option<String>>(&mut connection).await.expect("a reply").is_none() {
                let pause = rand::rng().random_range(1..10);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            async move { command(&["DEL", "bare"]).exec_async(&mut connection).await.expect("a reply") }
                .boxed()
        }
    })
    .await;
}

/// What one waiter saw: its waits, and the sum of its holds.
type Seen = (Vec<Duration>, Duration);

/// `acquire` gives what releases the lock.
async fn contend<F: Future<Output = BoxFuture<'static, ()>> + Send>(
    name: &str,
    server: &Server,
    acquire: impl Fn() -> F + Clone + Send + Sync + 'static,
) {
    let over = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let waiter = |_| {
        let (acquire, over) = (acquire.clone(), Arc::clone(&over));
        tokio::spawn(async move { waits(acquire, &over).await })
    };
    let tasks: Vec<_> = (0..WAITERS).map(waiter).collect();
    tokio::time::sleep(SPAN).await;
    over.store(true, Ordering::Relaxed);
    let took = begun.elapsed();
    // Those that starve would be waited for long after the end.
    let done: Vec<Seen> = join_all(tasks).await.into_iter().map(|seen| seen.expect("no panic")).collect();
    report(name, took, &done, round_trip(server).await);
}

async fn waits<F: Future<Output = BoxFuture<'static, ()>>>(
    acquire: impl Fn() -> F,
    over: &AtomicBool,
) -> Seen {
    let (mut waits, mut held) = (Vec::new(), Duration::ZERO);
    while !over.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let release = acquire().await;
        let had = Instant::now();
        tokio::time::sleep(Duration::from_millis(1)).await;
        held += had.elapsed();
        release.await;
        waits.push(had - asked);
    }
    (waits, held)
}

fn report(name: &str, took: Duration, done: &[Seen], round_trip: Duration) {
    let served: Vec<_> = done.iter().map(|(waits, _)| waits.len()).collect();
    let mut waits: Vec<_> = done.iter().flat_map(|(waits, _)| waits.iter().skip(1).copied()).collect();
    waits.sort_unstable();
    let holds = u32::try_from(served.iter().sum::<usize>()).expect("few");
    let hold = done.iter().map(|(_, held)| *held).sum::<Duration>() / holds;
    let ideal = 1.0 / (hold + round_trip).as_secs_f64();
    let rate = f64::from(holds) / took.as_secs_f64();
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    println!(
        "  {name:<15} {rate:>4.0}/s = {:.2} of one per hold ({hold:.1?}) and round trip ({round_trip:.0?}); waits p50 \
         {:.1?} p99 {:.1?}; served {} to {} each",
        rate / ideal,
        at(50),
        at(99),
        served.iter().min().expect("waiters"),
        served.iter().max().expect("waiters"),
    );
}

async fn round_trip(server: &Server) -> Duration {
    let connection = server.connect().await.expect("a connection");
    let ping = operation(move || {
        let mut connection = connection.clone();
        async move { redis::cmd("PING").exec_async(&mut connection).await.expect("a reply") }
    });
    measure(&ping, 1000).await
}
