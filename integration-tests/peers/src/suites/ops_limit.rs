//! What the server itself can do, by the program that comes with it.

use std::path::PathBuf;
use std::process::Stdio;
use std::{env, fs};

use indicatif::ProgressBar;
use tokio::process::Command;

use crate::candidates::{self, BASELINE, Layers, OURS};
use crate::case::{Case, Sample};
use crate::lab::{self, Lab};
use crate::load::{Load, Work};
use crate::rounds::{Boxed, Entrant, Pace, Runner, interleave};
use crate::suites::ops;
use crate::{Outcome, usage};

/// Connections, and requests in flight on each. A client's tasks are their product.
const SHAPES: [(usize, usize); 3] = [(50, 1), (1, 100), (8, 100)];
const SIZE: usize = 100;
/// Its name in tables.
pub const NAME: &str = "redis-benchmark";

/// How many rounds it takes.
pub fn steps(lab: &Lab) -> usize {
    if program().is_some() { SHAPES.len() * 2 * (pace(lab).rounds + 1) } else { 0 }
}

/// Runs `redis-benchmark` beside the baseline and ours; no case where there is no such program.
///
/// # Errors
/// When it fails.
pub async fn run(lab: &Lab, bar: &ProgressBar) -> Outcome<Vec<Case>> {
    let Some(program) = program() else {
        bar.println("no redis-benchmark (or valkey-benchmark) found: the server's own limit is not measured");
        return Ok(Vec::new());
    };
    let server = lab::server().await;
    let data = lab::noise(lab::key_count(SIZE), SIZE);
    let baseline = candidates::baseline(&server.url()).await?;
    lab::fill(&baseline, &data).await?;
    let version = version(&program).await?;
    let ours = candidates::connect_ours(&server.url(), Layers::ALL).await?;
    let known = [Entrant::new(OURS, "state-redis", ours), Entrant::new(BASELINE, "redis", baseline)];
    let mut cases = Vec::new();
    for (connections, depth) in SHAPES {
        let runner = Benchmark { program: program.clone(), port: server.port(), connections, depth };
        let limit = Entrant { name: NAME, version: version.clone(), runner: Box::new(runner) };
        for work in [Work::Get, Work::Put] {
            let tasks = connections * depth;
            let load = ops::load(work, tasks, &data, vec![lab::process(&server)?], pace(lab));
            let case = ops::case(&format!("limit_{}", work.name()), tasks, SIZE, BASELINE);
            let entrants: Vec<_> = known.iter().chain([&limit]).collect();
            cases.push(interleave(case, &load, pace(lab), &entrants, bar).await?);
        }
    }
    Ok(cases)
}

fn pace(lab: &Lab) -> Pace {
    lab.choose(Pace::new(60, 3), Pace::new(200, 11))
}

/// `redis-benchmark` with a number of connections and of requests in flight on each.
struct Benchmark {
    program: PathBuf,
    port: u16,
    connections: usize,
    depth: usize,
}

impl Runner for Benchmark {
    fn run<'a>(&'a self, load: &'a Load) -> Boxed<'a, Outcome<Sample>> {
        Box::pin(self.measure(load))
    }
}

impl Benchmark {
    async fn measure(&self, load: &Load) -> Outcome<Sample> {
        // So many that it takes about a slice: some 1.5 million a second pipelined, 70,000 otherwise.
        let rate = if self.depth > 1 { 1_500_000.0 } else { 70_000.0 };
        let requests = (rate * load.slice.as_secs_f64()) as usize;
        let test = if load.work == Work::Get { "get" } else { "set" };
        let served = usage::cpu_of(&load.servers)?;
        let mut command = Command::new(&self.program);
        command.args(["--csv", "-t", test, "-r", &load.data.keys.len().to_string()]);
        for (option, value) in [
            ("-p", usize::from(self.port)),
            ("-c", self.connections),
            ("-P", self.depth),
            ("-n", requests),
            ("-d", SIZE),
        ] {
            command.arg(option).arg(value.to_string());
        }
        let output = command.stderr(Stdio::inherit()).output().await?;
        if !output.status.success() {
            return Err(format!("it ended with {}", output.status).into());
        }
        let served = usage::cpu_of(&load.servers)?.saturating_sub(served);
        let mut sample = parse(&String::from_utf8(output.stdout)?)?;
        sample.server_cpu = Some(served.as_secs_f64() * 1e6 / requests as f64);
        Ok(sample)
    }
}

/// Reads a header and one line: `"test","rps","avg_latency_ms",...,"p50_latency_ms","p95...","p99...","max..."`.
fn parse(csv: &str) -> Outcome<Sample> {
    let fields =
        |line: &str| line.split(',').map(|field| field.trim_matches('"').to_owned()).collect::<Vec<_>>();
    let mut lines = csv.lines();
    let (Some(names), Some(values)) = (lines.next().map(fields), lines.next().map(fields)) else {
        return Err(format!("no table: {csv}").into());
    };
    let of = |name: &str| -> Outcome<f64> {
        let at = names.iter().position(|known| known == name).ok_or_else(|| format!("no {name} in {csv}"))?;
        Ok(values.get(at).ok_or("a short line")?.parse()?)
    };
    let millis = |name| of(name).map(|millis| millis * 1e3);
    // It knows no 99.9th percentile; the maximum is no less.
    let latency = [millis("p50_latency_ms")?, millis("p99_latency_ms")?, millis("max_latency_ms")?];
    Ok(Sample { value: of("rps")?, latency: Some(latency), ..Sample::default() })
}

async fn version(program: &PathBuf) -> Outcome<String> {
    let output = Command::new(program).arg("--version").output().await?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split_whitespace().nth(1).unwrap_or("unknown").to_owned())
}

/// Beside the server's program, else on the `PATH`.
fn program() -> Option<PathBuf> {
    let beside = integration_tests::server_binary().parent().map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = beside.into_iter().chain(env::split_paths(&path)).collect();
    let is_file = |path: &PathBuf| fs::metadata(path).is_ok_and(|data| data.is_file());
    let named = |name: &str| folders.iter().map(|folder| folder.join(name)).find(is_file);
    ["redis-benchmark", "valkey-benchmark"].into_iter().find_map(named)
}

#[cfg(test)]
mod tests {
    #[test]
    fn its_table_is_read_by_the_names_of_its_columns() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\
                   \"p99_latency_ms\",\"max_latency_ms\"\n\"GET\",\"66666.66\",\"0.4\",\"0.1\",\"0.3\",\"0.7\",\
                   \"0.9\",\"1.5\"\n";
        let sample = super::parse(csv).unwrap();
        assert_eq!(sample.value, 66_666.66);
        assert_eq!(sample.latency, Some([300.0, 900.0, 1_500.0]));
        assert!(super::parse("GET: 10 requests per second").is_err());
    }
}
