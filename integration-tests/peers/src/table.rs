//! The results as text.

use crate::case::{Case, Entry, Figure};
use crate::figures::{self, Verdict};
use crate::stats::Estimate;

/// The heads of the columns of [`cells`].
pub const HEADS: [&str; 9] = [
    "candidate",
    "median",
    "ratio",
    "95 % of the ratio",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "CPU us",
    "server us",
];

/// What a candidate did in a case, as text, under [`HEADS`].
pub fn cells(case: &Case, entry: &Entry) -> [String; 9] {
    let relative = case.ratio(Figure::Value, &entry.candidate, case.baseline);
    let median = |figure| entry.estimate(figure).map(|estimate| number(estimate.median)).unwrap_or_default();
    let failed = entry.failures().map(|(failed, _)| format!(" ({failed} failed)")).unwrap_or_default();
    [
        format!("{} {}{failed}", entry.candidate, entry.version),
        median(Figure::Value),
        relative.map(|estimate| ratio(estimate.median)).unwrap_or_default(),
        relative.map(interval).unwrap_or_default(),
        median(Figure::Latency(0)),
        median(Figure::Latency(1)),
        median(Figure::Latency(2)),
        median(Figure::ClientCpu),
        median(Figure::ServerCpu),
    ]
}

/// What a case is, in one line.
pub fn title(case: &Case) -> String {
    let Case { suite, name, tasks, size, unit, .. } = case;
    let of = if matches!(*suite, "batch" | "scan") { "keys" } else { "B" };
    let rounds = case.entries.first().map_or(0, |entry| entry.rounds.len());
    format!("{suite} {name}: {tasks} tasks, {size} {of}, {unit}, n = {rounds}")
}

/// An interval.
pub fn interval(estimate: Estimate) -> String {
    format!("{} to {}", ratio(estimate.low), ratio(estimate.high))
}

/// A ratio; near to one the third digit behind the point tells something.
fn ratio(value: f64) -> String {
    if (0.9..1.1).contains(&value) { format!("{value:.3}") } else { format!("{value:.2}") }
}

/// A number with three digits that count, in thousands or millions where it is long.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.2} M", value / 1e6),
        size if size >= 1e4 => format!("{:.0} k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Prints every case, and what became of the promises; of those about peers only what is not met.
pub fn print(cases: &[Case], verdicts: &[Verdict]) {
    for case in cases {
        println!("\n{}", title(case));
        let mut lines = vec![HEADS.map(str::to_owned)];
        lines.extend(case.entries.iter().map(|entry| cells(case, entry)));
        print_aligned(&lines);
    }
    println!("\nfigures that were promised");
    let mut lines = vec![["", "promise", "measured", "95 %", "n"].map(str::to_owned)];
    let shown = |verdict: &&Verdict| !verdict.is_about_peers || verdict.outcome != figures::Outcome::Met;
    lines.extend(verdicts.iter().filter(shown).map(verdict_cells));
    print_aligned(&lines);
    let missed = verdicts.iter().filter(|verdict| verdict.outcome == figures::Outcome::Missed).count();
    let within = verdicts.iter().filter(|verdict| verdict.outcome == figures::Outcome::Within).count();
    let met = verdicts.len() - missed - within;
    println!(
        "{met} met, {within} within the spread, {missed} missed; those met of other clients are in the report"
    );
}

/// What became of a promise, as text.
pub fn verdict_cells(verdict: &Verdict) -> [String; 5] {
    let Verdict { promise, measured, outcome, .. } = verdict;
    [
        outcome.word().to_owned(),
        promise.clone(),
        ratio(measured.median),
        interval(*measured),
        measured.n.to_string(),
    ]
}

fn print_aligned<const N: usize>(lines: &[[String; N]]) {
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| {
            // Names to the left, numbers to the right.
            if at < 2 && N == 5 || at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        println!("  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
