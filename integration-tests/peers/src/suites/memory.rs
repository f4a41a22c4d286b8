//! Memory and connections: what operations in flight take, and what one operation allocates.

use std::collections::BTreeMap;

use indicatif::ProgressBar;
use integration_tests::Server;
use serde::Deserialize;
use tokio::process::Command;

use crate::Outcome;
use crate::candidate::{Candidate, fault};
use crate::candidates::{self, ALL, BASELINE, DEFAULTS, Visitor};
use crate::case::{Case, Entry, Sample};
use crate::child::{self, Task};
use crate::lab::{self, Lab};
use crate::suites::ops;
use crate::versions;

const SIZE: usize = 100;
const MIB: f64 = 1_048_576.0;

/// Runs the suite.
///
/// # Errors
/// When a client fails.
pub async fn run(lab: &Lab) -> Outcome<Vec<Case>> {
    let server = lab::server().await;
    let data = lab::noise(lab::key_count(SIZE), SIZE);
    lab::fill(&candidates::baseline(&server.url()).await?, &data).await?;
    let flights: &[usize] = lab.choose(&[1_000, 10_000, 100_000], &[1_000, 10_000, 100_000, 1_000_000]);
    let rounds = lab.choose(1, 3);
    let bar = lab::bar("memory", clients().count() * (flights.len() * rounds + 2));
    let mut cases = vec![connections(&server, &bar).await?];
    cases.extend(allocations(lab, &server, &bar).await?);
    for &flight in flights {
        cases.push(resident(lab, &server, flight, rounds, &bar).await?);
    }
    bar.finish_and_clear();
    Ok(cases)
}

/// The two ways of redis-rs differ in a socket option only.
fn clients() -> impl Iterator<Item = (&'static str, &'static str)> {
    ALL.into_iter().filter(|(name, _)| *name != DEFAULTS)
}

fn case(name: &str, tasks: usize, unit: &'static str) -> Case {
    Case { suite: "memory", unit, more_is_better: false, ..ops::case(name, tasks, SIZE, BASELINE) }
}

fn entry(name: &str, package: &str, rounds: Vec<Sample>) -> Entry {
    Entry { candidate: name.to_owned(), version: versions::of(package), rounds }
}

fn value(value: f64) -> Sample {
    Sample { value, ..Sample::default() }
}

/// The most memory of a process with so many reads in flight.
async fn resident(
    lab: &Lab,
    server: &Server,
    flight: usize,
    rounds: usize,
    bar: &ProgressBar,
) -> Outcome<Case> {
    let mut entries: BTreeMap<usize, Entry> = BTreeMap::new();
    for _ in 0..rounds {
        for (at, (name, package)) in clients().enumerate() {
            bar.set_message(format!("{flight} reads in flight, {name}"));
            let task = Task::Flight { candidate: name.to_owned(), url: server.url(), flight };
            let answer = child::ask(&lab.programs, &task).await?;
            let sample =
                Sample { failed: answer.failed, failure: answer.failure, ..value(answer.peak as f64 / MIB) };
            entries.entry(at).or_insert_with(|| entry(name, package, Vec::new())).rounds.push(sample);
            bar.inc(1);
        }
    }
    Ok(Case { entries: entries.into_values().collect(), ..case("resident", flight, "MiB") })
}

/// How many connections the server sees while 64 tasks read.
async fn connections(server: &Server, bar: &ProgressBar) -> Outcome<Case> {
    let mut entries = Vec::new();
    for (name, package) in clients() {
        bar.set_message(format!("connections of {name}"));
        let seen = candidates::connect(name, &server.url(), Connections(server)).await?;
        entries.push(entry(name, package, vec![value(seen as f64)]));
        bar.inc(1);
    }
    Ok(Case { entries, ..case("connections", 64, "connections") })
}

struct Connections<'a>(&'a Server);

impl Visitor for Connections<'_> {
    type Output = usize;

    async fn visit<C: Candidate>(self, candidate: C) -> Outcome<usize> {
        let key = crate::candidate::Key::new("key:0000000");
        let reads = futures_util::future::try_join_all((0..64).map(|_| candidate.get(&key)));
        reads.await?;
        let list: String = self.0.try_command(redis::cmd("CLIENT").arg("LIST")).await?;
        // The library that runs the server asks over the unix socket.
        Ok(list.lines().filter(|client| client.contains(" addr=127.0.0.1:")).count())
    }
}

/// One line of the program `allocations`.
#[derive(Debug, Deserialize)]
struct Counted {
    work: String,
    tasks: usize,
    allocations: f64,
}

/// How often an operation allocates, counted by an allocator in a program of its own, since counting takes time.
async fn allocations(lab: &Lab, server: &Server, bar: &ProgressBar) -> Outcome<Vec<Case>> {
    let mut cases: Vec<Case> = Vec::new();
    for (name, package) in clients() {
        bar.set_message(format!("allocations of {name}"));
        let mut command = Command::new(lab.programs.join("allocations"));
        let output = command.arg(name).arg(server.url()).output().await?;
        if !output.status.success() {
            return fault(format!("allocations of {name}: {}", String::from_utf8_lossy(&output.stderr)));
        }
        let counted: Vec<Counted> = serde_json::from_slice(&output.stdout)?;
        for counted in counted {
            let named = format!("allocations_{}", counted.work);
            let known = cases.iter().position(|case| case.name == named && case.tasks == counted.tasks);
            let at = known.unwrap_or_else(|| {
                cases.push(case(&named, counted.tasks, "allocations/op"));
                cases.len() - 1
            });
            cases[at].entries.push(entry(name, package, vec![value(counted.allocations)]));
        }
        bar.inc(1);
    }
    Ok(cases)
}
