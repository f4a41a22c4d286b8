//! From nothing to the first answer.

use std::time::{Duration, Instant};

use crate::Outcome;
use crate::candidate::{Candidate, Key};
use crate::candidates::{self, ALL, BASELINE, DEFAULTS, Visitor};
use crate::case::{Case, Sample};
use crate::lab::{self, Lab};
use crate::load::{Load, Work};
use crate::rounds::{Boxed, Entrant, Pace, Runner, interleave};
use crate::suites::ops;

const SIZE: usize = 100;

/// Runs the suite.
///
/// # Errors
/// When a client cannot connect.
pub async fn run(lab: &Lab) -> Outcome<Vec<Case>> {
    let server = lab::server().await;
    let url = server.url();
    let data = lab::noise(10, SIZE);
    lab::fill(&candidates::baseline(&url).await?, &data).await?;
    let pace = Pace { slice: Duration::ZERO, rounds: lab.choose(15, 101) };
    let bar = lab::bar("startup", pace.rounds + 1);
    // The two ways of redis-rs differ in a socket option only.
    let names = ALL.into_iter().filter(|(name, _)| *name != DEFAULTS);
    let entrants: Vec<_> =
        names.map(|(name, package)| Entrant::new(name, package, First { name, url: url.clone() })).collect();
    let load = ops::load(Work::Get, 1, &data, vec![lab::process(&server)?], pace);
    let case = Case {
        suite: "startup",
        unit: "ms",
        more_is_better: false,
        ..ops::case("first_get", 1, SIZE, BASELINE)
    };
    let case = interleave(case, &load, pace, &entrants.iter().collect::<Vec<_>>(), &bar).await?;
    bar.finish_and_clear();
    Ok(vec![case])
}

/// Connects, asks once, and is done.
struct First {
    name: &'static str,
    url: String,
}

impl Runner for First {
    fn run<'a>(&'a self, load: &'a Load) -> Boxed<'a, Outcome<Sample>> {
        Box::pin(async {
            let began = Instant::now();
            candidates::connect(self.name, &self.url, Get(&load.data.keys[0])).await?;
            Ok(Sample { value: began.elapsed().as_secs_f64() * 1e3, ..Sample::default() })
        })
    }
}

struct Get<'a>(&'a Key);

impl Visitor for Get<'_> {
    type Output = usize;

    async fn visit<C: Candidate>(self, candidate: C) -> Outcome<usize> {
        candidate.get(self.0).await
    }
}
