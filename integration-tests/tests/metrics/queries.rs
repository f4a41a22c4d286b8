//! The queries of all panels and rules, with Grafana's variables filled in.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// A query and where it stands.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) place: String,
    pub(crate) expression: String,
}

/// A panel to draw.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) unit: String,
    /// Expressions with their legends.
    pub(crate) targets: Vec<(String, String)>,
}

/// Panels whose graphs are in the documentation.
const PICTURED: &[&str] = &[
    "Operations by kind",
    "Latency of successes",
    "Errors by reason",
    "Wait for a connection",
    "Batch size",
    "Refused calls",
    "Retries by operation",
    "Hold",
];

pub(crate) fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring")
}

/// Every query of every panel and rule.
pub(crate) fn all() -> Vec<Query> {
    let mut queries = rules();
    for panel in panels() {
        for (expression, _) in panel.targets {
            queries.push(Query { place: panel.title.clone(), expression });
        }
    }
    assert!(queries.len() > 80, "{}", queries.len());
    queries
}

pub(crate) fn pictured() -> Vec<Panel> {
    let pictured: Vec<Panel> =
        panels().into_iter().filter(|panel| PICTURED.contains(&&*panel.title)).collect();
    assert_eq!(pictured.len(), PICTURED.len());
    pictured
}

fn panels() -> Vec<Panel> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory().join("dashboards")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let boards = files.iter().map(|path| serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap());
    boards
        .flat_map(|board: Value| {
            board["panels"].as_array().unwrap().iter().filter_map(panel).collect::<Vec<_>>()
        })
        .collect()
}

fn panel(panel: &Value) -> Option<Panel> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let target = |target: &Value| (fill_in(&text(&target["expr"])), text(&target["legendFormat"]));
    Some(Panel {
        title: text(&panel["title"]),
        unit: text(&panel["fieldConfig"]["defaults"]["unit"]),
        targets: panel["targets"].as_array()?.iter().map(target).collect(),
    })
}

fn fill_in(expression: &str) -> String {
    let filled =
        expression.replace("$__rate_interval", "5s").replace("$job", "state").replace("$backend", ".*");
    assert!(!filled.contains('$'), "{filled}");
    filled
}

/// The rules' expressions: what follows `expr:`, on the line or folded below it, as these files are written.
fn rules() -> Vec<Query> {
    let mut queries = Vec::new();
    for file in ["recording-rules.yml", "alert-rules.yml"] {
        let text = fs::read_to_string(directory().join(file)).unwrap();
        let mut lines = text.lines().peekable();
        let mut name = String::new();
        while let Some(line) = lines.next() {
            let trimmed = line.trim();
            if let Some(found) =
                trimmed.strip_prefix("- record: ").or_else(|| trimmed.strip_prefix("- alert: "))
            {
                name = found.to_owned();
            } else if trimmed == "expr: >-" {
                let mut parts = Vec::new();
                while let Some(part) = lines.next_if(|line| line.starts_with("          ")) {
                    parts.push(part.trim());
                }
                queries.push(Query { place: format!("{file} {name}"), expression: parts.join(" ") });
            } else if let Some(expression) = trimmed.strip_prefix("expr: ") {
                queries.push(Query { place: format!("{file} {name}"), expression: expression.to_owned() });
            }
        }
    }
    queries
}
