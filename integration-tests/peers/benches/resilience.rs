//! A closed breaker, a retry loop that need not repeat and a whole stack, here and in other crates, in one run.

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use criterion::{Criterion, criterion_group, criterion_main};
use failsafe::{CircuitBreaker, Config};
use state_resilience::{Breaker, BreakerConfig, Class, Idempotency, Policy, Retry, Window};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_resilience::circuitbreaker::CircuitBreakerLayer;
use tower_resilience::retry::RetryLayer;
use tower_resilience::timelimiter::TimeLimiterLayer;

/// Polls a future that is ready at once, without a scheduler.
fn now_or_panic<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("every operation of this bench is ready at once"),
    }
}

fn breakers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("breaker");
    let now = Instant::now();
    let time = Breaker::new("time", BreakerConfig::default(), now).unwrap();
    group.bench_function("state_resilience/time_window", |bencher| {
        bencher.iter(|| time.admit(black_box(now)).unwrap().success(black_box(now)));
    });
    let count = Breaker::new("count", BreakerConfig::default().with_window(Window::Count(100)), now).unwrap();
    group.bench_function("state_resilience/count_window", |bencher| {
        bencher.iter(|| count.admit(black_box(now)).unwrap().success(black_box(now)));
    });
    group.bench_function("state_resilience/time_window_two_clock_reads", |bencher| {
        bencher.iter(|| time.admit(Instant::now()).unwrap().success(Instant::now()));
    });
    let default = Config::new().build();
    group.bench_function("failsafe/default", |bencher| {
        bencher.iter(|| default.call(|| black_box(Ok::<_, ()>(7))).is_ok());
    });
    let backoff = failsafe::backoff::constant(Duration::from_secs(5));
    let policy = failsafe::failure_policy::consecutive_failures(10, backoff);
    let consecutive = Config::new().failure_policy(policy).build();
    group.bench_function("failsafe/consecutive_failures", |bencher| {
        bencher.iter(|| consecutive.call(|| black_box(Ok::<_, ()>(7))).is_ok());
    });
    let recloser = recloser::Recloser::custom().closed_len(100).build();
    group.bench_function("recloser/count_window", |bencher| {
        bencher.iter(|| recloser.call(|| black_box(Ok::<_, ()>(7))).is_ok());
    });
    let layer = CircuitBreakerLayer::builder().build().unwrap();
    let mut service = layer.layer(service_fn(|_: ()| async { Ok::<_, Infallible>(black_box(7)) }));
    group.bench_function("tower_resilience/count_window", |bencher| {
        bencher.iter(|| {
            now_or_panic(async {
                let ready = service.ready().await.unwrap();
                ready.call(()).await.is_ok()
            })
        });
    });
    group.finish();
}

fn retries(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("retry_not_needed");
    let policy = Policy::builder("retry").retry(Retry::default()).build().unwrap();
    let start = Instant::now();
    group.bench_function("state_resilience", |bencher| {
        bencher.iter(|| {
            let call = state_resilience::Call::new(Idempotency::Safe).started(start);
            let operation = |_| async { Ok::<_, Infallible>(black_box(7)) };
            now_or_panic(policy.run(call, |_: &Infallible| Class::Fatal, operation)).is_ok()
        });
    });
    group.bench_function("backon", |bencher| {
        bencher.iter(|| {
            let operation = || async { Ok::<_, Infallible>(black_box(7)) };
            now_or_panic(
                operation.retry(ExponentialBuilder::default().with_jitter()).sleep(tokio::time::sleep),
            )
            .is_ok()
        });
    });
    let layer = RetryLayer::<(), i32, Infallible>::builder().max_attempts(3).build();
    let mut service = layer.layer(service_fn(|_: ()| async { Ok::<_, Infallible>(black_box(7)) }));
    group.bench_function("tower_resilience", |bencher| {
        bencher.iter(|| {
            now_or_panic(async {
                let ready = service.ready().await.unwrap();
                ready.call(()).await.is_ok()
            })
        });
    });
    group.finish();
}

fn stacks(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let mut group = criterion.benchmark_group("retry_breaker_timeout");
    let policy = Policy::builder("stack")
        .retry(Retry::default())
        .breaker(BreakerConfig::default())
        .attempt_timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    group.bench_function("state_resilience", |bencher| {
        bencher.iter(|| {
            let operation = |_| async { Ok::<_, Infallible>(black_box(7)) };
            now_or_panic(policy.run(Idempotency::Safe, |_: &Infallible| Class::Fatal, operation)).is_ok()
        });
    });
    let timeout = TimeLimiterLayer::builder().timeout_duration(Duration::from_secs(1)).build();
    let breaker = CircuitBreakerLayer::builder().build().unwrap();
    let retry = RetryLayer::builder().max_attempts(3).build();
    let inner = timeout.layer(service_fn(|_: ()| async { Ok::<_, Infallible>(black_box(7)) }));
    let mut service = retry.layer(breaker.layer(inner));
    group.bench_function("tower_resilience", |bencher| {
        bencher.iter(|| {
            now_or_panic(async {
                let ready = service.ready().await.ok().unwrap();
                ready.call(()).await.is_ok()
            })
        });
    });
    group.finish();
}

criterion_group! {
    name = resilience;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = breakers, retries, stacks
}
criterion_main!(resilience);
