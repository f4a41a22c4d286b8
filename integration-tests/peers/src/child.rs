//! Work in a process of its own, whose memory is then that of one client and nothing else.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::candidate::{Candidate, Key, fault};
use crate::candidates::{self, Visitor};
use crate::suites::scan;
use crate::{Outcome, usage};

/// What a child has to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Task {
    /// Has `flight` reads in flight at once.
    Flight {
        /// The client.
        candidate: String,
        /// The server.
        url: String,
        /// How many.
        flight: usize,
    },
    /// Walks over all keys.
    Scan {
        /// The client.
        candidate: String,
        /// The server.
        url: String,
    },
}

/// What it says when it is done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Bytes resident once connected.
    pub idle: u64,
    /// The most bytes resident.
    pub peak: u64,
    /// Seconds of the work.
    pub seconds: f64,
    /// How much succeeded: reads, or keys seen.
    pub done: u64,
    /// How much failed.
    pub failed: u64,
    /// What the first failure said.
    pub failure: Option<String>,
}

/// Has a process of its own do `task`.
///
/// # Errors
/// When it fails.
pub async fn ask(programs: &Path, task: &Task) -> Outcome<Answer> {
    let mut command = Command::new(programs.join("bench"));
    command.arg("--child").arg(serde_json::to_string(task)?).stderr(Stdio::inherit());
    let output = command.output().await?;
    if !output.status.success() {
        return fault(format!("the child for {task:?} ended with {}", output.status));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Does what a child has to do, and prints its answer.
///
/// # Errors
/// When the client fails.
pub async fn answer(task: &str) -> Outcome<()> {
    let answer = match serde_json::from_str(task)? {
        Task::Flight { candidate, url, flight } => {
            candidates::connect(&candidate, &url, Flight(flight)).await?
        }
        Task::Scan { candidate, url } => scan::walk(&candidate, &url).await?,
    };
    println!("{}", serde_json::to_string(&answer)?);
    Ok(())
}

/// Reads in flight at once. All tasks exist before the first one begins.
struct Flight(usize);

impl Visitor for Flight {
    type Output = Answer;

    async fn visit<C: Candidate>(self, candidate: C) -> Outcome<Answer> {
        let key = Arc::new(Key::new("key:0000000"));
        candidate.get(&key).await?;
        let idle = usage::memory()?.resident;
        let (begin, begun) = watch::channel(false);
        let (done, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..self.0 {
            let (candidate, key, mut begun) = (candidate.clone(), Arc::clone(&key), begun.clone());
            let (done, failed) = (Arc::clone(&done), Arc::clone(&failed));
            tasks.spawn(async move {
                let _ = begun.wait_for(|begun| *begun).await;
                let failure = candidate.get(&key).await.err();
                let counter = if failure.is_some() { &failed } else { &done };
                counter.fetch_add(1, Ordering::Relaxed);
                failure.map(|failure| failure.to_string())
            });
        }
        let began = Instant::now();
        begin.send(true)?;
        let mut failure = None;
        while let Some(outcome) = tasks.join_next().await {
            failure = failure.or(outcome?);
        }
        let seconds = began.elapsed().as_secs_f64();
        let (done, failed) = (done.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
        Ok(Answer { idle, peak: usage::memory()?.peak, seconds, done, failed, failure })
    }
}
