//! The dashboards and rules against a real Prometheus that scrapes a process under load: every panel and every
//! rule returns data, or its reason not to stands here.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers included")]

mod chart;
mod load;
mod prometheus;
mod queries;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use state_metrics::{Exporter, ExporterConfig, HotKeysConfig, Instruments, InstrumentsConfig};

use crate::load::Load;
use crate::prometheus::Prometheus;
use crate::queries::Query;

/// The load fails for a while every few seconds, so that everything has been seen long before this.
const DEADLINE: Duration = Duration::from_secs(120);
/// How much of the load a picture shows.
const PICTURED: Duration = Duration::from_secs(60);

/// Rules that return nothing while all is well, with the reason.
const SILENT: &[(&str, &str)] = &[(
    "StateScrapeAbsent",
    "it fires when nothing is scraped, and this test scrapes; rules-test.yml shows it firing",
)];

/// `cargo xtask dashboards` sets this after it has made sure of a Prometheus; the tests at large do without.
const REQUIRED: &str = "REQUIRE_PROMTOOL";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_panel_and_rule_returns_data_from_a_process_under_load() {
    if !prometheus::is_installed() {
        assert!(std::env::var_os(REQUIRED).is_none(), "there is no `prometheus` on the PATH");
        // Past the harness's capture, which shows nothing of tests that pass.
        let _ = writeln!(
            std::io::stderr(),
            "\n*** NOT RUN: no `prometheus` here; `cargo xtask dashboards` ***\n"
        );
        return;
    }
    let exporter = Exporter::install(&ExporterConfig::new(([127, 0, 0, 1], 0))).await.unwrap();
    let config = InstrumentsConfig::default().with_instance("demo").with_hot_keys(HotKeysConfig::grouped());
    let load = Load::start(Instruments::new(&config).unwrap());
    let prometheus = Prometheus::start(exporter.address());
    let started = Instant::now();

    let (silent, mut pending): (Vec<Query>, Vec<Query>) = queries::all()
        .into_iter()
        .partition(|query| SILENT.iter().any(|(name, _)| query.place.contains(name)));
    let total = pending.len();
    while !pending.is_empty() {
        assert!(started.elapsed() < DEADLINE, "no data after {DEADLINE:?}: {pending:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
        pending.retain(|query| !prometheus.has_data(&query.expression));
    }
    println!("{total} queries returned data within {:?}", started.elapsed());
    assert_eq!(silent.len(), SILENT.len());
    for query in &silent {
        assert!(!prometheus.has_data(&query.expression), "{} fires", query.place);
    }
    assert_eq!(prometheus.failing_rules(), BTreeMap::new());

    if std::env::var_os("UPDATE_DOCS").is_some() {
        tokio::time::sleep(PICTURED.saturating_sub(started.elapsed())).await;
        queries::pictured().iter().for_each(|panel| chart::write(panel, &prometheus, PICTURED));
    }
    load.stop();
    exporter.shutdown().await;
}
