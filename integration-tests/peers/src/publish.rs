//! The results as a page of the documents.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Outcome;
use crate::case::Case;
use crate::figures::Verdict;
use crate::machine::Machine;
use crate::suites;
use crate::table::{HEADS, cells, title, verdict_cells};

const METHOD: &str = include_str!("publish/method.md");
const BOUNDS: &str = include_str!("publish/bounds.md");

/// Writes the page to `file`.
///
/// # Errors
/// When it cannot be written.
pub fn write(file: &Path, machine: &Machine, cases: &[Case], verdicts: &[Verdict]) -> Outcome<()> {
    let mut page = String::from(
        "# Benchmarks\n\nWritten by `cargo xtask bench --publish`; do not edit. Every figure is of one run.\n\n## Where\n\n| | |\n|---|---|\n",
    );
    for (name, text) in &machine.0 {
        writeln!(page, "| {name} | {text} |")?;
    }
    page += "\n## Promises\n\n";
    let verdicts: Vec<_> = verdicts.iter().map(verdict_cells).collect();
    rows(&mut page, &["outcome", "promise", "measured", "95 %", "n"], &verdicts)?;
    writeln!(page, "\n{BOUNDS}\n{METHOD}")?;
    for suite in suites::ALL {
        writeln!(page, "## Suite `{}`\n\n{}\n", suite.name, suite.question)?;
        for case in cases.iter().filter(|case| case.suite == suite.name) {
            writeln!(page, "**{}**; baseline {}\n", title(case), case.baseline)?;
            let lines: Vec<_> = case.entries.iter().map(|entry| cells(case, entry)).collect();
            rows(&mut page, &HEADS, &lines)?;
            page.push('\n');
        }
    }
    Ok(fs::write(file, page.trim_end().to_owned() + "\n")?)
}

fn rows<const N: usize>(page: &mut String, heads: &[&str; N], lines: &[[String; N]]) -> Outcome<()> {
    writeln!(page, "| {} |\n|{}", heads.join(" | "), "---|".repeat(N))?;
    for line in lines {
        writeln!(page, "| {} |", line.join(" | "))?;
    }
    Ok(())
}
