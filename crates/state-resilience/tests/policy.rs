//! How a policy repeats, times out and asks its breaker and budget, on paused time.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use state_resilience::{
    Attempt, AttemptTimer, Backoff, BreakerConfig, BreakerScope, BreakerState, BudgetConfig, BulkheadConfig,
    Call, Class, FailureKind, Hedge, Idempotency, Jitter, Policy, RateLimitConfig, Retry,
};
use support::{Fault, Script, classify, ms};
use tokio::time::Instant;

fn retry(attempts: u32) -> Retry {
    Retry::new(attempts, Backoff::constant(ms(10)))
}

#[tokio::test(start_paused = true)]
async fn the_cap_on_attempts_is_exact() {
    for attempts in 1..=6 {
        let policy = Policy::builder("cap").retry(retry(attempts)).build().unwrap();
        let script = Script::always(Class::NotSent);
        let failure = policy.run(Idempotency::Unsafe, classify, script.operation()).await.unwrap_err();
        assert_eq!((script.calls(), failure.attempts()), (attempts, attempts));
        assert_eq!(failure.kind(), FailureKind::AttemptsExhausted);
        assert_eq!(failure.last(), Some(&Fault(Class::NotSent)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_begins_late_makes_no_attempt() {
    let bare = Policy::none("bare");
    let own_timer = Policy::builder("own timer").attempt_timer(AttemptTimer::Operation).build().unwrap();
    for policy in [bare, own_timer] {
        let script = Script::always(Class::NotSent);
        let late = Call::new(Idempotency::Safe).deadline(Instant::now());
        let failure = policy.run(late, classify, script.operation()).await.unwrap_err();
        assert_eq!((failure.kind(), script.calls()), (FailureKind::DeadlineExceeded, 0), "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_repeated_exactly_when_its_class_allows() {
    let wait = None;
    let always = [Class::NotSent, Class::Unavailable { wait }, Class::Deferred { wait }, Class::Misdirected];
    let never = [Class::Rejected, Class::Fatal, Class::Shed];
    let policy = Policy::builder("classes").retry(retry(2)).build().unwrap();
    for idempotency in [Idempotency::Safe, Idempotency::Idempotent, Idempotency::Unsafe] {
        for class in always.into_iter().chain(never).chain([Class::Ambiguous]) {
            let script = Script::new([Err(class), Ok(1)]);
            let result = policy.run(idempotency, classify, script.operation()).await;
            let repeated =
                always.contains(&class) || class == Class::Ambiguous && idempotency != Idempotency::Unsafe;
            assert_eq!(result.is_ok(), repeated, "{class:?} of {idempotency:?}");
            assert_eq!(script.calls(), 1 + u32::from(repeated), "{class:?} of {idempotency:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_stays_ambiguous_although_a_later_attempt_was_not() {
    let policy = Policy::builder("ambiguous").retry(retry(2)).build().unwrap();
    let run = async |idempotency| {
        let script = Script::new([Err(Class::Ambiguous), Err(Class::NotSent)]);
        policy.run(idempotency, classify, script.operation()).await.unwrap_err()
    };
    assert!(run(Idempotency::Idempotent).await.is_ambiguous());
    assert!(run(Idempotency::Unsafe).await.is_ambiguous());
    assert!(!run(Idempotency::Safe).await.is_ambiguous(), "a read has no effect");
}

#[tokio::test(start_paused = true)]
async fn a_repeat_that_would_come_after_the_deadline_is_not_waited_for() {
    let policy = Policy::builder("deadline").deadline(ms(25)).retry(retry(10)).build().unwrap();
    let (script, start) = (Script::always(Class::NotSent), Instant::now());
    let failure = policy.run(Idempotency::Safe, classify, script.operation()).await.unwrap_err();
    assert_eq!((failure.kind(), failure.attempts()), (FailureKind::DeadlineExceeded, 3));
    assert_eq!(start.elapsed(), ms(20), "it stops at the third failure instead of sleeping to 30 ms");
    assert_eq!(failure.class(), Some(Class::NotSent));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_starts_nothing() {
    let policy = Policy::builder("late").build().unwrap();
    let script = Script::always(Class::NotSent);
    let call = Call::new(Idempotency::Safe).deadline(Instant::now());
    let failure = policy.run(call, classify, script.operation()).await.unwrap_err();
    assert_eq!((failure.kind(), script.calls()), (FailureKind::DeadlineExceeded, 0));
    assert!(!failure.is_ambiguous());
}

#[tokio::test(start_paused = true)]
async fn the_earlier_of_the_two_deadlines_counts() {
    let policy = Policy::builder("two").deadline(ms(100)).build().unwrap();
    for (own, expected) in [(50, 50), (200, 100)] {
        let start = Instant::now();
        let call = Call::new(Idempotency::Safe).deadline(start + ms(own));
        let hang = |_: Attempt| std::future::pending::<Result<(), Fault>>();
        let failure = policy.run(call, classify, hang).await.unwrap_err();
        assert_eq!((failure.kind(), start.elapsed()), (FailureKind::DeadlineExceeded, ms(expected)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_of_the_service_is_obeyed_up_to_its_limit() {
    let policy = Policy::builder("hint").retry(retry(2).with_max_hint(ms(500))).build().unwrap();
    let run = async |wait| {
        let script = Script::new([Err(Class::Unavailable { wait: Some(ms(wait)) }), Ok(1)]);
        let start = Instant::now();
        (policy.run(Idempotency::Unsafe, classify, script.operation()).await, start.elapsed())
    };
    assert_eq!(run(5).await.1, ms(10), "the schedule's delay is longer");
    assert_eq!(run(500).await.1, ms(500));
    let (result, elapsed) = run(501).await;
    let failure = result.unwrap_err();
    assert_eq!((failure.kind(), elapsed), (FailureKind::AskedToWait, ms(0)));
    assert_eq!(failure.retry_after(), Some(ms(501)));
}

#[tokio::test(start_paused = true)]
async fn delays_are_clamped_to_the_maximum_whatever_the_schedule_says() {
    let wild = Retry::scheduled(3, ms(30), || |_: u32| Some(Duration::from_secs(3600)));
    let policy = Policy::builder("wild").retry(wild).build().unwrap();
    let (script, start) = (Script::always(Class::NotSent), Instant::now());
    policy.run(Idempotency::Safe, classify, script.operation()).await.unwrap_err();
    assert_eq!(start.elapsed(), ms(60));
}

#[tokio::test(start_paused = true)]
async fn a_schedule_may_stop_the_repeating() {
    let once = Retry::scheduled(10, ms(30), || |attempt: u32| (attempt < 2).then(|| ms(1)));
    let policy = Policy::builder("once").retry(once).build().unwrap();
    let script = Script::always(Class::NotSent);
    let failure = policy.run(Idempotency::Safe, classify, script.operation()).await.unwrap_err();
    assert_eq!((failure.kind(), failure.attempts()), (FailureKind::AttemptsExhausted, 2));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_times_out_is_ambiguous_and_counts_against_the_service() {
    let breaker = BreakerConfig::default().with_consecutive_failures(2);
    let policy =
        Policy::builder("slow").attempt_timeout(ms(50)).retry(retry(2)).breaker(breaker).build().unwrap();
    let hang = |_: Attempt| std::future::pending::<Result<(), Fault>>();
    let failure = policy.run(Idempotency::Unsafe, classify, hang).await.unwrap_err();
    assert_eq!((failure.kind(), failure.attempts()), (FailureKind::Timeout, 1));
    assert!(failure.is_ambiguous() && failure.last().is_none());
    assert_eq!(failure.class(), Some(Class::Ambiguous));
    let failure = policy.run(Idempotency::Idempotent, classify, hang).await.unwrap_err();
    assert_eq!((failure.kind(), failure.attempts()), (FailureKind::CircuitOpen, 1));
}

#[tokio::test(start_paused = true)]
async fn a_caller_in_a_hurry_does_not_count_against_the_service() {
    let breaker = BreakerConfig::default().with_consecutive_failures(1);
    let policy = Policy::builder("hurry").attempt_timeout(ms(50)).breaker(breaker).build().unwrap();
    let hang = |_: Attempt| std::future::pending::<Result<(), Fault>>();
    let call = Call::new(Idempotency::Safe).deadline(Instant::now() + ms(10));
    policy.run(call, classify, hang).await.unwrap_err();
    assert_eq!(policy.breaker().unwrap().state(), BreakerState::Closed);
    policy.run(Idempotency::Safe, classify, hang).await.unwrap_err();
    assert_eq!(policy.breaker().unwrap().state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn an_operation_with_its_own_timer_is_told_its_deadline_and_left_alone() {
    let policy = Policy::builder("own")
        .attempt_timeout(ms(50))
        .attempt_timer(AttemptTimer::Operation)
        .deadline(ms(80))
        .retry(retry(2))
        .build()
        .unwrap();
    let start = Instant::now();
    let operation = |attempt: Attempt| async move {
        tokio::time::sleep_until(attempt.deadline.unwrap()).await;
        // Later than its deadline: the policy must not have cut it off.
        tokio::time::sleep(ms(5)).await;
        Err::<(), _>(Fault(Class::Ambiguous))
    };
    let failure = policy.run(Idempotency::Safe, classify, operation).await.unwrap_err();
    assert_eq!((failure.kind(), failure.attempts()), (FailureKind::DeadlineExceeded, 2));
    // 50 + 5, 10 of delay, then up to the deadline of the call, + 5.
    assert_eq!(start.elapsed(), ms(85));
    assert_eq!(failure.last(), Some(&Fault(Class::Ambiguous)));
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_ends_the_repeating_at_once() {
    let breaker = BreakerConfig::default().with_consecutive_failures(3);
    let policy = Policy::builder("open").retry(retry(10)).breaker(breaker).build().unwrap();
    let (script, start) = (Script::always(Class::NotSent), Instant::now());
    let failure = policy.run(Idempotency::Safe, classify, script.operation()).await.unwrap_err();
    assert_eq!((failure.kind(), failure.attempts()), (FailureKind::CircuitOpen, 3));
    assert_eq!(start.elapsed(), ms(20), "no delay is slept against an open breaker");
    assert_eq!(failure.retry_after(), Some(Duration::from_secs(5)));
    assert_eq!(failure.last(), Some(&Fault(Class::NotSent)));
    let failure = policy.run(Idempotency::Safe, classify, script.operation()).await.unwrap_err();
    assert_eq!((failure.attempts(), script.calls()), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_over_calls_sees_only_how_they_end() {
    let breaker = BreakerConfig::default().with_consecutive_failures(2);
    let policy = Policy::builder("call")
        .retry(retry(3))
        .breaker(breaker)
        .breaker_scope(BreakerScope::Call)
        .build()
        .unwrap();
    for _ in 0..5 {
        let mended = Script::new([Err(Class::NotSent), Err(Class::NotSent), Ok(1)]);
        policy.run(Idempotency::Safe, classify, mended.operation()).await.unwrap();
    }
    assert_eq!(policy.breaker().unwrap().snapshot(Instant::now()).failed, 0);
    for _ in 0..2 {
        let script = Script::always(Class::NotSent);
        policy.run(Idempotency::Safe, classify, script.operation()).await.unwrap_err();
    }
    assert_eq!(policy.breaker().unwrap().state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn each_class_counts_for_the_breaker_as_its_table_says() {
    let wait = None;
    let (failure, neutral, success) = ((1, 1), (0, 0), (1, 0));
    let table = [
        (Class::NotSent, failure),
        (Class::Unavailable { wait }, failure),
        (Class::Ambiguous, failure),
        (Class::Deferred { wait }, neutral),
        (Class::Misdirected, neutral),
        (Class::Fatal, neutral),
        (Class::Shed, neutral),
        (Class::Rejected, success),
    ];
    for (class, expected) in table {
        let policy = Policy::builder("table").breaker(BreakerConfig::default()).build().unwrap();
        let script = Script::always(class);
        policy.run(Idempotency::Safe, classify, script.operation()).await.unwrap_err();
        let seen = policy.breaker().unwrap().snapshot(Instant::now());
        assert_eq!((seen.calls, seen.failed), expected, "{class:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_budget_bounds_repeats_over_all_calls() {
    let budget = BudgetConfig::default().with_bank(3).with_per_call(0.0).with_per_second(0);
    let policy = Policy::builder("budget").retry(retry(3)).budget(budget).build().unwrap();
    let script = Script::always(Class::NotSent);
    let mut kinds = Vec::new();
    for _ in 0..4 {
        let failure = policy.run(Idempotency::Safe, classify, script.operation()).await.unwrap_err();
        kinds.push((failure.kind(), failure.attempts()));
    }
    let exhausted = |attempts| (FailureKind::BudgetExhausted, attempts);
    assert_eq!(kinds, [(FailureKind::AttemptsExhausted, 3), exhausted(2), exhausted(1), exhausted(1)]);
}

#[test]
fn the_effective_stack_is_printed_from_outer_to_inner() {
    let policy = Policy::standard("shown").bulkhead(BulkheadConfig::default()).build().unwrap();
    let shown = format!("{policy:?}");
    let layers =
        ["Policy(\"shown\")", "deadline: 5s", "retry", "budget", "breaker", "attempt_timeout", "bulkhead"];
    let positions: Vec<_> = layers.iter().map(|layer| shown.find(layer).expect(layer)).collect();
    assert!(positions.is_sorted(), "{shown}");
    assert!(!shown.contains("rate_limit") && !shown.contains("hedge"), "{shown}");
    assert_eq!(format!("{:?}", Policy::none("empty")), "Policy(\"empty\")");
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let hedge = Arc::new(Hedge::new(ms(50)).unwrap());
    let builder = || Policy::builder("refused");
    let cases = [
        (builder().deadline(ms(0)), "deadline"),
        (builder().attempt_timeout(Duration::MAX), "attempt_timeout"),
        (builder().retry(retry(0)), "max_attempts"),
        (builder().retry(Retry::new(3, Backoff::default().with_jitter(Jitter::Proportional(2.0)))), "jitter"),
        (builder().retry(Retry::default().with_max_hint(ms(0))), "max_hint"),
        (builder().budget(BudgetConfig::default().with_per_call(-1.0)), "per_call"),
        (builder().budget(BudgetConfig::default().with_bank(0)), "bank"),
        (builder().bulkhead(BulkheadConfig::default().with_max_concurrent(0)), "max_concurrent"),
        (builder().rate_limit(RateLimitConfig::default().with_rate(0, 1)), "per_second"),
        (builder().breaker(BreakerConfig::default().with_minimum_calls(0)), "minimum_calls"),
        (builder().hedge(hedge).attempt_timeout(ms(50)), "hedge"),
    ];
    for (builder, field) in cases {
        let error = builder.build().expect_err(field);
        assert!(error.to_string().contains(field), "{error} should name {field}");
    }
}
