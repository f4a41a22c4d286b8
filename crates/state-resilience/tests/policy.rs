//! What a policy promises around an operation, on a clock that the test moves or on paused time.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use state_resilience::{
    Attempt, AttemptTimer, Backoff, BreakerConfig, BreakerScope, BreakerState, BudgetConfig, BulkheadConfig,
    Call, Class, FailureKind, Hedge, Idempotency, Jitter, Origin, Policy, RateLimitConfig, Retry,
    RetryBudget,
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

#[tokio::test(start_paused = true)]
async fn a_rate_limit_makes_calls_wait_and_turns_away_who_would_wait_too_long() {
    let rate = RateLimitConfig::default().with_rate(100, 1).with_max_wait(ms(10));
    let policy = Policy::builder("rate").rate_limit(rate).build().unwrap();
    let script = Script::new([Ok(1), Ok(2)]);
    let start = Instant::now();
    policy.run(Idempotency::Safe, classify, script.operation()).await.unwrap();
    assert_eq!(start.elapsed(), ms(0));
    let call = Call::new(Idempotency::Safe).deadline(start + ms(5));
    let failure = policy.run(call, classify, script.operation()).await.unwrap_err();
    assert_eq!((failure.kind(), failure.retry_after()), (FailureKind::RateLimited, Some(ms(10))));
    assert_eq!(start.elapsed(), ms(0), "turned away at once");
    policy.run(Idempotency::Safe, classify, script.operation()).await.unwrap();
    assert_eq!(start.elapsed(), ms(10));
}

#[tokio::test(start_paused = true)]
async fn a_full_bulkhead_queues_and_then_turns_away() {
    let bulkhead = BulkheadConfig::default().with_max_concurrent(1).with_max_queue(1).with_max_wait(ms(20));
    let policy = Arc::new(Policy::builder("bulkhead").bulkhead(bulkhead).build().unwrap());
    let operation = |_: Attempt| async {
        tokio::time::sleep(ms(100)).await;
        Ok::<_, Fault>(())
    };
    let running = tokio::spawn({
        let policy = policy.clone();
        async move { policy.run(Idempotency::Safe, classify, operation).await.map(|_| ()) }
    });
    tokio::time::sleep(ms(1)).await;
    let start = Instant::now();
    let (queued, refused) = tokio::join!(policy.run(Idempotency::Safe, classify, operation), async {
        let result = policy.run(Idempotency::Safe, classify, operation).await;
        (result, start.elapsed())
    },);
    assert_eq!(refused.0.unwrap_err().kind(), FailureKind::BulkheadFull);
    assert_eq!(refused.1, ms(0), "no room in the queue");
    assert_eq!(queued.unwrap_err().kind(), FailureKind::BulkheadFull);
    assert_eq!(start.elapsed(), ms(20), "no longer than max_wait");
    running.await.unwrap().unwrap();
    assert_eq!(policy.bulkhead().unwrap().running(), 0);
}

#[tokio::test(start_paused = true)]
async fn time_spent_waiting_for_a_place_is_not_held_against_the_service() {
    let slow = state_resilience::SlowCalls { threshold: ms(50), rate: 0.01 };
    let breaker = BreakerConfig::default().with_slow_calls(slow).with_minimum_calls(1);
    let policy = Policy::builder("wait")
        .breaker(breaker)
        .bulkhead(BulkheadConfig::default().with_max_concurrent(1))
        .build()
        .unwrap();
    let operation = |_: Attempt| async {
        tokio::time::sleep(ms(40)).await;
        Ok::<_, Fault>(())
    };
    let call = || policy.run(Idempotency::Safe, classify, operation);
    let (first, second, third) = tokio::join!(call(), call(), call());
    assert_eq!(third.unwrap().elapsed, ms(120));
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(policy.breaker().unwrap().snapshot(Instant::now()).slow, 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_read_is_hedged_and_the_first_answer_wins() {
    let hedge = Arc::new(Hedge::new(ms(20)).unwrap());
    let budget = Arc::new(
        RetryBudget::new(
            BudgetConfig::default().with_bank(1).with_per_call(0.0).with_per_second(0),
            Instant::now(),
        )
        .unwrap(),
    );
    let policy = Policy::builder("hedge").hedge(hedge).shared_budget(budget.clone()).build().unwrap();
    let operation = |attempt: Attempt| async move {
        tokio::time::sleep(if attempt.is_hedge { ms(5) } else { ms(100) }).await;
        Ok::<_, Fault>(attempt.number)
    };
    let start = Instant::now();
    let completed = policy.run(Idempotency::Safe, classify, operation).await.unwrap();
    assert_eq!((completed.origin, completed.attempts, completed.value), (Origin::Hedge, 1, 1));
    assert_eq!(start.elapsed(), ms(25));
    assert_eq!(budget.available(Instant::now()), 0, "it was paid for");
    let completed = policy.run(Idempotency::Safe, classify, operation).await.unwrap();
    assert_eq!((completed.origin, completed.elapsed), (Origin::Operation, ms(100)), "no budget, no hedge");
}

#[tokio::test(start_paused = true)]
async fn writes_are_never_hedged() {
    let policy = Policy::builder("hedge").hedge(Arc::new(Hedge::new(ms(20)).unwrap())).build().unwrap();
    for idempotency in [Idempotency::Idempotent, Idempotency::Unsafe] {
        let script = Script::slow(ms(100));
        policy.run(idempotency, classify, script.operation()).await.unwrap();
        assert_eq!(script.calls(), 1, "{idempotency:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_copy_waits_for_the_other_and_both_failing_is_one_failed_attempt() {
    let policy = Policy::builder("hedge").hedge(Arc::new(Hedge::new(ms(20)).unwrap())).build().unwrap();
    let operation = |hedge_fails: bool, first_fails: bool| {
        move |attempt: Attempt| async move {
            tokio::time::sleep(if attempt.is_hedge { ms(5) } else { ms(100) }).await;
            let fails = if attempt.is_hedge { hedge_fails } else { first_fails };
            if fails { Err(Fault(Class::NotSent)) } else { Ok(()) }
        }
    };
    let completed = policy.run(Idempotency::Safe, classify, operation(true, false)).await.unwrap();
    assert_eq!((completed.origin, completed.elapsed), (Origin::Operation, ms(100)));
    let failure = policy.run(Idempotency::Safe, classify, operation(true, true)).await.unwrap_err();
    assert_eq!((failure.attempts(), failure.hedges()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_fallback_stands_in_for_a_service_that_cannot_be_used_and_says_so() {
    let policy = Policy::builder("fallback").breaker(BreakerConfig::default()).build().unwrap();
    policy.breaker().unwrap().force_open();
    let script = Script::always(Class::NotSent);
    let completed = policy
        .run_or_else(Idempotency::Safe, classify, script.operation(), |failure| {
            assert_eq!(failure.kind(), FailureKind::CircuitOpen);
            async { Ok(42) }
        })
        .await
        .unwrap();
    assert_eq!((completed.value, completed.origin), (42, Origin::Fallback(FailureKind::CircuitOpen)));
    assert_eq!(completed.attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn no_fallback_hides_an_answer_or_doubles_a_write() {
    let policy = Policy::none("fallback");
    for (class, idempotency) in
        [(Class::Rejected, Idempotency::Safe), (Class::Ambiguous, Idempotency::Unsafe)]
    {
        let script = Script::always(class);
        let failure = policy
            .run_or_else(idempotency, classify, script.operation(), |_| async { panic!("must not be asked") })
            .await
            .unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Final);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fallback_that_fails_leaves_both_errors_and_one_that_waits_is_cut_at_the_deadline() {
    let policy = Policy::builder("fallback").deadline(ms(50)).build().unwrap();
    let script = Script::always(Class::NotSent);
    let failure = policy
        .run_or_else(Idempotency::Safe, classify, script.operation(), |_| async { Err(Fault(Class::Fatal)) })
        .await
        .unwrap_err();
    assert_eq!(
        (failure.last(), failure.fallback_error()),
        (Some(&Fault(Class::NotSent)), Some(&Fault(Class::Fatal)))
    );
    let start = Instant::now();
    let hang = |_: Attempt| std::future::pending::<Result<i32, Fault>>();
    let waiting = policy.run_or_else(Idempotency::Safe, classify, hang, |_| std::future::pending()).await;
    assert_eq!((waiting.unwrap_err().kind(), start.elapsed()), (FailureKind::DeadlineExceeded, ms(50)));
    let ready = policy.run_or_else(Idempotency::Safe, classify, hang, |_| async { Ok(1) }).await;
    assert_eq!(ready.unwrap().value, 1, "ready at once: served although the deadline has passed");
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
