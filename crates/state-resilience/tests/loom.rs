//! Every interleaving of two or three threads over the breaker's word, its windows and the budget.
//!
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test -p state-resilience --test loom`

#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;
use state_resilience::{Breaker, BreakerConfig, BreakerState, BudgetConfig, RetryBudget, Window};
use tokio::time::Instant;

const MS: Duration = Duration::from_millis(1);

fn config(window: Window) -> BreakerConfig {
    BreakerConfig::default()
        .with_window(window)
        .with_minimum_calls(2)
        .with_failure_rate(1.0)
        .with_consecutive_failures(None)
        .with_open_duration(100 * MS)
        .with_half_open_probes(1)
}

/// Checks `body` under every schedule with up to three forced switches: the bound that loom recommends.
fn check(body: impl Fn(Instant) + Send + Sync + 'static) {
    let now = Instant::now();
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || body(now));
}

fn both(breaker: &Arc<Breaker>, one: impl FnOnce(&Breaker) + Send + 'static, other: impl FnOnce(&Breaker)) {
    let thread = thread::spawn({
        let breaker = Arc::clone(breaker);
        move || one(&breaker)
    });
    other(breaker);
    thread.join().unwrap();
}

fn fail(breaker: &Breaker, now: Instant) {
    if let Ok(permit) = breaker.admit(now) {
        permit.failure(now);
    }
}

#[test]
fn two_failures_at_once_open_a_count_window() {
    check(|now| {
        let breaker = Arc::new(Breaker::new("b", config(Window::Count(2)), now).unwrap());
        both(&breaker, move |breaker| fail(breaker, now), |breaker| fail(breaker, now));
        assert_eq!(breaker.state(), BreakerState::Open);
    });
}

#[test]
fn two_failures_at_once_open_a_time_window() {
    check(|now| {
        let breaker = Arc::new(Breaker::new("b", config(Window::Time(1_600 * MS)), now).unwrap());
        both(&breaker, move |breaker| fail(breaker, now), move |breaker| fail(breaker, now));
        assert_eq!(breaker.state(), BreakerState::Open);
    });
}

#[test]
fn failures_in_two_slices_at_once_are_both_counted() {
    check(|now| {
        let config = config(Window::Time(1_600 * MS)).with_minimum_calls(3);
        let breaker = Arc::new(Breaker::new("b", config, now).unwrap());
        let later = now + 100 * MS;
        both(&breaker, move |breaker| fail(breaker, now), move |breaker| fail(breaker, later));
        fail(&breaker, later);
        assert_eq!(breaker.state(), BreakerState::Open);
    });
}

#[test]
fn a_rollover_of_a_bucket_loses_no_sample_of_the_new_slice() {
    check(|now| {
        let breaker = Arc::new(Breaker::new("b", config(Window::Time(1_600 * MS)), now).unwrap());
        breaker.admit(now).unwrap().success(now);
        let lap = now + 1_600 * MS;
        // One late report for the old slice, two for the new one, all in the same bucket.
        let late = thread::spawn({
            let breaker = Arc::clone(&breaker);
            move || breaker.admit(now).unwrap().success(now)
        });
        both(
            &breaker,
            move |breaker| breaker.admit(lap).unwrap().success(lap),
            move |breaker| breaker.admit(lap).unwrap().success(lap),
        );
        late.join().unwrap();
        assert_eq!(breaker.snapshot(lap).calls, 2);
    });
}

#[test]
fn two_failures_in_a_row_are_two_whoever_reports_them() {
    check(|now| {
        let config = config(Window::Count(2)).with_failure_rate(None).with_consecutive_failures(2);
        let breaker = Arc::new(Breaker::new("b", config, now).unwrap());
        both(&breaker, move |breaker| fail(breaker, now), |breaker| fail(breaker, now));
        assert_eq!(breaker.state(), BreakerState::Open);
    });
}

#[test]
fn only_one_of_two_callers_becomes_the_probe() {
    check(|now| {
        let breaker = Arc::new(Breaker::new("b", config(Window::Count(2)), now).unwrap());
        breaker.open(now);
        let later = now + 100 * MS;
        let thread = thread::spawn({
            let breaker = Arc::clone(&breaker);
            move || drop(breaker.admit(later))
        });
        let mine = breaker.admit(later);
        thread.join().unwrap();
        // The other one's permit is dropped by now, so that its slot is free again unless ours has it.
        let next = breaker.admit(later);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!(mine.is_ok() != next.is_ok(), "one slot: exactly one of us holds it");
    });
}

#[test]
fn a_report_from_before_a_transition_never_counts_after_it() {
    check(|now| {
        let breaker = Arc::new(Breaker::new("b", config(Window::Count(2)), now).unwrap());
        let thread = thread::spawn({
            let breaker = Arc::clone(&breaker);
            move || breaker.admit(now).unwrap().failure(now)
        });
        let before = breaker.admit(now).unwrap();
        breaker.close();
        before.failure(now);
        thread.join().unwrap();
        assert_eq!(breaker.state(), BreakerState::Closed);
        let counted = breaker.snapshot(now).failed;
        assert!(counted <= 1, "ours came from before the transition; the other one may have come after it");
    });
}

#[test]
fn a_budget_of_one_is_drawn_once_and_deposits_are_not_lost() {
    check(|now| {
        let config = BudgetConfig::default().with_bank(1).with_per_call(0.5).with_per_second(0);
        let budget = Arc::new(RetryBudget::new(config, now).unwrap());
        budget.withdraw(now).unwrap().spend();
        let thread = thread::spawn({
            let budget = Arc::clone(&budget);
            move || budget.deposit()
        });
        budget.deposit();
        thread.join().unwrap();
        assert_eq!(budget.available(now), 1, "two halves");
        let thread = thread::spawn({
            let budget = Arc::clone(&budget);
            move || budget.withdraw(now).map(|repeat| repeat.spend()).is_some()
        });
        let mine = budget.withdraw(now).map(|repeat| repeat.spend()).is_some();
        assert!(mine != thread.join().unwrap());
    });
}

#[test]
fn a_refill_by_time_is_paid_once() {
    check(|now| {
        let config = BudgetConfig::default().with_bank(2).with_per_call(0.0).with_per_second(1);
        let budget = Arc::new(RetryBudget::new(config, now).unwrap());
        (0..2).for_each(|_| budget.withdraw(now).unwrap().spend());
        let later = now + 1_000 * MS;
        let thread = thread::spawn({
            let budget = Arc::clone(&budget);
            move || budget.withdraw(later).map(|repeat| repeat.spend()).is_some()
        });
        let mine = budget.withdraw(later).map(|repeat| repeat.spend()).is_some();
        assert!(mine != thread.join().unwrap(), "one second is one repeat");
    });
}
