//! What is recorded arrives: in the statistics, in the recorder, in the right series.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers included")]

use std::time::{Duration, Instant};

use metrics_util::MetricKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use state_metrics::{
    BatchKind, BreakerState, Codec, ConnectionEvent, ErrorType, HedgeOutcome, HotKeysConfig, Instruments,
    InstrumentsConfig, Lock, LockEnd, LockKind, LockMode, LockOutcome, LossReason, Op, Operation, Outcome,
    Pool, PoolState, Publishing, Rejection, SlowLogConfig,
};

fn manual() -> InstrumentsConfig {
    InstrumentsConfig::default().with_publishing(Publishing::Manual)
}

fn get(outcome: Outcome, micros: u64) -> Operation<'static> {
    let started = Instant::now();
    Operation::new(Op::Get, outcome, started, started + Duration::from_micros(micros)).with_key(b"user:1")
}

/// The value of the series with this name and exactly these labels.
fn value(snapshotter: &Snapshotter, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    snapshotter.snapshot().into_vec().into_iter().find_map(|(key, _, _, value)| {
        let found: Vec<_> = key.key().labels().map(|label| (label.key(), label.value())).collect();
        (key.key().name() == name && found == labels).then_some(match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.0,
            DebugValue::Histogram(samples) => samples.len() as f64,
        })
    })
}

#[test]
fn statistics_follow_from_what_was_recorded() {
    let instruments = Instruments::new(&manual()).unwrap();
    for micros in 1..=100 {
        instruments.record(&get(Outcome::Success, micros * 10).with_bytes(10, 0).with_lookups(1, 0));
    }
    instruments.record(&get(Outcome::Success, 50).with_lookups(0, 1));
    instruments.record(&get(Outcome::Error(ErrorType::Timeout), 200_000).with_attempts(3, Duration::ZERO));
    instruments.record(&get(Outcome::Cancelled, 10));
    let stats = instruments.stats();
    assert_eq!(stats.operations_total, 103);
    assert_eq!((stats.operations_success, stats.operations_failed, stats.operations_cancelled), (101, 1, 1));
    assert_eq!((stats.bytes_read, stats.cache_hits, stats.cache_misses), (1000, 100, 1));
    assert_eq!(stats.hit_ratio(), Some(100.0 / 101.0));
    assert_eq!(stats.slow_queries, 1, "the failed operation was slow");
    assert_eq!(stats.avg_latency_us, ((10 * 5050 + 50 + 200_000 + 10) as f64 / 103.0).round() as u64);
    assert!((stats.latency.p50_us - 500.0).abs() <= 500.0 / 60.0, "{}", stats.latency.p50_us);
    assert!((stats.latency.max_us - 200_000.0).abs() <= 200_000.0 / 60.0);
    assert_eq!(instruments.latency(Op::Get).count(), 101);
    assert_eq!(stats.operations.len(), 1);
}

#[test]
fn a_delta_has_the_counts_and_quantiles_of_the_interval() {
    let instruments = Instruments::new(&manual()).unwrap();
    (0..100).for_each(|_| instruments.record(&get(Outcome::Success, 10_000)));
    let before = instruments.stats();
    (0..10).for_each(|_| instruments.record(&get(Outcome::Success, 100).with_bytes(1, 0)));
    instruments.retry(Op::Get, ErrorType::Timeout, 1, Duration::ZERO);
    let delta = instruments.stats().delta(&before);
    assert_eq!((delta.operations_total, delta.bytes_read, delta.resilience.retries), (10, 10, 1));
    assert!(delta.latency.p99_us < 110.0, "{}", delta.latency.p99_us);
    assert_eq!(delta.avg_latency_us, 100);
    assert_eq!(delta.operations[0].success, 10);
    let nothing = before.delta(&before);
    assert_eq!((nothing.operations_total, nothing.operations.len()), (0, 0));
}

#[test]
fn statistics_survive_json() {
    let instruments = Instruments::new(&manual()).unwrap();
    instruments.record(&get(Outcome::Success, 77));
    let stats = instruments.stats();
    let json = serde_json::to_string(&stats).unwrap();
    assert_eq!(serde_json::from_str::<state_metrics::BackendStats>(&json).unwrap(), stats);
}

#[test]
fn every_event_reaches_its_statistic() {
    let instruments = Instruments::new(&manual()).unwrap();
    let node = instruments.endpoint("10.0.0.1:6379");
    let lock = Lock::new(LockMode::Quorum, LockKind::Mutex);
    let second = Duration::from_secs(1);
    instruments.connected(node, second);
    instruments.disconnected(node, LossReason::Stalled);
    instruments.disconnected(node, LossReason::Closed);
    instruments.connection_event(ConnectionEvent::MasterSwitched);
    instruments.connection_event(ConnectionEvent::ConnectFailed);
    instruments.pool_state(Pool::Dedicated, PoolState { active: 3, idle: 2, pending: 1, max: 8 });
    instruments.pool_timed_out(Pool::Dedicated, second);
    instruments.queue_waited(second);
    instruments.batch_sent(BatchKind::Read, 32);
    instruments.compressed(Codec::Lz4, 1000, 250);
    Rejection::ALL.iter().for_each(|reason| instruments.rejected(*reason));
    instruments.hedged(HedgeOutcome::Won);
    instruments.fell_back(Op::Get);
    instruments.breaker(node, None, BreakerState::Closed);
    instruments.breaker(node, Some(BreakerState::Closed), BreakerState::Open);
    instruments.lock_attempted(lock, LockOutcome::Acquired, second);
    instruments.lock_attempted(lock, LockOutcome::Held, second);
    instruments.lock_released(lock, LockEnd::Released, second);
    instruments.lock_renewed(lock);
    instruments.lock_lost(lock, second);
    let stats = instruments.stats();
    assert_eq!(
        (stats.connections.connected, stats.connections.lost, stats.connections.connect_failed),
        (1, 1, 1),
        "a connection its owner closed is not lost"
    );
    assert_eq!(stats.connections.masters_switched, 1);
    let pool = stats.pools.iter().find(|pool| pool.pool == Pool::Dedicated).unwrap();
    assert_eq!((pool.active, pool.idle, pool.pending, pool.max, pool.timeouts), (3, 2, 1, 8, 1));
    assert_eq!((stats.batches.sent, stats.batches.operations), (1, 32));
    assert_eq!(stats.compression_ratio(), Some(4.0));
    let resilience = stats.resilience;
    assert_eq!((resilience.overload_rejections, resilience.breaker_rejections), (3, 1));
    assert_eq!((resilience.retry_budget_exhausted, resilience.hedges_won, resilience.fallbacks), (1, 1, 1));
    assert_eq!((resilience.breaker_openings, resilience.breakers_open), (1, 1));
    assert_eq!((stats.locks.acquired, stats.locks.not_acquired, stats.locks.lost), (1, 1, 1));
    assert_eq!(stats.locks.hold.histogram.count(), 2);
}

#[test]
fn a_recorder_gets_only_what_is_new_each_time() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let instruments = Instruments::new(&manual().with_prefix("app").with_label("zone", "a")).unwrap();
        let labels = [("zone", "a"), ("operation", "get"), ("status", "success")];
        assert_eq!(value(&snapshotter, "app_operations_total", &labels), Some(0.0), "pre-zeroed");
        (0..5).for_each(|_| instruments.record(&get(Outcome::Success, 70)));
        instruments.publish();
        instruments.publish();
        // The debugging recorder hands each increment out once, so a second look shows the difference.
        let counted = value(&snapshotter, "app_operations_total", &labels);
        assert_eq!(counted, Some(5.0));
        instruments.record(&get(Outcome::Success, 70));
        instruments.publish();
        assert_eq!(value(&snapshotter, "app_operation_duration_seconds", &labels), Some(1.0));
    });
}

#[test]
fn a_late_recorder_gets_what_was_counted_before() {
    let instruments = Instruments::new(&manual()).unwrap();
    (0..7).for_each(|_| instruments.record(&get(Outcome::Success, 70)));
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        assert!(instruments.rebind());
        assert!(!instruments.rebind(), "it is bound to this one already");
        instruments.publish();
    });
    let labels = [("operation", "get"), ("status", "success")];
    let name = "redis_operation_duration_seconds";
    let samples = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .filter(|(key, ..)| key.kind() == MetricKind::Histogram && key.key().name() == name);
    assert_eq!(samples.count(), 1, "only series with samples");
    // The counter was read along with it, so the histogram's samples are gone now; a new one arrives alone.
    metrics::with_local_recorder(&recorder, || {
        instruments.record(&get(Outcome::Success, 70));
        instruments.publish();
    });
    assert_eq!(value(&snapshotter, name, &labels), Some(1.0));
}

#[test]
fn publishing_off_touches_no_recorder_and_keeps_statistics() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let config = InstrumentsConfig::default().with_publishing(Publishing::Off);
        let instruments = Instruments::new(&config).unwrap();
        instruments.record(&get(Outcome::Success, 70));
        instruments.publish();
        assert!(!instruments.rebind());
        assert_eq!(instruments.stats().operations_total, 1);
    });
    assert!(snapshotter.snapshot().into_vec().is_empty());
}

#[test]
fn disabled_instruments_answer_with_nothing() {
    let instruments = Instruments::disabled();
    instruments.record(&get(Outcome::Success, 70));
    instruments.publish();
    assert!(!instruments.is_enabled() && !instruments.rebind());
    assert_eq!(instruments.stats(), Default::default());
    assert!(instruments.slow_operations().is_empty() && instruments.hot_keys().is_empty());
    assert!(instruments.span(Op::Get).is_none());
}

#[test]
fn endpoints_beyond_the_cap_share_one_label_and_no_gauge() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let instruments = Instruments::new(&manual()).unwrap();
        for port in 0..200 {
            let node = instruments.endpoint(&format!("redis://u:pw@10.0.0.1:{port}"));
            instruments.breaker(node, Some(BreakerState::Closed), BreakerState::Open);
        }
        assert_eq!(instruments.stats().resilience.breaker_openings, 200);
        instruments.publish();
    });
    let series = snapshotter.snapshot().into_vec();
    let of = |name: &str| series.iter().filter(|(key, ..)| key.key().name() == name).collect::<Vec<_>>();
    assert_eq!(of("redis_circuit_breaker_state").len(), 64);
    let transitions = of("redis_circuit_breaker_transitions_total");
    assert_eq!(transitions.len(), 65 * BreakerState::ALL.len());
    assert!(
        transitions
            .iter()
            .flat_map(|(key, ..)| key.key().labels())
            .all(|label| !label.value().contains("pw"))
    );
}

#[test]
fn random_keys_and_errors_never_grow_the_number_of_series() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let config = manual()
            .with_hot_keys(HotKeysConfig::default().with_sample_one_in(1_u32))
            .with_slow_log(SlowLogConfig::default().with_threshold(Duration::ZERO));
        let instruments = Instruments::new(&config).unwrap();
        let mut counts = Vec::new();
        for round in 0..3 {
            for i in 0..2000 {
                let key = format!("key-{round}-{i}");
                let started = Instant::now();
                for op in [Op::Get, Op::Put] {
                    let outcome = Outcome::Error(ErrorType::ALL[i % ErrorType::ALL.len()]);
                    instruments
                        .record(&Operation::new(op, outcome, started, started).with_key(key.as_bytes()));
                }
            }
            instruments.publish();
            counts.push(snapshotter.snapshot().into_vec().len());
        }
        assert_eq!(counts[0], counts[2], "{counts:?}");
        assert_eq!(instruments.slow_operations().len(), 128);
        assert!(instruments.hot_keys().len() <= 256);
    });
}

#[test]
fn a_late_recorder_gets_no_long_history_of_samples_and_a_burst_is_none() {
    const LONG: u64 = 300_000;
    let instruments = Instruments::new(&manual()).unwrap();
    let burst = || (0..LONG).for_each(|_| instruments.record(&get(Outcome::Success, 70)));
    burst();
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let labels = [("operation", "get"), ("status", "success")];
    metrics::with_local_recorder(&recorder, || {
        instruments.rebind();
        assert_eq!(value(&snapshotter, "redis_operations_total", &labels), Some(LONG as f64));
        burst();
        instruments.publish();
        // The long history is left out; the equally long burst since is not.
        assert_eq!(value(&snapshotter, "redis_operation_duration_seconds", &labels), Some(LONG as f64));
    });
}
