//! The exported text: names, values, and what promtool says about them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers included")]

mod common;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use state_metrics::{
    HotKeysConfig, Instruments, InstrumentsConfig, Naming, Op, Operation, Outcome, Prometheus, Publishing,
    TABLE,
};

fn scrape(config: InstrumentsConfig) -> String {
    let prometheus = Prometheus::new(config.naming).unwrap();
    let hot_keys = HotKeysConfig::default().with_sample_one_in(1_u32);
    let config = config.with_publishing(Publishing::Manual).with_hot_keys(hot_keys);
    let instruments = Instruments::new(&config).unwrap();
    assert!(instruments.bind(prometheus.recorder()));
    common::touch_everything(&instruments);
    prometheus.render()
}

/// The families of a scrape, as `# TYPE` declares them, without those of other tests' instruments.
fn families(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn the_seven_names_are_exported_exactly() {
    let text = scrape(InstrumentsConfig::default());
    for (name, kind) in [
        ("redis_operations_total", "counter"),
        ("redis_operation_duration_seconds", "histogram"),
        ("redis_pool_connections_active", "gauge"),
        ("redis_pool_connections_idle", "gauge"),
        ("redis_circuit_breaker_state", "gauge"),
        ("redis_compression_ratio", "gauge"),
        ("redis_errors_total", "counter"),
    ] {
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}\n{text}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
    assert!(!text.contains("_total_total"));
}

#[test]
fn every_metric_of_the_table_is_exported_and_nothing_else() {
    let expected: BTreeSet<String> = TABLE.iter().map(|spec| format!("app_{}", spec.name)).collect();
    assert_eq!(families(&scrape(InstrumentsConfig::default().with_prefix("app"))), expected);
}

#[test]
fn values_arrive_exact() {
    let text = scrape(InstrumentsConfig::default().with_instance("orders").with_label("zone", "a"));
    let common = r#"backend="orders",zone="a""#;
    let get = format!(r#"{common},operation="get",status="success""#);
    for line in [
        format!("redis_operations_total{{{get}}} 3"),
        format!(r#"redis_operations_total{{{common},operation="get",status="error"}} 1"#),
        format!(r#"redis_operations_total{{{common},operation="scan",status="error"}} 0"#),
        format!(r#"redis_errors_total{{{common},error_type="timeout"}} 1"#),
        format!(r#"redis_errors_total{{{common},error_type="internal"}} 0"#),
        // 50 us falls into the bucket of 50 us, 51 us into the next.
        format!(r#"redis_operation_duration_seconds_bucket{{{get},le="0.00005"}} 1"#),
        format!(r#"redis_operation_duration_seconds_bucket{{{get},le="0.0001"}} 2"#),
        format!(r#"redis_operation_duration_seconds_bucket{{{get},le="0.0025"}} 2"#),
        format!(r#"redis_operation_duration_seconds_bucket{{{get},le="0.005"}} 3"#),
        format!("redis_operation_duration_seconds_count{{{get}}} 3"),
        format!(r#"redis_pool_connections_active{{{common},pool="dedicated"}} 3"#),
        format!(r#"redis_circuit_breaker_state{{{common},endpoint="10.0.0.1:6379"}} 1"#),
        format!(r#"redis_compression_ratio{{{common},codec="lz4"}} 3.7037037037037037"#),
        format!(r#"redis_batch_size_bucket{{{common},kind="read",le="32"}} 1"#),
        format!(r#"redis_batch_size_bucket{{{common},kind="read",le="16"}} 0"#),
        format!(r#"redis_hot_key_share{{{common},rank="1"}} 1"#),
        format!(r#"redis_lock_hold_duration_seconds_bucket{{{common},mode="single",kind="mutex",le="1"}} 5"#),
        format!(
            r#"redis_lock_hold_duration_seconds_bucket{{{common},mode="single",kind="mutex",le="0.5"}} 0"#
        ),
        format!("redis_read_bytes_total{{{common}}} 35"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
    }
    let sum: f64 = value(&text, &format!("redis_operation_duration_seconds_sum{{{get}}}"));
    assert!((sum - 0.004_101).abs() < 1e-9, "{sum}");
}

fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(series)).unwrap_or_else(|| panic!("{series}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn bucket_counts_and_sums_stay_exact_over_many_publishings() {
    let prometheus = Prometheus::new(Naming::Prometheus).unwrap();
    let instruments =
        Instruments::new(&InstrumentsConfig::default().with_publishing(Publishing::Manual)).unwrap();
    instruments.bind(prometheus.recorder());
    let started = Instant::now();
    let (mut sum, mut below) = (0_u64, 0_u64);
    for i in 0..20_000_u64 {
        let nanos = (i * 7_919) % 3_000_000;
        sum += nanos;
        below += u64::from(nanos <= 250_000);
        let ended = started + Duration::from_nanos(nanos);
        instruments.record(&Operation::new(Op::Get, Outcome::Success, started, ended));
        if i % 1_000 == 0 {
            instruments.publish();
        }
    }
    let text = prometheus.render();
    let get = r#"operation="get",status="success""#;
    let found = value(&text, &format!("redis_operation_duration_seconds_sum{{{get}}}"));
    assert!((found - sum as f64 / 1e9).abs() < 1e-6, "{found} for {sum}");
    let bucket = format!(r#"redis_operation_duration_seconds_bucket{{{get},le="0.00025"}}"#);
    assert!((value(&text, &bucket) - below as f64).abs() < 0.5);
}

#[test]
fn the_other_scheme_follows_the_semantic_conventions() {
    let text =
        scrape(InstrumentsConfig::default().with_naming(Naming::OpenTelemetry).with_instance("orders"));
    let labels =
        r#"db_system_name="redis",state_backend="orders",db_operation_name="get",state_status="success""#;
    for line in [
        format!("db_client_operation_duration_seconds_count{{{labels}}} 3"),
        format!("state_client_operations_total{{{labels}}} 3"),
        r#"state_client_errors_total{db_system_name="redis",state_backend="orders",error_type="timeout"} 1"#
            .to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
    }
    assert_eq!(families(&text).len(), TABLE.len());
    assert!(!text.contains("_total_total") && !text.contains("_seconds_seconds"));
    assert!(!text.contains("quantile="), "each histogram has buckets\n{text}");
}

/// The scrape of a fixed workload, sorted; a change of what is exported changes this file, and has to be meant.
#[test]
fn the_scrape_is_the_golden_one() {
    let text = scrape(InstrumentsConfig::default().with_instance("orders"));
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    let current = lines.join("\n") + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/scrape.prom");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (found, expected) in current.lines().zip(golden.lines()) {
        assert_eq!(found, expected, "rerun with UPDATE_DOCS=1 if it is meant");
    }
    assert_eq!(current.lines().count(), golden.lines().count());
}

#[test]
fn promtool_accepts_both_schemes() {
    for naming in [Naming::Prometheus, Naming::OpenTelemetry] {
        let text = scrape(InstrumentsConfig::default().with_naming(naming).with_instance("orders"));
        let Some((accepted, said)) = promtool(&text) else {
            // Installing it needs root, so a machine without it may run the other tests; the workspace's CI installs
            // Debian's package `prometheus` and sets this variable.
            assert!(std::env::var_os("REQUIRE_PROMTOOL").is_none(), "promtool is missing");
            eprintln!("NOT CHECKED: promtool is missing (Debian package `prometheus`)");
            return;
        };
        assert!(accepted && said.is_empty(), "{naming:?}: {said}");
    }
}

/// What `promtool check metrics` says; `None` where there is none.
fn promtool(text: &str) -> Option<(bool, String)> {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    child.stdin.take()?.write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}
