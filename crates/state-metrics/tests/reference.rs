//! docs/metrics.md is what the table says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers included")]

use std::path::Path;

#[test]
fn the_metrics_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let current = state_metrics::reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(
        written == current,
        "docs/metrics.md is stale: run UPDATE_DOCS=1 cargo test -p state-metrics --test reference"
    );
}
