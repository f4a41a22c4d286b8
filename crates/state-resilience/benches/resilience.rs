//! What each guard costs, and what the whole policy adds to an operation.
//!
//! `policy/*` run inside a task of a multi-thread runtime in which something else ticks, as in any service: tokio's
//! timers cost several times as much elsewhere, because the first timer of an idle runtime has to wake its driver.
//! `pending_*` operations are pending at their first poll, so that the timer is really set; they are polled again by
//! hand, so that no scheduler is measured.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench may panic, and its macros make an undocumented function"
)]

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use state_resilience::{
    Breaker, BreakerConfig, BudgetConfig, Bulkhead, BulkheadConfig, Class, Hedge, Idempotency, Policy,
    RateLimit, RateLimitConfig, RetryBudget, SlowCalls, Window,
};
use tokio::time::Instant;

fn breaker(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("breaker");
    let now = Instant::now();
    let slow = SlowCalls { threshold: Duration::from_secs(1), rate: 0.5 };
    let configs = [
        ("time_window", BreakerConfig::default()),
        ("count_window", BreakerConfig::default().with_window(Window::Count(100))),
        ("time_window_slow_calls", BreakerConfig::default().with_slow_calls(slow)),
    ];
    for (name, config) in configs {
        let breaker = Breaker::new(name, config, now).unwrap();
        group.bench_function(format!("permit_and_success/{name}"), |bencher| {
            bencher.iter(|| breaker.admit(black_box(now)).unwrap().success(black_box(now)));
        });
    }
    let breaker = Breaker::new("clock", BreakerConfig::default(), now).unwrap();
    group.bench_function("permit_and_success/two_clock_reads", |bencher| {
        bencher.iter(|| breaker.admit(Instant::now()).unwrap().success(Instant::now()));
    });
    let config = BreakerConfig::default().with_consecutive_failures(None);
    let breaker = Breaker::new("failing", config.with_minimum_calls(7_500), now).unwrap();
    group.bench_function("permit_and_failure", |bencher| {
        bencher.iter(|| {
            if let Ok(permit) = breaker.admit(black_box(now)) {
                permit.failure(black_box(now));
            } else {
                breaker.close();
            }
        });
    });
    let breaker = Breaker::new("open", BreakerConfig::default(), now).unwrap();
    breaker.open(now);
    group
        .bench_function("open_reject", |bencher| bencher.iter(|| breaker.admit(black_box(now)).unwrap_err()));
    group.finish();
}

fn parts(criterion: &mut Criterion) {
    let now = Instant::now();
    let budget = RetryBudget::new(BudgetConfig::default(), now).unwrap();
    criterion.bench_function("budget/deposit_full", |bencher| bencher.iter(|| black_box(&budget).deposit()));
    let draining = RetryBudget::new(BudgetConfig::default().with_per_call(1.0), now).unwrap();
    criterion.bench_function("budget/deposit_and_withdraw", |bencher| {
        bencher.iter(|| {
            draining.deposit();
            draining.withdraw(black_box(now)).unwrap().spend();
        });
    });
    let bulkhead = Bulkhead::new(BulkheadConfig::default()).unwrap();
    criterion.bench_function("bulkhead/try_acquire_and_release", |bencher| {
        bencher.iter(|| drop(black_box(&bulkhead).try_acquire()));
    });
    let config = RateLimitConfig::default().with_rate(1_000_000_000, 1_000_000_000);
    let limit = RateLimit::new(config, now).unwrap();
    criterion.bench_function("rate_limit/try_acquire", |bencher| {
        bencher.iter(|| black_box(&limit).try_acquire(black_box(now)).is_ok());
    });
}

fn policies() -> Vec<(&'static str, Policy)> {
    let rate = RateLimitConfig::default().with_rate(1_000_000_000, 1_000_000_000);
    let hedge = Hedge::new(Duration::from_millis(100)).unwrap().into();
    vec![
        ("none", Policy::none("none")),
        ("timeout_only", Policy::builder("timeout").attempt_timeout(Duration::from_secs(1)).build().unwrap()),
        ("standard", Policy::standard("standard").build().unwrap()),
        (
            "everything",
            Policy::standard("everything")
                .bulkhead(BulkheadConfig::default())
                .rate_limit(rate)
                .hedge(hedge)
                .build()
                .unwrap(),
        ),
    ]
}

/// Times `iterations` calls of `policy` inside a task of the runtime.
fn time_calls(
    runtime: &tokio::runtime::Runtime,
    policy: Policy,
    pending: bool,
    iterations: u64,
) -> (Duration, Policy) {
    let task = runtime.spawn(async move {
        let start = std::time::Instant::now();
        for _ in 0..iterations {
            let mut polls = if pending { 0 } else { 1 };
            let operation = |_| {
                poll_fn(move |_| {
                    polls += 1;
                    if polls > 1 { Poll::Ready(Ok::<_, Infallible>(black_box(7))) } else { Poll::Pending }
                })
            };
            let mut call =
                pin!(policy.run(Idempotency::Idempotent, |_: &Infallible| Class::Fatal, operation));
            let completed = poll_fn(|context| match call.as_mut().poll(context) {
                Poll::Pending => call.as_mut().poll(context),
                ready => ready,
            });
            black_box(completed.await.is_ok());
        }
        (start.elapsed(), policy)
    });
    runtime.block_on(task).unwrap()
}

fn policy(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.spawn(async {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        loop {
            ticks.tick().await;
        }
    });
    let mut group = criterion.benchmark_group("policy");
    for (name, policy) in policies() {
        let mut policy = Some(policy);
        for (kind, pending) in [("ready", false), ("pending_once", true)] {
            group.bench_function(format!("{kind}/{name}"), |bencher| {
                bencher.iter_custom(|iterations| {
                    let (elapsed, back) = time_calls(&runtime, policy.take().unwrap(), pending, iterations);
                    policy = Some(back);
                    elapsed
                });
            });
        }
    }
    let open = Policy::standard("open").build().unwrap();
    open.breaker().unwrap().force_open();
    let mut open = Some(open);
    group.bench_function("open_reject", |bencher| {
        bencher.iter_custom(|iterations| {
            let (elapsed, back) = time_calls(&runtime, open.take().unwrap(), false, iterations);
            open = Some(back);
            elapsed
        });
    });
    group.finish();
}

criterion_group! {
    name = resilience;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = breaker, parts, policy
}
criterion_main!(resilience);
