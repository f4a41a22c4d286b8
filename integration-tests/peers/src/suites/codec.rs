//! Compression, end to end: real JSON through every algorithm.

use std::process::Command;
use std::sync::Arc;

use integration_tests::Server;
use serde_json::Value;

use crate::Outcome;
use crate::candidates::{self, Algorithm, BASELINE, Layers, OURS, Ours};
use crate::case::{Case, Entry, Sample};
use crate::lab::{self, Lab};
use crate::load::{Data, Work};
use crate::rounds::{Entrant, Pace, interleave};
use crate::suites::ops;
use crate::versions;

const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("none", Algorithm::None),
    ("lz4", Algorithm::Lz4),
    ("snappy", Algorithm::Snappy),
    ("zstd", Algorithm::Zstd),
];
const TASKS: usize = 64;
const KEYS: usize = 2_000;
/// Below any of the documents.
const THRESHOLD: usize = 64;

/// Runs the suite.
///
/// # Errors
/// When a client fails.
pub async fn run(lab: &Lab) -> Outcome<Vec<Case>> {
    let documents = documents()?;
    let mean = documents.iter().map(Vec::len).sum::<usize>() / documents.len();
    let data = Arc::new(Data::new(KEYS, documents));
    let pace = lab.choose(Pace::new(60, 7), Pace::new(200, 31));
    let bar = lab::bar("codec", ALGORITHMS.len() * 2 * (pace.rounds + 1));
    let server = lab::server().await;
    let baseline = candidates::baseline(&server.url()).await?;
    lab::fill(&baseline, &data).await?;
    let plain = stored(&server, 0).await?;
    let baseline = Entrant::new(BASELINE, "redis", baseline);
    let mut cases = Vec::new();
    for (number, (name, algorithm)) in (1..).zip(ALGORITHMS) {
        // A database of its own: what one stores compressed, the other could not read.
        let layers = Layers { algorithm, threshold: THRESHOLD, ..Layers::ALL };
        let ours: Ours = candidates::connect_ours(&format!("{}{number}", server.url()), layers).await?;
        lab::fill(&ours, &data).await?;
        let sizes = [(OURS, "state-redis", stored(&server, number).await?), (BASELINE, "redis", plain)];
        let ours = Entrant::new(OURS, "state-redis", ours);
        for work in [Work::Get, Work::Put] {
            let case = case(&format!("{}_{name}", work.name()), mean);
            let load = ops::load(work, TASKS, &data, vec![lab::process(&server)?], pace);
            cases.push(interleave(case, &load, pace, &[&ours, &baseline], &bar).await?);
        }
        let size = case(&format!("stored_{name}"), mean);
        let entries = sizes.map(|(name, package, bytes)| entry(name, package, bytes)).into();
        cases.push(Case { unit: "bytes/value", more_is_better: false, entries, ..size });
    }
    bar.finish_and_clear();
    Ok(cases)
}

fn case(name: &str, size: usize) -> Case {
    Case { suite: "codec", ..ops::case(name, TASKS, size, BASELINE) }
}

fn entry(name: &str, package: &str, value: f64) -> Entry {
    let rounds = vec![Sample { value, ..Sample::default() }];
    Entry { candidate: name.to_owned(), version: versions::of(package), rounds }
}

/// What `cargo metadata` knows of each package this program is built from: real documents of some kilobytes, that
/// everybody who can build it has. Packages for other platforms only are left out: nobody has those.
fn documents() -> Outcome<Vec<Vec<u8>>> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let host = output_of("rustc", &["--print", "host-tuple"])?;
    let host = String::from_utf8(host)?;
    let metadata =
        ["metadata", "--format-version", "1", "--offline", "--locked", "--manifest-path", manifest];
    let metadata = output_of("cargo", &[&metadata[..], &["--filter-platform", host.trim()]].concat())?;
    let metadata: Value = serde_json::from_slice(&metadata)?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata without packages")?;
    Ok(packages.iter().map(serde_json::to_vec).collect::<Result<_, _>>()?)
}

fn output_of(program: &str, arguments: &[&str]) -> Outcome<Vec<u8>> {
    let output = Command::new(program).args(arguments).output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// The mean length of the values as they stand on the server.
async fn stored(server: &Server, database: usize) -> Outcome<f64> {
    let client = redis::Client::open(format!("{}{database}", server.url()))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut pipeline = redis::pipe();
    for n in 0..KEYS {
        pipeline.cmd("STRLEN").arg(crate::candidate::Key::new(format!("key:{n:07}")).stored);
    }
    let lengths: Vec<u64> = pipeline.query_async(&mut connection).await?;
    Ok(lengths.iter().sum::<u64>() as f64 / KEYS as f64)
}
