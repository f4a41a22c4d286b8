//! What is logged, at which level, how often, and that no key is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers included")]

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use state_metrics::{
    BreakerState, ErrorType, Instruments, InstrumentsConfig, Op, Operation, Outcome, Publishing,
    SlowLogConfig, Spans,
};
use tracing::Level;
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The lines logged at `level` and above while `work` runs. One at a time: where two threads meet a line of code that
/// logs for the first time, `tracing` may keep for both what the subscriber of one thread, or none, wants to hear.
fn logged(level: Level, work: impl FnOnce()) -> Vec<String> {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .without_time()
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn instruments(config: InstrumentsConfig) -> Instruments {
    Instruments::new(&config.with_publishing(Publishing::Off)).unwrap()
}

fn get(outcome: Outcome, millis: u64) -> Operation<'static> {
    let ended = Instant::now() + Duration::from_secs(60);
    Operation::new(Op::Get, outcome, ended - Duration::from_millis(millis), ended)
        .with_key(b"user:alice:s3cret")
}

#[test]
fn a_fast_success_logs_nothing_and_a_slow_one_a_warning_without_its_key() {
    let lines = logged(Level::TRACE, || {
        let instruments = instruments(InstrumentsConfig::default());
        instruments.record(&get(Outcome::Success, 1));
        instruments.record(&get(Outcome::Success, 500).with_node("redis://u:hunter2@10.0.0.1:6379"));
    });
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(
        line.contains("WARN") && line.contains("slow operation") && line.contains("elapsed_us=500000"),
        "{line}"
    );
    assert!(line.contains(r#"node="10.0.0.1:6379""#), "{line}");
    for secret in ["alice", "s3cret", "hunter2"] {
        assert!(!line.contains(secret), "{line}");
    }
}

#[test]
fn failures_are_limited_and_the_next_one_tells_how_many_were_left_out() {
    let ended = Instant::now() + Duration::from_secs(60);
    let lines = logged(Level::INFO, || {
        let limits = SlowLogConfig::default().with_events_per_second(2_u32);
        let instruments = instruments(InstrumentsConfig::default().with_slow_log(limits));
        let fail = |at: Instant| {
            let failed = Outcome::Error(ErrorType::Unavailable);
            instruments.record(&Operation::new(Op::Put, failed, at, at).with_key(b"k"));
        };
        (0..50).for_each(|_| fail(ended));
        fail(ended + Duration::from_secs(1));
    });
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[2].contains("suppressed=48"), "{lines:?}");
}

#[test]
fn retries_and_refusals_are_for_debugging_only() {
    let work = || {
        let instruments = instruments(InstrumentsConfig::default());
        instruments.record(&get(Outcome::Success, 1).with_attempts(2, Duration::ZERO));
        instruments.record(&get(Outcome::Error(ErrorType::LockHeld), 1));
        instruments.retry(Op::Get, ErrorType::Timeout, 1, Duration::from_millis(10));
    };
    assert!(logged(Level::INFO, work).is_empty());
    let lines = logged(Level::DEBUG, work);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("DEBUG") && !line.contains("alice")), "{lines:?}");
}

#[test]
fn an_opening_breaker_warns_and_a_closing_one_informs() {
    let lines = logged(Level::INFO, || {
        let instruments = instruments(InstrumentsConfig::default());
        let node = instruments.endpoint("10.0.0.1:6379");
        instruments.breaker(node, None, BreakerState::Closed);
        instruments.breaker(node, Some(BreakerState::Closed), BreakerState::Open);
        instruments.breaker(node, Some(BreakerState::HalfOpen), BreakerState::Closed);
    });
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("WARN") && lines[0].contains(r#"node="10.0.0.1:6379""#), "{lines:?}");
    assert!(lines[1].contains("INFO"), "{lines:?}");
}

#[test]
fn spans_are_opt_in() {
    let work = |spans| {
        move || {
            let instruments = instruments(InstrumentsConfig::default().with_spans(spans));
            instruments.span(Op::Get).in_scope(|| ());
        }
    };
    assert!(logged(Level::TRACE, work(Spans::Off)).is_empty());
    let lines = logged(Level::TRACE, work(Spans::EveryOperation));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(r#"db.operation.name="get""#) && lines[0].contains("client"), "{lines:?}");
}

#[test]
fn the_threshold_can_change_while_running() {
    let instruments = instruments(InstrumentsConfig::default());
    logged(Level::WARN, || {
        instruments.record(&get(Outcome::Success, 50));
        instruments.set_slow_threshold(Duration::from_millis(50));
        instruments.record(&get(Outcome::Error(ErrorType::Timeout), 50));
        instruments.set_slow_threshold(Duration::MAX);
        instruments.record(&get(Outcome::Success, 5000));
    });
    let slow = instruments.slow_operations();
    assert_eq!(slow.len(), 1);
    assert_eq!(slow[0].error_type, Some(ErrorType::Timeout));
    assert_eq!(instruments.stats().slow_queries, 1);
}
