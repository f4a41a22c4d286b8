//! What each layer costs: processor time of an operation, layers switched on one after the other.
//!
//! Each variant lives in a process of its own, so that one can be a program in which the layers were never compiled.

use std::process::Stdio;

use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines, stdin};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;

use crate::candidate::fault;
use crate::candidates::{self, Algorithm, Layers, OURS};
use crate::case::{Case, Sample};
use crate::lab::{self, Lab};
use crate::load::{self, Load, Work};
use crate::rounds::{Boxed, Entrant, Pace, Runner, interleave};
use crate::suites::ops;
use crate::{Outcome, versions};

/// Tasks of the figure that was promised.
pub const TASKS: usize = 64;
/// The facade, compiled without its layers.
pub const WITHOUT: &str = "state-redis (no layers)";
const SIZE: usize = 100;
const KEYS: usize = 10_000;

/// In this order each has one more than the one before. The last one is what all other suites run.
const VARIANTS: [(&str, &str, Layers); 6] = [
    (WITHOUT, "bare", Layers::OFF),
    ("all switched off", "bench", Layers::OFF),
    ("+ codec", "bench", Layers { algorithm: Algorithm::Lz4, ..Layers::OFF }),
    ("+ retry", "bench", Layers { breaker: false, metrics: false, ..Layers::ALL }),
    ("+ breaker", "bench", Layers { metrics: false, ..Layers::ALL }),
    (OURS, "bench", Layers::ALL),
];

/// Runs the suite.
///
/// # Errors
/// When a variant fails.
pub async fn run(lab: &Lab) -> Outcome<Vec<Case>> {
    // Single pairs spread too widely to show three in a hundred; hundreds of them do not.
    let promised = lab.choose(Pace::new(20, 200), Pace::new(40, 601));
    let each = lab.choose(Pace::new(20, 25), Pace::new(40, 201));
    let bar = lab::bar("layers", 2 * (promised.rounds + each.rounds + 2));
    let server = lab::server().await;
    let data = lab::noise(KEYS, SIZE);
    lab::fill(&candidates::baseline(&server.url()).await?, &data).await?;
    let mut entrants = Vec::new();
    for (name, program, layers) in VARIANTS {
        let runner = Remote::start(lab, program, &server.url(), layers).await?;
        let version = versions::of("state-redis");
        entrants.push(Entrant { name, version, runner: Box::new(runner) });
    }
    let (first, last) = (&entrants[0], &entrants[entrants.len() - 1]);
    let mut cases = Vec::new();
    for work in [Work::Get, Work::Put] {
        let load = ops::load(work, TASKS, &data, vec![lab::process(&server)?], promised);
        cases.push(measure("cpu", &load, promised, &[first, last], &bar).await?);
        let load = Load { slice: each.slice, ..load };
        cases.push(measure("each", &load, each, &entrants.iter().collect::<Vec<_>>(), &bar).await?);
    }
    bar.finish_and_clear();
    Ok(cases)
}

async fn measure(
    kind: &str,
    load: &Load,
    pace: Pace,
    entrants: &[&Entrant],
    bar: &ProgressBar,
) -> Outcome<Case> {
    let name = format!("{kind}_{}", load.work.name());
    let case = ops::case(&name, TASKS, SIZE, WITHOUT);
    let case = Case { suite: "layers", unit: "CPU us/op", more_is_better: false, ..case };
    interleave(case, load, pace, entrants, bar).await
}

/// A variant in its process, which runs a slice for each line it is sent.
struct Remote {
    pipes: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
    /// Ends with this value.
    _child: Child,
}

/// What it is told at its start.
#[derive(Debug, Serialize, Deserialize)]
pub struct Setting {
    url: String,
    layers: Layers,
}

/// What it is sent.
#[derive(Debug, Serialize, Deserialize)]
struct Slice {
    work: Work,
    tasks: usize,
    micros: u64,
}

impl Remote {
    async fn start(lab: &Lab, program: &str, url: &str, layers: Layers) -> Outcome<Self> {
        let setting = serde_json::to_string(&Setting { url: url.to_owned(), layers })?;
        let mut command = Command::new(lab.programs.join(program));
        command.arg("--serve").arg(setting).kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return fault("a child without pipes");
        };
        Ok(Self { pipes: Mutex::new((stdin, BufReader::new(stdout).lines())), _child: child })
    }

    async fn ask(&self, load: &Load) -> Outcome<Sample> {
        let (stdin, stdout) = &mut *self.pipes.lock().await;
        let micros = load.slice.as_micros() as u64;
        let slice = serde_json::to_string(&Slice { work: load.work, tasks: load.tasks, micros })?;
        stdin.write_all(format!("{slice}\n").as_bytes()).await?;
        let line = stdout.next_line().await?.ok_or("the child has ended")?;
        let sample: Sample = serde_json::from_str(&line)?;
        let value = sample.client_cpu.ok_or("processor time was not measured")?;
        Ok(Sample { value, ..sample })
    }
}

impl Runner for Remote {
    fn run<'a>(&'a self, load: &'a Load) -> Boxed<'a, Outcome<Sample>> {
        Box::pin(self.ask(load))
    }
}

/// The other side: runs a slice for each line, until there are no more.
///
/// # Errors
/// When the client fails.
pub async fn serve(setting: &str) -> Outcome<()> {
    let Setting { url, layers } = serde_json::from_str(setting)?;
    let ours = candidates::connect_ours(&url, layers).await?;
    // The same values as those the server was filled with: they are always the same.
    let data = lab::noise(KEYS, SIZE);
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let Slice { work, tasks, micros } = serde_json::from_str(&line)?;
        let pace = Pace { slice: std::time::Duration::from_micros(micros), rounds: 1 };
        let sample = load::run(&ours, &ops::load(work, tasks, &data, Vec::new(), pace)).await?;
        println!("{}", serde_json::to_string(&sample)?);
    }
    Ok(())
}
