//! The main job on real input: `demo ROOT [--embedded]` stores every file below ROOT as state, reads all
//! back, and verifies every byte; in between it goes through what else the contract offers, and through the
//! server's death. Then come compression, batches, locks, statistics and resilience, a failover by sentinels and
//! the reshard of a cluster.
//!
//! It prints figures as they are measured, and ends with exit code 0 only if everything was as it should be.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

// The main job.
mod abilities;
mod files;
mod outage;
mod snapshot;
mod transfer;

// What Redis adds to it.
mod batches;
mod compression;
mod locking;
mod resilience;
mod statistics;

// Several servers.
mod failover;
mod reshard;

// What is shown.
mod screen;
mod table;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use integration_tests::{Cluster, ClusterConfig, SentinelConfig, SentinelGroup, Server};
use state_core::{StateBackend, StateError};

use crate::{files::File, screen::Screen, table::Table};

/// What a step returns: nothing, or what was not as it should be.
type Result<T = ()> = std::result::Result<T, String>;

#[tokio::main]
async fn main() -> ExitCode {
    let started = Instant::now();
    let outcome = match Options::parse() {
        Ok(options) => run(&options).await,
        Err(error) => Err(format!("{error}\nusage: demo ROOT [--embedded]")),
    };
    match outcome {
        Ok(()) => {
            println!("everything verified in {:.1} s", started.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("FAILED: {what}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    root: PathBuf,
    embedded: bool,
}

impl Options {
    fn parse() -> std::result::Result<Self, lexopt::Error> {
        let mut parser = lexopt::Parser::from_env();
        let (mut root, mut embedded) = (None, false);
        while let Some(argument) = parser.next()? {
            match argument {
                lexopt::Arg::Long("embedded") => embedded = true,
                lexopt::Arg::Value(value) if root.is_none() => root = Some(PathBuf::from(value)),
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(Self { root: root.ok_or("where are the files?")?, embedded })
    }
}

async fn run(options: &Options) -> Result {
    let screen = Screen::new();
    let files = files::read(&options.root).map_err(|error| format!("{}: {error}", options.root.display()))?;
    let bytes: u64 = files.iter().map(File::size).sum();
    screen.say(&format!("{} files, {} in {}", files.len(), table::size(bytes), options.root.display()));

    let server = if options.embedded { None } else { Some(Server::start().await) };
    let url = server.as_ref().map_or_else(|| "memory:".to_owned(), Server::url);
    screen.say(&format!("state in {url}"));
    let state = state_redis::open(&url).await.map_err(explain)?;

    let table = play(&screen, &state, server.as_ref(), &files).await?;
    println!("\n{table}");
    match &server {
        Some(server) => features(&screen, &server.url(), &files).await?,
        None => screen
            .say("compression, locks, breakers, failover and reshard need servers: leave out --embedded"),
    }
    println!();
    Ok(())
}

/// What Redis adds to the contract, on one server and on several.
async fn features(screen: &Screen, url: &str, files: &[File]) -> Result {
    compression::compare(screen, url, files).await?;
    batches::race(screen, url).await?;
    locking::contend(screen, url).await?;
    statistics::count(screen, url).await?;
    resilience::endure(screen).await?;
    let (group, cluster) = several().await;
    failover::survive(screen, &group).await?;
    drop(group);
    reshard::survive(screen, &cluster, files).await
}

/// Nine servers, started side by side.
async fn several() -> (SentinelGroup, Cluster) {
    let group = SentinelConfig::default().with_down_after(Duration::from_millis(500));
    tokio::join!(group.start(), ClusterConfig::default().with_replicas(0).start())
}

/// All steps, one after the other.
async fn play(
    screen: &Screen,
    state: &Arc<dyn StateBackend>,
    server: Option<&Server>,
    files: &[File],
) -> Result<Table> {
    let mut table = Table::default();
    transfer::one_by_one(screen, state.as_ref(), files, &mut table).await?;
    transfer::batched(screen, state.as_ref(), files, &mut table).await?;
    abilities::expiry(screen, state.as_ref(), files.len()).await?;
    abilities::swaps(screen, state, &mut table).await?;
    abilities::increments(screen, state, &mut table).await?;
    abilities::scan(screen, state.as_ref(), files, &mut table).await?;
    snapshot::there_and_back(screen, state.as_ref(), files, &mut table).await?;
    match server {
        Some(server) => outage::survive(screen, state, server, files).await?,
        None => screen.say("no server under the in-memory backend, so none is killed"),
    }
    Ok(table)
}

fn explain(error: StateError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
