//! The results as a list, for other programs.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::Outcome;
use crate::case::{Case, Figure};

/// One candidate in one case.
#[derive(Debug, Serialize)]
struct Row<'a> {
    suite: &'a str,
    case: &'a str,
    candidate: &'a str,
    tasks: usize,
    size: usize,
    unit: &'a str,
    median: f64,
    /// Of the case's baseline: the median of the ratios within each round. Null where that is zero.
    ratio: Option<f64>,
    version: &'a str,
}

/// Writes `summary.json`, a row for each candidate in each case, and `details.json`, every sample.
///
/// # Errors
/// When the folder cannot be written to.
pub fn write(folder: &Path, cases: &[Case]) -> Outcome<()> {
    fs::write(folder.join("summary.json"), serde_json::to_vec_pretty(&rows(cases))?)?;
    Ok(fs::write(folder.join("details.json"), serde_json::to_vec(cases)?)?)
}

fn rows(cases: &[Case]) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for case in cases {
        for entry in &case.entries {
            let Some(median) = entry.estimate(Figure::Value).map(|value| value.median) else { continue };
            let ratio = case.ratio(Figure::Value, &entry.candidate, case.baseline);
            rows.push(Row {
                suite: case.suite,
                case: &case.name,
                candidate: &entry.candidate,
                tasks: case.tasks,
                size: case.size,
                unit: case.unit,
                median,
                ratio: ratio.map(|ratio| ratio.median),
                version: &entry.version,
            });
        }
    }
    rows
}
