//! Candidates in turn, round by round.

use std::pin::Pin;
use std::time::Duration;

use indicatif::ProgressBar;

use crate::Outcome;
use crate::case::{Case, Entry, Sample};
use crate::load::{self, Load, Operate};
use crate::versions;

/// A future of a trait object.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Somebody who carries a load for one round. The only place of dynamic dispatch: once a slice, not once an operation.
pub trait Runner: Send + Sync {
    /// Carries it.
    fn run<'a>(&'a self, load: &'a Load) -> Boxed<'a, Outcome<Sample>>;
}

impl<O: Operate> Runner for O {
    fn run<'a>(&'a self, load: &'a Load) -> Boxed<'a, Outcome<Sample>> {
        Box::pin(load::run(self, load))
    }
}

/// A candidate by its name.
pub struct Entrant {
    /// Its name in tables.
    pub name: &'static str,
    /// Its version.
    pub version: String,
    /// Itself.
    pub runner: Box<dyn Runner>,
}

impl Entrant {
    /// A candidate whose version is that of `package` in the lock file.
    pub fn new(name: &'static str, package: &str, runner: impl Runner + 'static) -> Self {
        Self { name, version: versions::of(package), runner: Box::new(runner) }
    }
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Length of one candidate's part in a round.
    pub slice: Duration,
    /// How many rounds count.
    pub rounds: usize,
}

impl Pace {
    /// A pace in milliseconds and rounds.
    pub const fn new(millis: u64, rounds: usize) -> Self {
        Self { slice: Duration::from_millis(millis), rounds }
    }
}

/// Runs all candidates through one round that does not count, and then round by round, each time in another order, so
/// that whatever disturbs the machine meets neighbours alike. Ratios are taken within a round.
///
/// # Errors
/// When a candidate does nothing but fail.
pub async fn interleave(
    case: Case,
    load: &Load,
    pace: Pace,
    entrants: &[&Entrant],
    bar: &ProgressBar,
) -> Outcome<Case> {
    let load = Load { slice: pace.slice, ..load.clone() };
    let warm_up = Load { slice: pace.slice / 2, ..load.clone() };
    bar.set_message(format!("{} {}, {} tasks, {}", case.suite, case.name, case.tasks, case.size));
    let mut rounds: Vec<Vec<Sample>> = vec![Vec::new(); entrants.len()];
    for round in 0..=pace.rounds {
        for at in order(round, entrants.len()) {
            let load = if round == 0 { &warm_up } else { &load };
            let sample = entrants[at].runner.run(load).await;
            let named = |error| format!("{} of {} {}: {error}", entrants[at].name, case.suite, case.name);
            let sample = sample.map_err(named)?;
            if round > 0 {
                rounds[at].push(sample);
            }
        }
        bar.inc(1);
    }
    let entry = |(entrant, rounds): (&&Entrant, Vec<Sample>)| Entry {
        candidate: entrant.name.to_owned(),
        version: entrant.version.clone(),
        rounds,
    };
    Ok(Case { entries: entrants.iter().zip(rounds).map(entry).collect(), ..case })
}

/// Every candidate once, beginning with another one each round, and the other way round every second time.
fn order(round: usize, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).map(|n| (n + round / 2) % count).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_every_candidate_once() {
        for round in 0..12 {
            let mut order = order(round, 5);
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3, 4]);
        }
        assert_ne!(order(0, 5), order(1, 5));
        assert_ne!(order(0, 5), order(2, 5));
    }
}
