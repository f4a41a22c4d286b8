//! A call that is dropped gives everything back, at whatever point it is dropped.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Waker};

use state_resilience::{
    Attempt, Backoff, BreakerConfig, BreakerScope, BreakerState, BudgetConfig, BulkheadConfig, Call, Class,
    Clock, Hedge, Idempotency, ManualClock, Policy, RateLimitConfig, Retry,
};
use support::{Fault, Script, classify, ms};

/// A policy with every guard, one place and one probe, whose breaker is about to probe.
struct Stand {
    clock: ManualClock,
    policy: Policy<ManualClock>,
}

impl Stand {
    fn new(scope: BreakerScope) -> Self {
        let clock = ManualClock::new();
        // Open for less time than the rate limit takes to let the next call through.
        let breaker = BreakerConfig::default().with_half_open_probes(1).with_open_duration(ms(100));
        let policy = Policy::builder("stand")
            .deadline(ms(60_000))
            .retry(Retry::new(5, Backoff::constant(ms(1_000))))
            .budget(BudgetConfig::default().with_bank(10).with_per_call(0.0).with_per_second(0))
            .breaker(breaker)
            .breaker_scope(scope)
            .rate_limit(RateLimitConfig::default().with_rate(1, 1).with_max_wait(ms(10_000)))
            .attempt_timeout(ms(10_000))
            .bulkhead(BulkheadConfig::default().with_max_concurrent(2).with_max_wait(ms(10_000)))
            .hedge(Arc::new(Hedge::new(ms(100)).unwrap()))
            .build_with_clock(clock.clone())
            .unwrap();
        Self { clock, policy }
    }

    /// Opens the breaker and lets its time pass, so that the next call is its only probe.
    fn await_probe(&self) {
        let breaker = self.policy.breaker().unwrap();
        breaker.open(self.clock.now());
        self.clock.advance(breaker.rejects_for(self.clock.now()).unwrap());
    }

    /// Nothing is held: places, queue, timers, budget, and the slot of the probe.
    fn assert_clean(&self, budget: u32) {
        let now = self.clock.now();
        let bulkhead = self.policy.bulkhead().unwrap();
        assert_eq!((bulkhead.running(), bulkhead.waiting()), (0, 0), "places");
        assert_eq!(self.policy.budget().unwrap().available(now), budget, "budget");
        assert_eq!(self.clock.sleepers(), 0, "timers");
        let breaker = self.policy.breaker().unwrap();
        let permit = breaker.admit(now).expect("the probe's slot is free again");
        assert!(permit.is_probe() || breaker.state() == BreakerState::Closed);
        permit.success(now);
        assert_eq!(breaker.snapshot(now).failed, 0, "a cancelled call is no failure");
    }
}

/// Polls once and says that the future was pending; the caller drops it.
fn poll_once(future: std::pin::Pin<&mut impl Future>) {
    assert!(future.poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

fn hang(_: Attempt) -> impl Future<Output = Result<i32, Fault>> {
    pending()
}

const SCOPES: [BreakerScope; 2] = [BreakerScope::Attempt, BreakerScope::Call];

#[test]
fn dropped_before_it_is_polled() {
    for scope in SCOPES {
        let stand = Stand::new(scope);
        stand.await_probe();
        drop(stand.policy.run(Idempotency::Safe, classify, hang));
        stand.assert_clean(10);
    }
}

#[test]
fn dropped_while_waiting_for_the_rate_limit() {
    for scope in SCOPES {
        let stand = Stand::new(scope);
        {
            let script = Script::new([Ok(1)]);
            let mut first = pin!(stand.policy.run(Idempotency::Idempotent, classify, script.operation()));
            assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        }
        stand.await_probe();
        {
            let mut waiting = pin!(stand.policy.run(Idempotency::Idempotent, classify, hang));
            poll_once(waiting.as_mut());
            assert_eq!(stand.clock.sleepers(), 1, "it waits for its turn");
            assert!(
                stand.policy.breaker().unwrap().admit(stand.clock.now()).is_err(),
                "it holds the probe's slot"
            );
        }
        stand.assert_clean(10);
    }
}

#[test]
fn dropped_while_waiting_for_a_place() {
    for scope in SCOPES {
        let stand = Stand::new(scope);
        stand.await_probe();
        {
            let bulkhead = stand.policy.bulkhead().unwrap();
            let _places = [bulkhead.try_acquire().unwrap(), bulkhead.try_acquire().unwrap()];
            let mut waiting = pin!(stand.policy.run(Idempotency::Idempotent, classify, hang));
            poll_once(waiting.as_mut());
            assert_eq!(bulkhead.waiting(), 1);
            assert!(
                stand.policy.breaker().unwrap().admit(stand.clock.now()).is_err(),
                "it holds the probe's slot"
            );
        }
        stand.assert_clean(10);
    }
}

#[test]
fn dropped_in_flight() {
    for scope in SCOPES {
        let stand = Stand::new(scope);
        stand.await_probe();
        {
            let mut flying = pin!(stand.policy.run(Idempotency::Idempotent, classify, hang));
            poll_once(flying.as_mut());
            assert_eq!(stand.policy.bulkhead().unwrap().running(), 1);
            assert!(
                stand.policy.breaker().unwrap().admit(stand.clock.now()).is_err(),
                "it holds the probe's slot"
            );
        }
        stand.assert_clean(10);
    }
}

#[test]
fn dropped_between_two_attempts() {
    for scope in SCOPES {
        let stand = Stand::new(scope);
        stand.await_probe();
        let script = Script::always(Class::Deferred { wait: None });
        {
            let mut pausing = pin!(stand.policy.run(Idempotency::Idempotent, classify, script.operation()));
            poll_once(pausing.as_mut());
            assert_eq!(script.calls(), 1);
            assert_eq!(
                stand.policy.budget().unwrap().available(stand.clock.now()),
                9,
                "drawn for the repeat"
            );
        }
        stand.assert_clean(10);
    }
}

#[test]
fn dropped_in_the_second_attempt_has_paid_for_it() {
    let stand = Stand::new(BreakerScope::Call);
    stand.await_probe();
    {
        let mut attempts = 0;
        let operation = move |_: Attempt| {
            attempts += 1;
            let first = attempts == 1;
            async move { if first { Err(Fault(Class::NotSent)) } else { pending::<Result<i32, Fault>>().await } }
        };
        let mut call = pin!(stand.policy.run(Idempotency::Idempotent, classify, operation));
        poll_once(call.as_mut());
        stand.clock.advance(ms(1_000));
        poll_once(call.as_mut());
        assert_eq!(stand.policy.bulkhead().unwrap().running(), 1);
    }
    stand.assert_clean(9);
}

/// Counts the futures of an operation that are alive.
struct Alive(Arc<AtomicU32>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn the_losing_copy_is_dropped_with_its_place() {
    for dropped_early in [false, true] {
        let stand = Stand::new(BreakerScope::Attempt);
        stand.await_probe();
        let alive = Arc::new(AtomicU32::new(0));
        let clock = stand.clock.clone();
        let operation = {
            let alive = Arc::clone(&alive);
            move |attempt: Attempt| {
                alive.fetch_add(1, Ordering::SeqCst);
                let (guard, clock) = (Alive(Arc::clone(&alive)), clock.clone());
                async move {
                    let _guard = guard;
                    if attempt.is_hedge {
                        clock.sleep_until(attempt.started + ms(10)).await;
                        return Ok::<_, Fault>(());
                    }
                    pending().await
                }
            }
        };
        {
            let mut call = pin!(stand.policy.run(Call::new(Idempotency::Safe), classify, operation));
            poll_once(call.as_mut());
            stand.clock.advance(ms(100));
            poll_once(call.as_mut());
            assert_eq!((alive.load(Ordering::SeqCst), stand.policy.bulkhead().unwrap().running()), (2, 2));
            if !dropped_early {
                stand.clock.advance(ms(10));
                assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
                assert_eq!(alive.load(Ordering::SeqCst), 0, "the loser is dropped with the call's end");
            }
        }
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        stand.assert_clean(9);
    }
}
