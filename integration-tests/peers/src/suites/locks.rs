//! Locks: taken and released, alone and with others waiting, on one server and on three.

use std::time::Duration;

use futures_util::future::join_all;
use state_redis::{RedisBackend, RedisConfig};

use crate::Outcome;
use crate::candidate::PREFIX;
use crate::candidates::OURS;
use crate::case::Case;
use crate::lab::{self, Lab};
use crate::load::{Load, Operate, Step, Work};
use crate::rounds::{Entrant, Pace, interleave};
use crate::suites::ops;

/// What we are compared with.
pub const BASELINE: &str = "rslock";
const TTL: Duration = Duration::from_secs(10);
/// Tasks that want the same lock.
const RIVALS: usize = 8;

/// Runs the suite.
///
/// # Errors
/// When a client cannot connect, or does nothing but fail.
pub async fn run(lab: &Lab) -> Outcome<Vec<Case>> {
    let tasks: &[usize] = lab.choose(&[1, 16, 64], &[1, 8, 16, 64, 256]);
    let free = lab.choose(Pace::new(40, 11), Pace::new(100, 31));
    // Waiters of the peer sleep for up to 200 ms between attempts.
    let fought = lab.choose(Pace::new(400, 5), Pace::new(1_000, 15));
    let bar = lab::bar("locks", 2 * (tasks.len() * (free.rounds + 1) + fought.rounds + 1));
    let mut cases = Vec::new();
    for count in [1, 3] {
        let servers = join_all((0..count).map(|_| lab::server())).await;
        let urls: Vec<String> = servers.iter().map(|server| server.url()).collect();
        let entrants = [
            Entrant::new(OURS, "state-redis", ours(&urls, false).await?),
            Entrant::new(BASELINE, "rslock", Rslock::new(&urls, false)),
            Entrant::new(OURS, "state-redis", ours(&urls, true).await?),
            Entrant::new(BASELINE, "rslock", Rslock::new(&urls, true)),
        ];
        let processes = servers.iter().map(lab::process).collect::<Outcome<Vec<u32>>>()?;
        let data = lab::noise(10_000, 1);
        let kind = if count == 1 { "lock" } else { "lock_quorum" };
        for &tasks in tasks {
            let load = ops::load(Work::Lock, tasks, &data, processes.clone(), free);
            let pair: Vec<_> = entrants[..2].iter().collect();
            cases.push(interleave(case(kind, tasks), &load, free, &pair, &bar).await?);
        }
        let load = ops::load(Work::Lock, RIVALS, &data, processes, fought);
        let pair: Vec<_> = entrants[2..].iter().collect();
        cases.push(interleave(case(&format!("{kind}_contended"), RIVALS), &load, fought, &pair, &bar).await?);
    }
    bar.finish_and_clear();
    Ok(cases)
}

fn case(name: &str, tasks: usize) -> Case {
    Case { suite: "locks", unit: "locks/s", ..ops::case(name, tasks, 0, BASELINE) }
}

/// The name of the lock that a task wants.
fn wanted(step: Step<'_>, contended: bool) -> String {
    if contended { "everybody's".to_owned() } else { format!("lock:{}", step.place()) }
}

async fn ours(urls: &[String], contended: bool) -> Outcome<Ours> {
    let mut builder = RedisConfig::builder().url(&urls[0]).key_prefix(PREFIX);
    if urls.len() > 1 {
        builder = builder.redlock_nodes(urls);
    }
    let backend = RedisBackend::new(builder.build()?).await?;
    if urls.len() > 1 {
        // The servers are fresh: no lock can be held.
        backend.locks().await?.bootstrap().await?;
    }
    Ok(Ours { backend, contended })
}

#[derive(Clone)]
struct Ours {
    backend: RedisBackend,
    contended: bool,
}

impl Operate for Ours {
    async fn prepare(&self, _load: &Load) -> Outcome<()> {
        Ok(())
    }

    async fn before(&self, _step: Step<'_>) -> Outcome<bool> {
        Ok(false)
    }

    async fn once(&self, step: Step<'_>, _swapped: &mut bool) -> Outcome<()> {
        let guard = self.backend.acquire_lock(&wanted(step, self.contended), TTL).await?;
        match guard.release().await {
            redlock::Outcome::Released => Ok(()),
            outcome => Err(format!("{outcome:?}").into()),
        }
    }
}

#[derive(Clone)]
struct Rslock {
    manager: rslock::LockManager,
    contended: bool,
}

impl Rslock {
    fn new(urls: &[String], contended: bool) -> Self {
        Self { manager: rslock::LockManager::new(urls.to_vec()), contended }
    }
}

impl Operate for Rslock {
    async fn prepare(&self, _load: &Load) -> Outcome<()> {
        Ok(())
    }

    async fn before(&self, _step: Step<'_>) -> Outcome<bool> {
        Ok(false)
    }

    async fn once(&self, step: Step<'_>, _swapped: &mut bool) -> Outcome<()> {
        let name = wanted(step, self.contended);
        let guard = self.manager.acquire(name.as_str(), TTL).await?;
        guard.release().await;
        Ok(())
    }
}
