//! Recording allocates nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers included")]

use std::alloc::System;
use std::time::{Duration, Instant};

use state_metrics::{
    BatchKind, Codec, ErrorType, Instruments, InstrumentsConfig, Op, Operation, Outcome, Publishing,
    Rejection,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The only test of this binary: another thread's allocations would be counted too. So is the publishing thread
/// off; what it does is not on the path of operations. The test harness's own thread may allocate during one round;
/// what recording allocates, it allocates in each.
#[test]
fn recording_allocates_nothing_after_the_first_of_its_kind() {
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    recorder.install().unwrap();
    let config = InstrumentsConfig::default().with_publishing(Publishing::Manual);
    let instruments = Instruments::new(&config).unwrap();
    let record = || {
        let started = Instant::now();
        let ended = started + Duration::from_micros(90);
        let get = Operation::new(Op::Get, Outcome::Success, started, ended);
        instruments
            .record(&get.with_bytes(64, 0).with_lookups(1, 0).with_key(b"user:1").with_node("10.0.0.1:6379"));
        let held = Outcome::Error(ErrorType::LockHeld);
        instruments.record(&Operation::new(Op::LockAcquire, held, started, ended).with_key(b"lock"));
        instruments.retry(Op::Get, ErrorType::Timeout, 1, Duration::ZERO);
        instruments.rejected(Rejection::Bulkhead);
        instruments.batch_sent(BatchKind::Read, 32);
        instruments.compressed(Codec::Lz4, 1000, 300);
        drop(instruments.span(Op::Get));
    };
    record();
    let round = || {
        let region = Region::new(ALLOCATOR);
        (0..1000).for_each(|_| record());
        let change = region.change();
        change.allocations + change.reallocations
    };
    let rounds: Vec<usize> = (0..5).map(|_| round()).collect();
    assert_eq!(rounds.iter().min(), Some(&0), "{rounds:?}");
}
