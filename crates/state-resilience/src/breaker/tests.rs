//! The breaker against a naive model, and each of its promises by name.

mod model;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::*;
use crate::class::Outcome;
use crate::observer::{BreakerChange, ChangeCause};

const MS: Duration = Duration::from_millis(1);

fn base() -> BreakerConfig {
    BreakerConfig::default()
        .with_window(Window::Count(10))
        .with_minimum_calls(4)
        .with_failure_rate(0.5)
        .with_consecutive_failures(None)
        .with_open_duration(100 * MS)
        .with_open_growth(2.0, 300 * MS)
        .with_half_open_probes(2)
        .with_max_half_open(50 * MS)
}

fn breaker(config: BreakerConfig) -> (Breaker, Instant) {
    let now = Instant::now();
    (Breaker::new("test", config, now).unwrap(), now)
}

fn report(breaker: &Breaker, outcome: Outcome, now: Instant) {
    breaker.admit(now).unwrap().record(outcome, now);
}

/// Opens it by failures and returns the time at which the first probe is let through.
fn trip(breaker: &Breaker, now: Instant) -> Instant {
    while breaker.state() == BreakerState::Closed {
        report(breaker, Outcome::Failure, now);
    }
    now + breaker.rejects_for(now).unwrap()
}

#[test]
fn the_failure_rate_opens_it_once_there_are_enough_calls() {
    let (breaker, now) = breaker(base());
    report(&breaker, Outcome::Failure, now);
    report(&breaker, Outcome::Failure, now);
    report(&breaker, Outcome::Success, now);
    assert_eq!(breaker.state(), BreakerState::Closed, "three calls are not enough");
    report(&breaker, Outcome::Failure, now);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn a_rate_is_reached_when_it_is_equalled() {
    let (breaker, now) =
        breaker(base().with_window(Window::Count(100)).with_failure_rate(0.07).with_minimum_calls(100));
    (0..93).for_each(|_| report(&breaker, Outcome::Success, now));
    (0..6).for_each(|_| report(&breaker, Outcome::Failure, now));
    assert_eq!(breaker.state(), BreakerState::Closed);
    report(&breaker, Outcome::Failure, now);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn neutral_outcomes_and_dropped_permits_count_nothing() {
    let (breaker, now) = breaker(base());
    for _ in 0..20 {
        report(&breaker, Outcome::Neutral, now);
        drop(breaker.admit(now).unwrap());
    }
    assert_eq!(breaker.snapshot(now).calls, 0);
}

#[test]
fn slow_calls_open_it_although_they_succeed() {
    let slow = SlowCalls { threshold: 10 * MS, rate: 0.5 };
    let (breaker, now) = breaker(base().with_failure_rate(None).with_slow_calls(slow));
    for duration in [9, 10, 9] {
        breaker.admit(now).unwrap().success(now + duration * MS);
    }
    assert_eq!(breaker.snapshot(now).slow, 1);
    breaker.admit(now).unwrap().success(now + 10 * MS);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn a_success_breaks_the_row_of_failures() {
    let (breaker, now) = breaker(base().with_failure_rate(None).with_consecutive_failures(3));
    for outcome in [Outcome::Failure, Outcome::Failure, Outcome::Success, Outcome::Failure, Outcome::Failure]
    {
        report(&breaker, outcome, now);
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(breaker.snapshot(now).consecutive_failures, 2);
    report(&breaker, Outcome::Failure, now);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn an_open_breaker_tells_its_name_and_for_how_long() {
    let (breaker, now) = breaker(base());
    trip(&breaker, now);
    let open = breaker.admit(now + 40 * MS).unwrap_err();
    assert_eq!((open.name(), open.retry_after()), ("test", Some(60 * MS)));
    assert_eq!(open.to_string(), "circuit breaker \"test\" is open");
}

#[test]
fn never_more_probes_than_allowed_and_a_dropped_one_gives_its_slot_back() {
    let (breaker, now) = breaker(base());
    let probing = trip(&breaker, now);
    let first = breaker.admit(probing).unwrap();
    let second = breaker.admit(probing).unwrap();
    assert!(first.is_probe() && second.is_probe());
    assert_eq!(breaker.admit(probing).unwrap_err().retry_after(), Some(50 * MS));
    drop(second);
    let third = breaker.admit(probing).unwrap();
    first.success(probing);
    assert!(breaker.admit(probing).is_err(), "one succeeded and one is out: two in all");
    third.success(probing);
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(breaker.snapshot(probing).calls, 0, "it starts with an empty window");
}

#[test]
fn a_neutral_probe_gives_its_slot_back() {
    let (breaker, now) = breaker(base().with_half_open_probes(1));
    let probing = trip(&breaker, now);
    report(&breaker, Outcome::Neutral, probing);
    report(&breaker, Outcome::Success, probing);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn failed_probes_open_it_for_longer_each_time_up_to_the_maximum_until_it_closes() {
    let (breaker, now) = breaker(base());
    let mut at = trip(&breaker, now);
    for expected in [200, 300, 300] {
        report(&breaker, Outcome::Failure, at);
        assert_eq!(breaker.rejects_for(at), Some(expected * MS));
        at += expected * MS;
    }
    report(&breaker, Outcome::Success, at);
    report(&breaker, Outcome::Success, at);
    assert_eq!(trip(&breaker, at), at + 100 * MS, "growth begins anew after a close");
}

#[test]
fn a_slow_probe_is_a_failed_one() {
    let slow = SlowCalls { threshold: 10 * MS, rate: 1.0 };
    let (breaker, now) = breaker(base().with_slow_calls(slow));
    let probing = trip(&breaker, now);
    breaker.admit(probing).unwrap().success(probing + 10 * MS);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn lost_probes_open_it_again_and_their_late_reports_are_ignored() {
    let (breaker, now) = breaker(base());
    let probing = trip(&breaker, now);
    let lost = breaker.admit(probing).unwrap();
    let late = probing + 50 * MS;
    assert_eq!(breaker.admit(late).unwrap_err().retry_after(), Some(200 * MS));
    lost.success(late);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn a_half_open_state_in_which_nobody_probes_begins_anew() {
    let (breaker, now) = breaker(base());
    let probing = trip(&breaker, now);
    report(&breaker, Outcome::Success, probing);
    let late = probing + 50 * MS;
    report(&breaker, Outcome::Success, late);
    assert_eq!(
        breaker.state(),
        BreakerState::HalfOpen,
        "the success of the first half-open state is forgotten"
    );
    report(&breaker, Outcome::Success, late);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn a_report_from_before_a_transition_is_ignored() {
    let (breaker, now) = breaker(base().with_half_open_probes(1));
    let stale: Vec<_> = (0..10).map(|_| breaker.admit(now).unwrap()).collect();
    let probing = trip(&breaker, now);
    report(&breaker, Outcome::Success, probing);
    assert_eq!(breaker.state(), BreakerState::Closed);
    stale.into_iter().for_each(|permit| permit.failure(probing));
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(breaker.snapshot(probing).calls, 0);
}

#[test]
fn calls_leave_a_time_window() {
    let (breaker, now) = breaker(base().with_window(Window::Time(1_000 * MS)));
    (0..3).for_each(|_| report(&breaker, Outcome::Failure, now));
    report(&breaker, Outcome::Failure, now + 1_000 * MS);
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(breaker.snapshot(now + 1_000 * MS).calls, 1);
}

#[test]
fn it_obeys_the_hand() {
    let (breaker, now) = breaker(base());
    breaker.force_open();
    assert_eq!(breaker.admit(now + Duration::from_secs(3600)).unwrap_err().retry_after(), None);
    breaker.disable();
    (0..20).for_each(|_| report(&breaker, Outcome::Failure, now));
    assert_eq!((breaker.state(), breaker.snapshot(now).calls), (BreakerState::Disabled, 0));
    breaker.open(now);
    assert_eq!(breaker.rejects_for(now), Some(100 * MS));
    breaker.close();
    report(&breaker, Outcome::Success, now);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[derive(Default)]
struct Changes(Mutex<Vec<(BreakerState, BreakerState, ChangeCause)>>);

impl Observer for Changes {
    fn breaker_changed(&self, change: &BreakerChange<'_>) {
        assert_eq!(change.name, "test");
        self.0.lock().push((change.from, change.to, change.cause));
    }
}

fn observed(config: BreakerConfig) -> (Breaker, Arc<Changes>, Instant) {
    let (changes, now) = (Arc::new(Changes::default()), Instant::now());
    (Breaker::with_observer("test", config, now, changes.clone()).unwrap(), changes, now)
}

#[test]
fn every_transition_is_told_with_its_cause() {
    use BreakerState::{Closed, HalfOpen, Open};
    let (breaker, changes, now) = observed(base().with_half_open_probes(1));
    let probing = trip(&breaker, now);
    report(&breaker, Outcome::Failure, probing);
    let again = probing + 200 * MS;
    report(&breaker, Outcome::Success, again);
    let expected = [
        (Closed, Open, ChangeCause::FailureRate),
        (Open, HalfOpen, ChangeCause::OpenElapsed),
        (HalfOpen, Open, ChangeCause::ProbeFailed),
        (Open, HalfOpen, ChangeCause::OpenElapsed),
        (HalfOpen, Closed, ChangeCause::ProbesSucceeded),
    ];
    assert_eq!(*changes.0.lock(), expected);
}

#[test]
fn metrics_only_reports_that_it_would_have_opened_and_lets_everything_through() {
    let (breaker, changes, now) = observed(base());
    breaker.metrics_only();
    (0..8).for_each(|_| report(&breaker, Outcome::Failure, now));
    assert_eq!(breaker.state(), BreakerState::MetricsOnly);
    let would_open = (BreakerState::MetricsOnly, BreakerState::MetricsOnly, ChangeCause::FailureRate);
    assert_eq!(changes.0.lock()[1..], [would_open, would_open]);
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let none = base().with_failure_rate(None);
    let cases = [
        (none, "never opens"),
        (base().with_failure_rate(0.0), "failure_rate"),
        (base().with_failure_rate(f64::NAN), "failure_rate"),
        (base().with_slow_calls(SlowCalls { threshold: Duration::ZERO, rate: 0.5 }), "slow_calls.threshold"),
        (base().with_window(Window::Count(0)), "window"),
        (base().with_window(Window::Time(MS)), "window"),
        (base().with_minimum_calls(11), "minimum_calls"),
        (base().with_half_open_probes(0), "half_open_probes"),
        (base().with_max_half_open(Duration::MAX), "max_half_open"),
        (base().with_open_duration(Duration::ZERO), "open_duration"),
        (base().with_open_growth(0.9, MS * 100), "open_multiplier"),
        (base().with_open_growth(2.0, MS), "max_open_duration"),
        (base().with_consecutive_failures(0), "consecutive_failures"),
    ];
    for (config, field) in cases {
        let error = Breaker::new("test", config, Instant::now()).expect_err(field);
        assert!(error.to_string().contains(field), "{error}");
    }
}

#[test]
fn threads_that_fail_together_open_it_exactly_once() {
    let (breaker, changes, now) = observed(base().with_consecutive_failures(50).with_failure_rate(None));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    if let Ok(permit) = breaker.admit(now) {
                        permit.failure(now);
                    }
                }
            });
        }
    });
    let closed_to_open = (BreakerState::Closed, BreakerState::Open, ChangeCause::ConsecutiveFailures);
    assert_eq!(*changes.0.lock(), [closed_to_open]);
}
