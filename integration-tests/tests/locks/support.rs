//! Servers and managers for lock tests, and the register that checks exclusion.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use integration_tests::{Server, ServerConfig};
use redlock::{Lease, LockConfig, LockManager, LockOptions, RedisNode, Renewal};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A server that forgets everything when it is killed, as a cache would be.
pub(crate) async fn forgetful() -> Server {
    ServerConfig::default().with_option("appendonly", "no").start().await
}

pub(crate) async fn forgetful_masters(count: usize) -> Vec<Server> {
    join_all((0..count).map(|_| forgetful())).await
}

/// Settings for a loaded test machine: a request may take a while, locks are short.
pub(crate) fn config() -> LockConfig {
    LockConfig::default().with_node_timeout(ms(500)).with_max_ttl(10 * SECOND)
}

pub(crate) fn node(server: &Server) -> RedisNode<redlock::Reconnecting> {
    RedisNode::open(&server.url()).expect("a server's URL")
}

/// A manager over these servers, which may vote at once.
pub(crate) async fn quorum(servers: &[Server], config: LockConfig) -> LockManager {
    let manager = LockManager::builder(config).quorum(servers.iter().map(node)).await.expect("a quorum");
    manager.bootstrap().await.expect("all servers answer");
    manager
}

/// A manager over one server, with wake-ups by pub/sub.
pub(crate) async fn single(server: &Server, config: LockConfig) -> LockManager {
    let client = redis::Client::open(server.url()).expect("a server's URL");
    LockManager::builder(config).subscriber(client).single(node(server)).await.expect("a manager")
}

/// Not renewed, and not waited for longer than 30 s.
pub(crate) fn plain(ttl: Duration) -> LockOptions {
    LockOptions::ttl(ttl).with_renewal(Renewal::Off)
}

/// Keys of holds and queues on a server. Counters, the epoch and tombstones are meant to stay for a while.
pub(crate) async fn lock_keys(server: &Server) -> Vec<String> {
    let keys: Vec<String> = server.command(redis::cmd("KEYS").arg("*")).await;
    keys.into_iter()
        .filter(|key| ["w", "r", "q", "b", "m"].iter().any(|role| key.ends_with(&format!(":{role}"))))
        .collect()
}

/// The resource that a lock protects, with the checks of the experiments: it refuses a token below the highest one
/// it has seen, and notes when two holders were inside at once, each with a guard that said it was valid.
#[derive(Clone, Default)]
pub(crate) struct Register(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    highest: u64,
    inside: Option<(u64, Lease)>,
    report: Report,
}

/// What the register has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// Holders that came in.
    pub(crate) grants: u64,
    /// I1: two guards valid at the same moment.
    pub(crate) overlaps: u64,
    /// I2: a later grant whose token was not higher, although the earlier holder was still valid or had left.
    pub(crate) inversions: u64,
    /// I3: writes refused because of their token.
    pub(crate) refused: u64,
}

impl Register {
    /// A holder comes in.
    pub(crate) fn enter(&self, lease: &Lease) {
        let mut state = self.0.lock().unwrap();
        if !lease.is_valid() {
            return;
        }
        if let Some((_, other)) = &state.inside
            && other.is_valid()
        {
            state.report.overlaps += 1;
        }
        state.report.grants += 1;
        state.report.inversions += u64::from(lease.token() <= state.highest);
        state.highest = state.highest.max(lease.token());
        state.inside = Some((lease.token(), lease.clone()));
    }

    /// A holder writes: accepted unless a higher token was seen.
    pub(crate) fn write(&self, token: u64) -> bool {
        let mut state = self.0.lock().unwrap();
        let accepted = token >= state.highest;
        state.highest = state.highest.max(token);
        state.report.refused += u64::from(!accepted);
        accepted
    }

    /// A holder leaves, before it releases.
    pub(crate) fn leave(&self, lease: &Lease) {
        let mut state = self.0.lock().unwrap();
        if state.inside.as_ref().is_some_and(|(token, _)| *token == lease.token()) {
            state.inside = None;
        }
    }

    pub(crate) fn report(&self) -> Report {
        self.0.lock().unwrap().report.clone()
    }
}

/// Prints the line of an experiment.
pub(crate) fn figures(experiment: &str, text: &str, begun: Instant) {
    println!("{experiment}: {text} ({:.1} s)", begun.elapsed().as_secs_f64());
}

/// What a number of tasks did that all want one lock, each holding it for a moment.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) done: u64,
    pub(crate) failed: u64,
    /// The longest call of acquire, over and above the time it was allowed to wait.
    pub(crate) slowest: Duration,
}

/// Lets `tasks` tasks want the lock until `end`, and checks each hold at the register.
pub(crate) async fn contend(
    managers: &[LockManager],
    tasks: usize,
    register: &Register,
    end: Instant,
) -> Work {
    let wait = SECOND;
    let each = (0..tasks).map(|task| {
        let (manager, register) = (managers[task % managers.len()].clone(), register.clone());
        tokio::spawn(async move {
            let mut work = Work::default();
            while Instant::now() < end {
                let begun = Instant::now();
                let outcome = manager.acquire("shared", plain(2 * SECOND).with_wait(Some(wait))).await;
                work.slowest = work.slowest.max(begun.elapsed());
                let Ok(guard) = outcome else {
                    work.failed += 1;
                    continue;
                };
                register.enter(guard.lease());
                tokio::time::sleep(ms(2)).await;
                if guard.is_valid() {
                    register.write(guard.token());
                }
                register.leave(guard.lease());
                guard.release().await;
                work.done += 1;
            }
            work
        })
    });
    let mut total = Work::default();
    for work in join_all(each).await {
        let work = work.expect("a task without a panic");
        total.done += work.done;
        total.failed += work.failed;
        total.slowest = total.slowest.max(work.slowest);
    }
    total.slowest = total.slowest.saturating_sub(wait);
    total
}

/// Puts a hold of somebody else on one server, so that it refuses.
pub(crate) async fn occupy(server: &Server, name: &str) {
    let key = format!("redlock:l:-{{{name}}}:w");
    server.command::<()>(redis::cmd("SET").arg(key).arg("foreign/1").arg("PX").arg(600_000)).await;
}

/// Ends what [`occupy`] began.
pub(crate) async fn vacate(server: &Server, name: &str) {
    server.command::<()>(redis::cmd("DEL").arg(format!("redlock:l:-{{{name}}}:w"))).await;
}
