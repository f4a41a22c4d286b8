//! Walks over all keys: the time they take, and the memory, each in a process of its own.

use std::time::Instant;

use fred::clients::Client;
use fred::interfaces::ClientLike as _;
use fred::types::Builder;
use fred::types::config::Config;
use futures_util::TryStreamExt as _;
use state_redis::{RedisBackend, RedisConfig, ScanOptions, StateBackend as _};

use crate::candidate::{PREFIX, fault};
use crate::candidates::{self, BASELINE, OURS};
use crate::case::{Case, Entry, Sample};
use crate::child::{self, Answer, Task};
use crate::lab::{self, Lab};
use crate::suites::ops;
use crate::{Outcome, usage, versions};

/// Keys the server looks at in one step.
const PAGE: usize = 1_000;
const CLIENTS: [(&str, &str); 3] = [(OURS, "state-redis"), (BASELINE, "redis"), ("fred", "fred")];

/// Runs the suite.
///
/// # Errors
/// When a client fails, or misses a key.
pub async fn run(lab: &Lab) -> Outcome<Vec<Case>> {
    let sizes: &[usize] = lab.choose(&[10_000, 100_000], &[10_000, 100_000, 1_000_000]);
    let rounds = lab.choose(3, 7);
    let bar = lab::bar("scan", sizes.len() * rounds * CLIENTS.len());
    let mut cases = Vec::new();
    for &size in sizes {
        let server = lab::server().await;
        lab::fill(&candidates::baseline(&server.url()).await?, &lab::noise(size, 16)).await?;
        let expected: u64 = server.command(&redis::cmd("DBSIZE")).await;
        let mut speed = case("scan", size, "keys/s", true);
        let mut memory = case("scan_memory", size, "bytes/key", false);
        for round in 0..rounds {
            for at in (0..CLIENTS.len()).map(|at| (at + round) % CLIENTS.len()) {
                bar.set_message(format!("{size} keys, {}", CLIENTS[at].0));
                let task = Task::Scan { candidate: CLIENTS[at].0.to_owned(), url: server.url() };
                let answer = child::ask(&lab.programs, &task).await?;
                if answer.done != expected {
                    return fault(format!("{} saw {} of {expected} keys", CLIENTS[at].0, answer.done));
                }
                let grown = answer.peak.saturating_sub(answer.idle) as f64 / expected as f64;
                speed.entries[at].rounds.push(value(expected as f64 / answer.seconds));
                memory.entries[at].rounds.push(value(grown));
                bar.inc(1);
            }
        }
        cases.extend([speed, memory]);
    }
    bar.finish_and_clear();
    Ok(cases)
}

fn case(name: &str, size: usize, unit: &'static str, more_is_better: bool) -> Case {
    let entry = |(name, package): (&str, &str)| Entry {
        candidate: name.to_owned(),
        version: versions::of(package),
        rounds: Vec::new(),
    };
    let entries = CLIENTS.map(entry).into();
    Case { suite: "scan", unit, more_is_better, entries, ..ops::case(name, 1, size, BASELINE) }
}

fn value(value: f64) -> Sample {
    Sample { value, ..Sample::default() }
}

/// Walks over all keys with a client, in this process.
///
/// # Errors
/// When the client fails.
pub async fn walk(client: &str, url: &str) -> Outcome<Answer> {
    match client {
        OURS => {
            let config = RedisConfig::builder().url(url).key_prefix(PREFIX).build()?;
            measure(RedisBackend::new(config).await?, ours).await
        }
        BASELINE => {
            let client = redis::Client::open(url)?;
            measure(client.get_multiplexed_async_connection().await?, redis_rs).await
        }
        "fred" => {
            let client = Builder::from_config(Config::from_url(url)?).build()?;
            client.init().await?;
            measure(client, fred).await
        }
        unknown => fault(format!("{unknown} does not scan")),
    }
}

async fn measure<C, F: Future<Output = Outcome<u64>>>(
    client: C,
    walk: impl FnOnce(C) -> F,
) -> Outcome<Answer> {
    let (idle, began) = (usage::memory()?.resident, Instant::now());
    let done = walk(client).await?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Answer { idle, peak: usage::memory()?.peak, seconds, done, ..Answer::default() })
}

async fn ours(backend: RedisBackend) -> Outcome<u64> {
    let keys = backend.scan(b"", ScanOptions::default().with_page_size(PAGE));
    Ok(keys.try_fold(0, async |count, _key| Ok(count + 1)).await?)
}

/// SCAN by hand. It may see a key twice, which nobody notices.
async fn redis_rs(mut connection: redis::aio::MultiplexedConnection) -> Outcome<u64> {
    let (mut cursor, mut count) = (0_u64, 0);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{PREFIX}*")).arg("COUNT").arg(PAGE);
        let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(&mut connection).await?;
        count += keys.len() as u64;
        cursor = next;
        if cursor == 0 {
            return Ok(count);
        }
    }
}

async fn fred(client: Client) -> Outcome<u64> {
    let keys = client.scan_buffered(format!("{PREFIX}*"), Some(PAGE as u32), None);
    Ok(keys.try_fold(0, async |count, _key| Ok(count + 1)).await?)
}
