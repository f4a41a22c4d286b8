//! Rate limit, bulkhead, hedge and fallback inside of a policy, on paused time.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;

use state_resilience::{
    Attempt, BreakerConfig, BudgetConfig, BulkheadConfig, Call, Class, FailureKind, Hedge, Idempotency,
    Origin, Policy, RateLimitConfig, RetryBudget, SlowCalls,
};
use support::{Fault, Script, classify, ms};
use tokio::time::Instant;

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
    let slow = SlowCalls { threshold: ms(50), rate: 0.01 };
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
    let start = Instant::now();
    let (first, second, third) = tokio::join!(call(), call(), call());
    assert_eq!(start.elapsed(), ms(120));
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
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
    let start = Instant::now();
    let completed = policy.run(Idempotency::Safe, classify, operation).await.unwrap();
    assert_eq!((completed.origin, start.elapsed()), (Origin::Operation, ms(100)), "no budget, no hedge");
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
    let start = Instant::now();
    let completed = policy.run(Idempotency::Safe, classify, operation(true, false)).await.unwrap();
    assert_eq!((completed.origin, start.elapsed()), (Origin::Operation, ms(100)));
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
