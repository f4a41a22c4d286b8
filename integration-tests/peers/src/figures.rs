//! The figures that were promised, and whether a run reached them.

use crate::candidates::{BASELINE, CLUSTER, DEFAULTS, ONE_BY_ONE, OURS};
use crate::case::{Case, Figure};
use crate::stats::Estimate;
use crate::suites::{layers, ops_limit};

/// One promise: a figure of ours divided by the same figure of another candidate.
#[derive(Clone, Debug)]
pub struct Promise {
    suite: &'static str,
    case: String,
    tasks: usize,
    size: usize,
    figure: Figure,
    against: String,
    bound: Bound,
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// What became of a promise.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The promise, in words.
    pub promise: String,
    /// The ratio that was measured.
    pub measured: Estimate,
    /// Whether it was kept.
    pub outcome: Outcome,
    /// Whether it is one of the many that no other client does more.
    pub is_about_peers: bool,
}

/// Whether a promise was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The median is on the right side.
    Met,
    /// The median is on the wrong side, the bound within the interval.
    Within,
    /// The whole interval is on the wrong side.
    Missed,
}

const SMALL: usize = 100;

/// Those that are no peers: ours, and what we are compared with by figures of their own.
const KNOWN: [&str; 7] = [OURS, BASELINE, DEFAULTS, CLUSTER, ONE_BY_ONE, ops_limit::NAME, layers::WITHOUT];

/// Looks at every promise whose case was run.
pub fn judge(cases: &[Case]) -> Vec<Verdict> {
    let promises = promises().into_iter().chain(cases.iter().flat_map(ahead_of_peers));
    promises.filter_map(|promise| promise.judge(cases)).collect()
}

/// Failed operations of ours or of what we are compared with: such a run shows nothing.
pub fn failures(cases: &[Case]) -> Vec<String> {
    let mut failures = Vec::new();
    for case in cases {
        for entry in &case.entries {
            let counts = entry.candidate == OURS || entry.candidate == case.baseline;
            // Beyond its bounded queue our client refuses reads by design; the suite counts how many.
            let by_design = case.suite == "memory";
            if let (true, false, Some((failed, answer))) = (counts, by_design, entry.failures()) {
                let Case { suite, name, tasks, .. } = case;
                failures.push(format!(
                    "{suite} {name}, {tasks} tasks: {failed} of {} failed: {answer}",
                    entry.candidate
                ));
            }
        }
    }
    failures
}

fn promises() -> Vec<Promise> {
    let mut promises = Vec::new();
    let single = |case: &str, tasks, against: &str, bound| promise("ops", case, tasks, SMALL, against, bound);
    for (tasks, get, put) in
        [(1, 0.95, 0.95), (8, 0.95, 0.95), (16, 0.95, 0.95), (64, 1.5, 1.4), (256, 1.7, 1.5), (512, 1.7, 1.7)]
    {
        promises.push(single("get", tasks, BASELINE, get));
        promises.push(single("put", tasks, BASELINE, put));
    }
    for tasks in [64, 256, 512, 2_048] {
        promises.push(single("get", tasks, DEFAULTS, 1.0));
        promises.push(single("put", tasks, DEFAULTS, 0.8));
    }
    for case in ["get", "put"] {
        let (figure, bound) = (Figure::Latency(1), Bound::AtMost(1.0));
        promises.push(Promise { figure, bound, ..single(case, 64, BASELINE, 1.0) });
        promises.push(promise("batch", case, 1, 1_000, BASELINE, 0.95));
        promises.push(promise("batch", case, 1, 1_000, ONE_BY_ONE, 20.0));
        let cpu = promise("layers", &format!("cpu_{case}"), layers::TASKS, SMALL, layers::WITHOUT, 1.0);
        promises.push(Promise { bound: Bound::AtMost(1.03), ..cpu });
    }
    for (tasks, bound) in [(1, 0.97), (8, 0.97), (16, 0.97), (64, 1.4), (256, 2.5), (512, 3.5)] {
        promises.push(single("cluster_get", tasks, CLUSTER, bound));
    }
    promises
}

fn promise(suite: &'static str, case: &str, tasks: usize, size: usize, against: &str, least: f64) -> Promise {
    Promise {
        suite,
        case: case.to_owned(),
        tasks,
        size,
        figure: Figure::Value,
        against: against.to_owned(),
        bound: Bound::AtLeast(least),
    }
}

/// From 64 tasks on no other client does more single operations of short values, whichever operation it is.
fn ahead_of_peers(case: &Case) -> Vec<Promise> {
    let peers = case.entries.iter().filter(|entry| !KNOWN.contains(&entry.candidate.as_str()));
    let ahead =
        |peer: &crate::case::Entry| promise("ops", &case.name, case.tasks, case.size, &peer.candidate, 1.0);
    let counts = case.suite == "ops" && case.tasks >= 64 && case.size == SMALL;
    if counts { peers.map(ahead).collect() } else { Vec::new() }
}

impl Promise {
    fn judge(&self, cases: &[Case]) -> Option<Verdict> {
        let is_mine = |case: &&Case| {
            case.suite == self.suite
                && case.name == self.case
                && case.tasks == self.tasks
                && case.size == self.size
        };
        let case = cases.iter().find(is_mine)?;
        let measured = case.ratio(self.figure, OURS, &self.against)?;
        let is_about_peers = !KNOWN.contains(&self.against.as_str());
        Some(Verdict {
            promise: self.to_string(),
            measured,
            outcome: self.bound.judge(measured),
            is_about_peers,
        })
    }
}

impl Bound {
    fn judge(self, measured: Estimate) -> Outcome {
        let (met, missed) = match self {
            Self::AtLeast(bound) => (measured.median >= bound, measured.high < bound),
            Self::AtMost(bound) => (measured.median <= bound, measured.low > bound),
        };
        match (met, missed) {
            (true, _) => Outcome::Met,
            (false, false) => Outcome::Within,
            (false, true) => Outcome::Missed,
        }
    }
}

impl Outcome {
    /// As a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Within => "within the spread",
            Self::Missed => "MISSED",
        }
    }
}

impl std::fmt::Display for Promise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { suite, case, tasks, size, against, .. } = self;
        let what = match (self.figure, *suite) {
            (Figure::Latency(_), _) => "p99 ",
            (_, "layers") => "CPU ",
            _ => "",
        };
        let of = if *suite == "batch" { "keys" } else { "B" };
        let (sign, bound) = match self.bound {
            Bound::AtLeast(bound) => (">=", bound),
            Bound::AtMost(bound) => ("<=", bound),
        };
        let tasks = if *tasks == 1 { "1 task".to_owned() } else { format!("{tasks} tasks") };
        write!(f, "{suite} {case}, {tasks}, {size} {of}: {what}{sign} {bound} of {against}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Entry, Sample};
    use crate::suites::ops;

    fn case(ours: &[f64]) -> Case {
        let entry = |candidate: &str, values: &[f64]| Entry {
            candidate: candidate.to_owned(),
            version: String::new(),
            rounds: values.iter().map(|&value| Sample { value, ..Sample::default() }).collect(),
        };
        let entries = vec![entry(OURS, ours), entry(BASELINE, &vec![100.0; ours.len()])];
        Case { entries, ..ops::case("get", 512, SMALL, BASELINE) }
    }

    fn outcome(ours: &[f64]) -> Outcome {
        let verdicts = judge(&[case(ours)]);
        assert_eq!(verdicts.len(), 1, "only what was measured is judged");
        verdicts[0].outcome
    }

    #[test]
    fn a_figure_is_missed_only_by_more_than_the_spread() {
        assert_eq!(outcome(&[171.0, 172.0, 173.0, 174.0, 175.0, 120.0]), Outcome::Met);
        assert_eq!(outcome(&[150.0, 150.0, 150.0, 150.0, 150.0, 171.0]), Outcome::Within);
        assert_eq!(outcome(&[150.0, 150.0, 150.0, 150.0, 150.0, 169.0]), Outcome::Missed);
    }

    #[test]
    fn a_peer_that_does_more_is_a_miss() {
        let mut case = case(&[200.0; 6]);
        let peer = Entry { candidate: "fred".to_owned(), ..case.entries[0].clone() };
        case.entries.push(peer);
        assert!(judge(&[case.clone()]).iter().all(|verdict| verdict.outcome == Outcome::Met));
        case.entries[2].rounds.iter_mut().for_each(|sample| sample.value = 201.0);
        assert!(judge(&[case]).iter().any(|verdict| verdict.outcome == Outcome::Missed));
    }

    #[test]
    fn failures_of_ours_and_of_the_baseline_count() {
        let mut case = case(&[200.0; 6]);
        assert!(failures(&[case.clone()]).is_empty());
        case.entries[1].rounds[3].failed = 1;
        assert_eq!(failures(&[case]).len(), 1);
    }
}
