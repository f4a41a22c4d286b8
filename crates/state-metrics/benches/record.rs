//! What recording costs: with a recorder installed, disabled, and from two threads at once.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use rustix::time::{ClockId, clock_gettime};
use state_metrics::{
    ErrorType, HotKeysConfig, Instruments, InstrumentsConfig, Naming, Op, Operation, Outcome, Prometheus,
};

fn get(started: Instant) -> Operation<'static> {
    Operation::new(Op::Get, Outcome::Success, started, started + Duration::from_micros(87))
        .with_bytes(64, 0)
        .with_lookups(1, 0)
        .with_key(b"user:123:cart")
}

fn record(criterion: &mut Criterion) {
    let prometheus = Prometheus::new(Naming::Prometheus).expect("a recorder");
    prometheus.install().expect("the first recorder of the process");
    let instruments = Instruments::new(&InstrumentsConfig::default()).expect("valid settings");
    let hot = InstrumentsConfig::default().with_hot_keys(HotKeysConfig::default()).with_instance("hot");
    let hot = Instruments::new(&hot).expect("valid settings");
    let disabled = Instruments::disabled();
    let started = Instant::now();

    let done = get(started);
    let failed = Operation::new(Op::Get, Outcome::Error(ErrorType::Timeout), started, started);
    let mut group = criterion.benchmark_group("record");
    group.bench_function("get, recorder installed", |b| {
        per_thread(b, || instruments.record(black_box(&done)))
    });
    group.bench_function("get, hot keys on", |b| per_thread(b, || hot.record(black_box(&done))));
    group.bench_function("get, disabled", |b| per_thread(b, || disabled.record(black_box(&done))));
    group.bench_function("failed get, recorder installed", |b| {
        per_thread(b, || instruments.record(black_box(&failed)));
    });
    group.bench_function("get, two threads on one handle", |b| {
        b.iter_custom(|iterations| two_threads(iterations, || instruments.record(black_box(&done))));
    });
    group.finish();

    criterion.bench_function("stats", |b| b.iter(|| black_box(instruments.stats())));
    criterion.bench_function("publish, nothing new", |b| b.iter(|| instruments.publish()));
    criterion.bench_function("render", |b| b.iter(|| black_box(prometheus.render())));
}

/// Measures the thread's own processor time, so that other load on the machine does not count.
fn per_thread(bencher: &mut Bencher<'_>, work: impl Fn()) {
    bencher.iter_custom(|iterations| processor_time(iterations, &work));
}

fn processor_time(iterations: u64, work: &impl Fn()) -> Duration {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a clock past its start");
    let before = now();
    (0..iterations).for_each(|_| work());
    now() - before
}

/// The processor time of the slower of two threads that run at once, for `iterations` each.
fn two_threads(iterations: u64, work: impl Fn() + Sync) -> Duration {
    let barrier = Barrier::new(2);
    let run = || {
        barrier.wait();
        processor_time(iterations, &work)
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(run);
        let own = run();
        own.max(other.join().expect("the other thread"))
    })
}

criterion_group!(benches, record);
criterion_main!(benches);
