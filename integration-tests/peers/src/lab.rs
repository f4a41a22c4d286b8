//! The servers of a run, what is stored on them, and how thoroughly everything is measured.

use std::path::PathBuf;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use integration_tests::{Cluster, ClusterConfig, Server, ServerConfig};

use crate::Outcome;
use crate::candidate::Candidate;
use crate::load::Data;

/// Bytes in a request that fills a server.
const FILL_BYTES: usize = 4 << 20;

/// What suites share: how thorough to be, and where the other programs of this package are.
#[derive(Clone, Debug)]
pub struct Lab {
    /// Whether to be done within minutes.
    pub quick: bool,
    /// The folder of this package's programs.
    pub programs: PathBuf,
}

impl Lab {
    /// `quick` in a quick run, `thorough` otherwise.
    pub fn choose<T>(&self, quick: T, thorough: T) -> T {
        if self.quick { quick } else { thorough }
    }
}

/// A server that keeps everything in memory only, so that the disk is no part of what is measured.
pub async fn server() -> Server {
    in_memory().start().await
}

/// Three masters with a replica each, in memory only.
pub async fn cluster() -> Cluster {
    ClusterConfig::default().with_node(in_memory()).start().await
}

fn in_memory() -> ServerConfig {
    ServerConfig::default().with_option("appendonly", "no").with_option("maxclients", 10_000)
}

/// The process of a server.
///
/// # Errors
/// When it has ended.
pub fn process(server: &Server) -> Outcome<u32> {
    server.pid().ok_or_else(|| format!("{server} has ended").into())
}

/// The processes of a cluster.
///
/// # Errors
/// When one has ended.
pub fn processes(cluster: &Cluster) -> Outcome<Vec<u32>> {
    cluster.nodes().iter().map(process).collect()
}

/// Stores the values and sets the counters back, through a candidate that has batches.
///
/// # Errors
/// When the candidate fails.
pub async fn fill<C: Candidate>(candidate: &C, data: &Data) -> Outcome<()> {
    let count = data.values.len();
    for (n, value) in data.values.iter().enumerate() {
        let keys: Vec<_> = data.keys.iter().skip(n).step_by(count).cloned().collect();
        for keys in keys.chunks((FILL_BYTES / value.len().max(1)).clamp(1, 1_000)) {
            candidate.batch_put(keys, value).await?;
        }
    }
    candidate.batch_put(&data.counters, b"0").await
}

/// `count` keys with `distinct` values of `size` bytes that no algorithm makes smaller.
pub fn noise(count: usize, size: usize) -> Arc<Data> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut value = || {
        let mut bytes = Vec::with_capacity(size + 8);
        while bytes.len() < size {
            // xorshift64*: the values need to look random, and nothing more.
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
        }
        bytes.truncate(size);
        bytes
    };
    // Two, so that a swap has something to swap.
    Arc::new(Data::new(count, vec![value(), value()]))
}

/// How many keys of `size` bytes there are: at most 10,000, and at most 64 MiB together.
pub fn key_count(size: usize) -> usize {
    ((64 << 20) / size.max(1)).clamp(100, 10_000)
}

/// A bar of `length` steps for a suite.
pub fn bar(suite: &str, length: usize) -> ProgressBar {
    let template = "{prefix:>8} {bar:32} {pos}/{len} {elapsed}  {wide_msg}";
    let style = ProgressStyle::with_template(template).expect("a valid template");
    ProgressBar::new(length as u64).with_style(style).with_prefix(suite.to_owned())
}
