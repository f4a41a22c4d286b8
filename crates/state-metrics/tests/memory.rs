//! Memory does not grow with the number of samples, nobody scraping.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers included")]

use std::time::{Duration, Instant};

use state_metrics::{Instruments, InstrumentsConfig, Naming, Op, Operation, Outcome, Prometheus};

const SAMPLES: u64 = 5_000_000;

/// The only test of this binary, since it looks at the memory of the whole process.
#[test]
fn memory_stays_flat_over_five_million_samples() {
    let prometheus = Prometheus::new(Naming::Prometheus).unwrap();
    prometheus.install().unwrap();
    let instruments = Instruments::new(&InstrumentsConfig::default()).unwrap();
    let record = |count: u64| {
        let started = Instant::now();
        for i in 0..count {
            let ended = started + Duration::from_nanos(50_000 + i % 1_000_000);
            instruments.record(&Operation::new(Op::Get, Outcome::Success, started, ended));
            // About half a million a second, so that publishing and upkeep have their turns, as in a busy process.
            if i % 50_000 == 0 {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    };
    record(100_000);
    let before = resident_mib();
    record(SAMPLES);
    let after = resident_mib();
    println!("resident: {before:.1} MiB before, {after:.1} MiB after {SAMPLES} samples");
    // Kept until a scrape, they would be 80 MB.
    assert!(after - before < 40.0, "{before} MiB grew to {after} MiB");
    let text = prometheus.render();
    let count = r#"redis_operation_duration_seconds_count{operation="get",status="success"} 5100000"#;
    let counts: Vec<_> =
        text.lines().filter(|line| line.contains("_count{") && !line.ends_with(" 0")).collect();
    assert!(counts.contains(&count), "{counts:#?}");
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
