//! What is measured, and what was.

use serde::{Deserialize, Serialize};

use crate::stats::{Estimate, estimate};

/// One candidate's part in one round. What a suite does not measure is absent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    /// The value, in the case's unit.
    pub value: f64,
    /// Latency of single operations in microseconds: median, 99th and 99.9th percentile.
    pub latency: Option<[f64; 3]>,
    /// Microseconds of processor time per operation, in this process.
    pub client_cpu: Option<f64>,
    /// Microseconds of processor time per operation, in the servers.
    pub server_cpu: Option<f64>,
    /// Operations that failed.
    pub failed: u64,
    /// What the first of them answered.
    pub failure: Option<String>,
}

/// Which figure of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// The value itself.
    Value,
    /// A latency, by its place in [`Sample::latency`].
    Latency(usize),
    /// Processor time of this process.
    ClientCpu,
    /// Processor time of the servers.
    ServerCpu,
}

impl Figure {
    fn of(self, sample: &Sample) -> Option<f64> {
        match self {
            Self::Value => Some(sample.value),
            Self::Latency(which) => sample.latency.map(|latency| latency[which]),
            Self::ClientCpu => sample.client_cpu,
            Self::ServerCpu => sample.server_cpu,
        }
    }
}

/// A candidate with what it did in each round.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// The candidate's name.
    pub candidate: String,
    /// Its version.
    pub version: String,
    /// One sample a round.
    pub rounds: Vec<Sample>,
}

impl Entry {
    /// The median of a figure over the rounds, with its interval.
    pub fn estimate(&self, figure: Figure) -> Option<Estimate> {
        estimate(self.rounds.iter().filter_map(|sample| figure.of(sample)).collect())
    }

    /// Operations that failed in all rounds, and what the first of them answered.
    pub fn failures(&self) -> Option<(u64, &str)> {
        let failed = self.rounds.iter().map(|sample| sample.failed).sum();
        let failure = self.rounds.iter().find_map(|sample| sample.failure.as_deref());
        (failed > 0).then_some((failed, failure.unwrap_or_default()))
    }
}

/// A load that several candidates carried in the same rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// The suite it belongs to.
    pub suite: &'static str,
    /// Its name in the suite.
    pub name: String,
    /// Tasks, or operations in flight.
    pub tasks: usize,
    /// Bytes of a value; keys in the suites `batch` and `scan`.
    pub size: usize,
    /// The unit of the values.
    pub unit: &'static str,
    /// Whether more is better.
    pub more_is_better: bool,
    /// The candidate that ratios refer to.
    pub baseline: &'static str,
    /// The candidates.
    pub entries: Vec<Entry>,
}

impl Case {
    /// The entry of a candidate.
    pub fn entry(&self, candidate: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.candidate == candidate)
    }

    /// A candidate's figure divided by another's, round by round: the median of the pairs, with its interval.
    pub fn ratio(&self, figure: Figure, candidate: &str, against: &str) -> Option<Estimate> {
        let (one, other) = (self.entry(candidate)?, self.entry(against)?);
        let pairs = one.rounds.iter().zip(&other.rounds);
        let ratios = pairs.filter_map(|(one, other)| Some(figure.of(one)? / figure.of(other)?));
        estimate(ratios.filter(|ratio| ratio.is_finite()).collect())
    }
}
