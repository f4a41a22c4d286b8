//! Many keys at once, standalone and on a cluster.

use std::sync::Arc;

use indicatif::ProgressBar;

use crate::Outcome;
use crate::candidates::{self, BASELINE, CLUSTER, Fred, Layers, ONE_BY_ONE, OURS, OneByOne, Rustis};
use crate::case::Case;
use crate::lab::{self, Lab};
use crate::load::{Data, Work};
use crate::rounds::{Entrant, Pace, interleave};
use crate::suites::ops;

const SIZE: usize = 100;
/// Keys in a batch.
const BATCHES: [usize; 5] = [1, 10, 100, 1_000, 10_000];

/// Runs the suite.
///
/// # Errors
/// When a client cannot connect, or does nothing but fail.
pub async fn run(lab: &Lab) -> Outcome<Vec<Case>> {
    let bar = lab::bar("batch", steps(lab));
    let data = lab::noise(*BATCHES.last().expect("there are some"), SIZE);
    let mut cases = standalone(lab, &data, &bar).await?;
    cases.extend(cluster(lab, &data, &bar).await?);
    bar.finish_and_clear();
    Ok(cases)
}

fn works(keys: usize) -> [Work; 3] {
    [Work::BatchGet(keys), Work::BatchPut(keys), Work::BatchDelete(keys)]
}

/// The figures that were promised are those of 1,000 keys.
fn pace(lab: &Lab, keys: usize) -> Pace {
    if keys == 1_000 {
        lab.choose(Pace::new(40, 15), Pace::new(150, 41))
    } else {
        lab.choose(Pace::new(30, 3), Pace::new(150, 15))
    }
}

fn cluster_batches(lab: &Lab) -> &'static [usize] {
    lab.choose(&BATCHES[3..4], &BATCHES)
}

fn steps(lab: &Lab) -> usize {
    let all = BATCHES.iter().chain(cluster_batches(lab));
    all.map(|&keys| works(keys).len() * (pace(lab, keys).rounds + 1)).sum()
}

async fn standalone(lab: &Lab, data: &Arc<Data>, bar: &ProgressBar) -> Outcome<Vec<Case>> {
    let server = lab::server().await;
    let url = server.url();
    let baseline = candidates::baseline(&url).await?;
    let ours = candidates::connect_ours(&url, Layers::ALL).await?;
    let entrants = [
        Entrant::new(OURS, "state-redis", ours.clone()),
        Entrant::new(BASELINE, "redis", baseline.clone()),
        Entrant::new("fred", "fred", Fred::connect(&url).await?),
        Entrant::new("rustis", "rustis", Rustis::connect(&url).await?),
        Entrant::new("deadpool-redis", "deadpool-redis", candidates::pool_deadpool(&url).await?),
        // The last: left out where it would take too long.
        Entrant::new(ONE_BY_ONE, "state-redis", OneByOne(ours)),
    ];
    let mut cases = Vec::new();
    for keys in BATCHES {
        for work in works(keys) {
            lab::fill(&baseline, data).await?;
            let entrants: Vec<_> = entrants.iter().take(if keys > 1_000 { 5 } else { 6 }).collect();
            let (case, pace) = (case(work.name(), keys, BASELINE), pace(lab, keys));
            let load = ops::load(work, 1, data, vec![lab::process(&server)?], pace);
            cases.push(interleave(case, &load, pace, &entrants, bar).await?);
        }
    }
    Ok(cases)
}

async fn cluster(lab: &Lab, data: &Arc<Data>, bar: &ProgressBar) -> Outcome<Vec<Case>> {
    let cluster = lab::cluster().await;
    let addresses = cluster.addresses();
    let baseline = candidates::cluster(&addresses).await?;
    let entrants = ops::cluster_entrants(&cluster.url(), &addresses).await?;
    let entrants: Vec<_> = entrants.iter().collect();
    let mut cases = Vec::new();
    for &keys in cluster_batches(lab) {
        for work in works(keys) {
            lab::fill(&baseline, data).await?;
            let (case, pace) = (case(&format!("cluster_{}", work.name()), keys, CLUSTER), pace(lab, keys));
            let load = ops::load(work, 1, data, lab::processes(&cluster)?, pace);
            cases.push(interleave(case, &load, pace, &entrants, bar).await?);
        }
    }
    Ok(cases)
}

fn case(name: &str, keys: usize, baseline: &'static str) -> Case {
    Case { suite: "batch", unit: "keys/s", ..ops::case(name, 1, keys, baseline) }
}
