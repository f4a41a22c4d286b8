//! Single operations: one server, a cluster, and what the server itself can do.

use std::sync::Arc;

use crate::Outcome;
use crate::candidate::Candidate;
use crate::candidates::{self, ALL, BASELINE, CLUSTER, Fred, Layers, OURS, Rustis, Visitor};
use crate::case::Case;
use crate::lab::{self, Lab};
use crate::load::{Data, Load, Work};
use crate::rounds::{Entrant, Pace, interleave};
use crate::suites::ops_limit;

/// Tasks of the figures that were promised.
pub const TASKS: [usize; 6] = [1, 8, 16, 64, 256, 512];
const MANY: usize = 2_048;
const SMALL: usize = 100;
const SIZES: [usize; 3] = [SMALL, 4 << 10, 64 << 10];
const WORKS: [Work; 6] = [Work::Get, Work::Put, Work::PutTtl, Work::PutIfAbsent, Work::Cas, Work::Increment];

/// One case to run.
struct Plan {
    work: Work,
    tasks: usize,
    size: usize,
    pace: Pace,
}

/// Runs the suite.
///
/// # Errors
/// When a client cannot connect, or does nothing but fail.
pub async fn run(lab: &Lab) -> Outcome<Vec<Case>> {
    let plans = plans(lab);
    let on_cluster: Vec<usize> = lab.choose(TASKS.to_vec(), [&TASKS[..], &[MANY]].concat());
    let pace = lab.choose(Pace::new(40, 15), Pace::new(100, 31));
    let steps = plans.iter().map(|plan| plan.pace.rounds + 1).sum::<usize>()
        + on_cluster.len() * (pace.rounds + 1)
        + ops_limit::steps(lab);
    let bar = lab::bar("ops", steps);
    let mut cases = standalone(&plans, &bar).await?;
    cases.extend(ops_limit::run(lab, &bar).await?);
    cases.extend(cluster(&on_cluster, pace, &bar).await?);
    bar.finish_and_clear();
    Ok(cases)
}

/// The whole matrix, or what the figures need and a glance at the rest.
fn plans(lab: &Lab) -> Vec<Plan> {
    let mut plans = Vec::new();
    let promised =
        |work, tasks, size| matches!(work, Work::Get | Work::Put) && size == SMALL && TASKS.contains(&tasks);
    for work in WORKS {
        for size in SIZES {
            for tasks in [&TASKS[..], &[MANY]].concat() {
                // A counter has no size.
                let odd = work == Work::Increment && size != SMALL;
                let glance = tasks == 64 && (size == SMALL || matches!(work, Work::Get | Work::Put));
                let pace = match promised(work, tasks, size) {
                    true => lab.choose(Pace::new(40, 15), Pace::new(100, 41)),
                    false => lab.choose(Pace::new(40, 9), Pace::new(100, 15)),
                };
                if !odd && (!lab.quick || promised(work, tasks, size) || glance) {
                    plans.push(Plan { work, tasks, size, pace });
                }
            }
        }
    }
    // One server for each size.
    plans.sort_by_key(|plan| plan.size);
    plans
}

async fn standalone(plans: &[Plan], bar: &indicatif::ProgressBar) -> Outcome<Vec<Case>> {
    let mut cases = Vec::new();
    for plans in plans.chunk_by(|one, next| one.size == next.size) {
        let server = lab::server().await;
        let size = plans[0].size;
        let data = lab::noise(lab::key_count(size), size);
        let baseline = candidates::baseline(&server.url()).await?;
        let entrants = entrants(&server.url()).await?;
        for plan in plans {
            lab::fill(&baseline, &data).await?;
            let load = load(plan.work, plan.tasks, &data, vec![lab::process(&server)?], plan.pace);
            let case = case(plan.work.name(), plan.tasks, plan.size, BASELINE);
            cases.push(interleave(case, &load, plan.pace, &entrants.iter().collect::<Vec<_>>(), bar).await?);
        }
    }
    Ok(cases)
}

/// Every client on one server.
async fn entrants(url: &str) -> Outcome<Vec<Entrant>> {
    let mut entrants = Vec::new();
    for (name, package) in ALL {
        entrants.push(candidates::connect(name, url, Enter { name, package }).await?);
    }
    Ok(entrants)
}

struct Enter {
    name: &'static str,
    package: &'static str,
}

impl Visitor for Enter {
    type Output = Entrant;

    async fn visit<C: Candidate>(self, candidate: C) -> Outcome<Entrant> {
        Ok(Entrant::new(self.name, self.package, candidate))
    }
}

async fn cluster(tasks: &[usize], pace: Pace, bar: &indicatif::ProgressBar) -> Outcome<Vec<Case>> {
    let cluster = lab::cluster().await;
    let addresses = cluster.addresses();
    let data = lab::noise(lab::key_count(SMALL), SMALL);
    let baseline = candidates::cluster(&addresses).await?;
    lab::fill(&baseline, &data).await?;
    let entrants = cluster_entrants(&cluster.url(), &addresses).await?;
    let entrants: Vec<_> = entrants.iter().collect();
    let mut cases = Vec::new();
    for &tasks in tasks {
        let load = load(Work::Get, tasks, &data, lab::processes(&cluster)?, pace);
        cases
            .push(interleave(case("cluster_get", tasks, SMALL, CLUSTER), &load, pace, &entrants, bar).await?);
    }
    Ok(cases)
}

/// Every client that speaks to a cluster.
pub async fn cluster_entrants(url: &str, addresses: &[String]) -> Outcome<Vec<Entrant>> {
    Ok(vec![
        Entrant::new(OURS, "state-redis", candidates::connect_ours(url, Layers::ALL).await?),
        Entrant::new(CLUSTER, "redis", candidates::cluster(addresses).await?),
        Entrant::new("fred", "fred", Fred::connect_cluster(addresses).await?),
        Entrant::new("rustis", "rustis", Rustis::connect_cluster(addresses).await?),
    ])
}

/// A load on `data`.
pub fn load(work: Work, tasks: usize, data: &Arc<Data>, servers: Vec<u32>, pace: Pace) -> Load {
    Load { work, tasks, slice: pace.slice, data: Arc::clone(data), servers: Arc::new(servers) }
}

/// A case of this suite, not yet run.
pub fn case(name: &str, tasks: usize, size: usize, baseline: &'static str) -> Case {
    Case {
        suite: "ops",
        name: name.to_owned(),
        tasks,
        size,
        unit: "ops/s",
        more_is_better: true,
        baseline,
        entries: Vec::new(),
    }
}
