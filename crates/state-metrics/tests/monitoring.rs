//! docs/monitoring asks only for metrics, labels and values that exist, shows every metric, and passes promtool.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers included")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use state_metrics::{ErrorType, LabelSet, MetricSpec, TABLE};

/// Labels that Prometheus, the rules and the instruments' settings bring.
const COMMON_LABELS: &[&str] = &["job", "instance", "backend", "le", "status"];

fn monitoring(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/monitoring").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(monitoring(path)).unwrap()
}

/// Every panel query of every board, with where it stands.
fn panel_queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for entry in fs::read_dir(monitoring("dashboards")).unwrap() {
        let board: Value = serde_json::from_str(&fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        for panel in board["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let place = format!("{} / {}", board["title"], panel["title"]);
                queries.push((place, target["expr"].as_str().unwrap().to_owned()));
            }
        }
    }
    assert!(queries.len() > 40, "{}", queries.len());
    queries
}

/// A file of rules without its comments.
fn rules(path: &str) -> String {
    let text = read(path);
    text.lines().filter(|line| !line.trim_start().starts_with('#')).map(|line| format!("{line}\n")).collect()
}

fn all_queries() -> Vec<(String, String)> {
    let files = ["recording-rules.yml", "alert-rules.yml"].map(|path| (path.to_owned(), rules(path)));
    panel_queries().into_iter().chain(files).collect()
}

/// Names in `query` that begin with `prefix`, each with what follows it.
fn names<'a>(query: &'a str, prefix: &str) -> Vec<(&'a str, &'a str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    query
        .match_indices(prefix)
        .filter(|(at, _)| !query[..*at].ends_with(is_name))
        .map(|(at, _)| {
            let rest = &query[at..];
            rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()))
        })
        .collect()
}

fn spec(name: &str) -> &'static MetricSpec {
    let name = name.strip_prefix("redis_").unwrap();
    let base =
        ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    TABLE
        .iter()
        .find(|spec| spec.name == base || spec.name == name)
        .unwrap_or_else(|| panic!("no metric {name}"))
}

#[test]
fn queries_use_metrics_labels_and_values_that_exist() {
    for (place, query) in all_queries() {
        for (name, rest) in names(&query, "redis_") {
            let spec = spec(name);
            let matchers = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
            for matcher in matchers.split(',').filter(|matcher| !matcher.is_empty()) {
                check_matcher(&place, spec, matcher);
            }
        }
    }
}

fn check_matcher(place: &str, spec: &MetricSpec, matcher: &str) {
    let (label, value) = matcher.split_once('=').unwrap();
    let label = label.trim_end_matches('!');
    if ["job", "backend", "le"].contains(&label) {
        return;
    }
    let set = spec.labels.iter().find(|set| set.name == label);
    let set = set.unwrap_or_else(|| panic!("{place}: {} has no label {label}", spec.name));
    let values = set.values.unwrap();
    for value in value.trim_start_matches('~').trim_matches('"').split('|') {
        assert!(values.contains(&value), "{place}: {label} has no value {value}");
    }
}

#[test]
fn queries_group_by_labels_that_exist() {
    let known: BTreeSet<&str> = TABLE
        .iter()
        .flat_map(|spec| spec.labels)
        .map(|label: &LabelSet| label.name)
        .chain(COMMON_LABELS.iter().copied())
        .collect();
    for (place, query) in all_queries() {
        for group in query.split("by (").skip(1) {
            for label in group.split(')').next().unwrap().split(',') {
                assert!(known.contains(label.trim()), "{place}: no label {label}");
            }
        }
    }
}

#[test]
fn recorded_series_are_recorded() {
    let rules = read("recording-rules.yml");
    let recorded: BTreeSet<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect();
    for (place, query) in all_queries() {
        for (name, _) in names(&query, "state:") {
            assert!(recorded.contains(name), "{place}: {name} is not recorded");
        }
    }
}

#[test]
fn every_metric_is_on_a_board() {
    let shown: BTreeSet<&str> = panel_queries()
        .iter()
        .map(|(_, query)| query.clone())
        .chain([rules("recording-rules.yml")])
        .flat_map(|query| names(&query, "redis_").iter().map(|(name, _)| spec(name).name).collect::<Vec<_>>())
        .collect();
    let all: BTreeSet<&str> = TABLE.iter().map(|spec| spec.name).collect();
    assert_eq!(shown, all);
}

#[test]
fn the_error_budget_counts_exactly_the_service_faults() {
    let faults: Vec<&str> =
        ErrorType::ALL.iter().filter(|kind| kind.is_service_fault()).map(|kind| kind.as_str()).collect();
    let rules = read("recording-rules.yml");
    let mut found = 0;
    for matcher in rules.split("error_type=~\"").skip(1) {
        let listed: BTreeSet<&str> = matcher.split('"').next().unwrap().split('|').collect();
        assert_eq!(listed, faults.iter().copied().collect());
        found += 1;
    }
    assert_eq!(found, 7, "one a window");
}

#[test]
fn promtool_accepts_rules_and_configuration() {
    for arguments in [
        &["check", "rules", "recording-rules.yml", "alert-rules.yml"][..],
        &["check", "config", "prometheus.yml"],
        &["test", "rules", "rules-test.yml"],
    ] {
        let mut promtool = Command::new("promtool");
        let Ok(output) = promtool.args(arguments).current_dir(monitoring(".")).output() else {
            assert!(std::env::var_os("REQUIRE_PROMTOOL").is_none(), "promtool is missing");
            eprintln!("NOT CHECKED: promtool is missing (Debian package `prometheus`)");
            return;
        };
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}
