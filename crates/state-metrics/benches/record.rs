//! What recording costs: with a recorder installed, disabled, and from two threads at once.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
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

    let mut group = criterion.benchmark_group("record");
    group.bench_function("get, recorder installed", |b| {
        b.iter(|| instruments.record(black_box(&get(started))))
    });
    group.bench_function("get, hot keys on", |b| b.iter(|| hot.record(black_box(&get(started)))));
    group.bench_function("get, disabled", |b| b.iter(|| disabled.record(black_box(&get(started)))));
    group.bench_function("failed get, recorder installed", |b| {
        let failed = Operation::new(Op::Get, Outcome::Error(ErrorType::Timeout), started, started);
        b.iter(|| instruments.record(black_box(&failed)));
    });
    group.bench_function("get, two threads on one handle", |b| {
        b.iter_custom(|iterations| two_threads(&instruments, iterations));
    });
    group.finish();

    criterion.bench_function("stats", |b| b.iter(|| black_box(instruments.stats())));
    criterion.bench_function("publish, nothing new", |b| b.iter(|| instruments.publish()));
    criterion.bench_function("render", |b| b.iter(|| black_box(prometheus.render())));
}

/// The time both threads need for `iterations` each.
fn two_threads(instruments: &Instruments, iterations: u64) -> Duration {
    let barrier = Barrier::new(2);
    let run = || {
        barrier.wait();
        let started = Instant::now();
        (0..iterations).for_each(|_| instruments.record(black_box(&get(started))));
        started.elapsed()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(run);
        let own = run();
        own.max(other.join().expect("the other thread"))
    })
}

criterion_group!(benches, record);
criterion_main!(benches);
