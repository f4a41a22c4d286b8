//! The results as a page that needs nothing beside itself.

use std::fs;
use std::path::Path;

use crate::Outcome;
use crate::case::Case;
use crate::charts;
use crate::figures::{self, Verdict};
use crate::machine::Machine;
use crate::suites;
use crate::table::{HEADS, cells, title, verdict_cells};

const STYLE: &str = include_str!("page/style.css");

/// Writes `report.html`.
///
/// # Errors
/// When a plot cannot be drawn, or the folder not be written to.
pub fn write(folder: &Path, machine: &Machine, cases: &[Case], verdicts: &[Verdict]) -> Outcome<()> {
    let mut body = String::from("<h1>Benchmarks of state-redis</h1>");
    body += "<p>Ratios are to the baseline of each case: medians of the pairs within each round, with the 95 % \
             interval of that median. The thin line at 1.0 is the baseline.</p>";
    body += &surroundings(machine);
    body += &promises(verdicts);
    for suite in suites::ALL {
        let cases: Vec<&Case> = cases.iter().filter(|case| case.suite == suite.name).collect();
        if !cases.is_empty() {
            body += &format!("<h2>{}</h2><p>{}</p>", suite.name, suite.question);
            body += &plots(&cases)?;
            body += &tables(&cases);
        }
    }
    let head = "<meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\">\
                <meta name=color-scheme content=\"light dark\"><title>state-redis benchmarks</title>";
    let page = format!(
        "<!doctype html><html lang=en><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>"
    );
    Ok(fs::write(folder.join("report.html"), page)?)
}

fn surroundings(machine: &Machine) -> String {
    let line = |(name, text): &(&str, String)| format!("<tr><th>{name}<td>{}", escape(text));
    format!(
        "<div class=wide><table class=plain>{}</table></div>",
        machine.0.iter().map(line).collect::<String>()
    )
}

fn promises(verdicts: &[Verdict]) -> String {
    if verdicts.is_empty() {
        return String::new();
    }
    let line = |verdict: &Verdict| {
        let class = match verdict.outcome {
            figures::Outcome::Met => "met",
            figures::Outcome::Within => "within",
            figures::Outcome::Missed => "missed",
        };
        let cells = verdict_cells(verdict).map(|cell| format!("<td>{}", escape(&cell))).concat();
        format!("<tr class={class}>{cells}")
    };
    let lines: String = verdicts.iter().map(line).collect();
    format!(
        "<h2>Promises</h2><div class=wide><table><tr><th>outcome<th>promise<th>measured<th>95 %<th>n{lines}</table></div>"
    )
}

/// A plot for each group of cases that differ in one number, a row of bars for a case that stands alone.
fn plots(cases: &[&Case]) -> Outcome<String> {
    let mut html = String::from("<div class=plots>");
    for group in groups(cases) {
        let (first, last) = (group[0], group[group.len() - 1]);
        let size = if first.size == last.size && first.suite != "batch" {
            format!(", {} B", first.size)
        } else {
            String::new()
        };
        let caption = format!("{}{size}, ratio of {} to {}", first.name, first.unit, first.baseline);
        let plot =
            if group.len() > 1 { charts::lines(&group)? + &legend(first) } else { charts::bars(first) };
        html += &format!("<figure><figcaption>{caption}</figcaption>{plot}</figure>");
    }
    Ok(html + "</div>")
}

/// Cases of one name that differ in tasks, or in keys.
fn groups<'a>(cases: &[&'a Case]) -> Vec<Vec<&'a Case>> {
    let mut groups: Vec<Vec<&Case>> = Vec::new();
    for case in cases {
        let by_keys = matches!(case.suite, "batch" | "scan");
        let fits = |group: &&mut Vec<&Case>| {
            group[0].name == case.name
                && (by_keys || group[0].size == case.size)
                && group[0].entries.len() >= case.entries.len()
        };
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(case),
            None => groups.push(vec![case]),
        }
    }
    groups
}

fn legend(case: &Case) -> String {
    let item = |entry: &crate::case::Entry| {
        format!(
            "<span><b style=\"background:{}\"></b>{}</span>",
            charts::colour(&entry.candidate),
            entry.candidate
        )
    };
    format!("<div class=legend>{}</div>", case.entries.iter().map(item).collect::<String>())
}

fn tables(cases: &[&Case]) -> String {
    let mut html = String::from("<details><summary>All figures</summary>");
    for case in cases {
        let heads = HEADS.map(|head| format!("<th>{head}")).concat();
        let line = |entry| {
            format!("<tr>{}", cells(case, entry).map(|cell| format!("<td>{}", escape(&cell))).concat())
        };
        let lines: String = case.entries.iter().map(line).collect();
        html += &format!("<h3>{}</h3><div class=wide><table><tr>{heads}{lines}</table></div>", title(case));
    }
    html + "</details>"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
