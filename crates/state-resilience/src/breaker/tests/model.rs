//! A breaker written for clarity, and the real one held against it under random scripts.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::super::*;
use crate::class::Outcome;

/// Everything in milliseconds since the start.
struct Model {
    config: BreakerConfig,
    state: BreakerState,
    generation: u32,
    until: u64,
    /// When, failed, slow; of the current generation.
    calls: Vec<(u64, bool, bool)>,
    in_a_row: u32,
    out: u32,
    succeeded: u32,
    expires: u64,
    openings: u32,
}

#[derive(Clone, Copy)]
struct Ticket {
    generation: u32,
    probe: bool,
    started: u64,
}

fn ms(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

impl Model {
    fn new(config: BreakerConfig) -> Self {
        let (state, calls) = (BreakerState::Closed, Vec::new());
        Self {
            config,
            state,
            generation: 0,
            until: 0,
            calls,
            in_a_row: 0,
            out: 0,
            succeeded: 0,
            expires: 0,
            openings: 0,
        }
    }

    fn shift(&mut self, state: BreakerState) {
        self.state = state;
        self.generation += 1;
        self.calls.clear();
        self.in_a_row = 0;
    }

    fn reopen(&mut self, now: u64) {
        let growth = self.config.open_multiplier.powi(self.openings as i32);
        let duration =
            (ms(self.config.open_duration) as f64 * growth).min(ms(self.config.max_open_duration) as f64);
        self.openings += 1;
        self.shift(BreakerState::Open);
        self.until = now + duration as u64;
    }

    fn begin_trial(&mut self, now: u64) -> Option<Ticket> {
        self.shift(BreakerState::HalfOpen);
        (self.out, self.succeeded, self.expires) = (1, 0, now + ms(self.config.max_half_open));
        self.ticket(now, true)
    }

    fn ticket(&self, started: u64, probe: bool) -> Option<Ticket> {
        Some(Ticket { generation: self.generation, probe, started })
    }

    fn admit(&mut self, now: u64) -> Option<Ticket> {
        match self.state {
            BreakerState::Closed | BreakerState::Disabled | BreakerState::MetricsOnly => {
                self.ticket(now, false)
            }
            BreakerState::ForcedOpen => None,
            BreakerState::Open if now < self.until => None,
            BreakerState::Open => self.begin_trial(now),
            BreakerState::HalfOpen if now >= self.expires && self.out == 0 => self.begin_trial(now),
            BreakerState::HalfOpen if now >= self.expires => {
                self.reopen(now);
                None
            }
            BreakerState::HalfOpen if self.out + self.succeeded < self.config.half_open_probes => {
                self.out += 1;
                self.ticket(now, true)
            }
            BreakerState::HalfOpen => None,
        }
    }

    fn window(&self, now: u64) -> Vec<(u64, bool, bool)> {
        match self.config.window {
            Window::Count(length) => self.calls[self.calls.len().saturating_sub(length as usize)..].to_vec(),
            Window::Time(length) => {
                let slice = ms(length) / 16;
                let inside = |at: u64| at / slice + 16 > now / slice;
                self.calls.iter().copied().filter(|call| inside(call.0)).collect()
            }
        }
    }

    fn report(&mut self, ticket: Ticket, outcome: Outcome, now: u64) {
        if ticket.generation != self.generation {
            return;
        }
        let slow = self.config.slow_calls.is_some_and(|slow| now - ticket.started >= ms(slow.threshold));
        if ticket.probe {
            return self.settle(outcome, slow, now);
        }
        if outcome == Outcome::Neutral || self.state == BreakerState::Disabled {
            return;
        }
        let failed = outcome == Outcome::Failure;
        self.calls.push((now, failed, slow));
        self.in_a_row = if failed { self.in_a_row + 1 } else { 0 };
        if (failed || slow) && self.is_over(now) {
            if self.state == BreakerState::MetricsOnly {
                self.shift(BreakerState::MetricsOnly);
            } else {
                self.reopen(now);
            }
        }
    }

    fn is_over(&self, now: u64) -> bool {
        let window = self.window(now);
        let share = |count: usize| count as f64 / window.len() as f64;
        let enough = window.len() >= self.config.minimum_calls as usize;
        let failed = share(window.iter().filter(|call| call.1).count());
        let slow = share(window.iter().filter(|call| call.2).count());
        self.config.consecutive_failures.is_some_and(|limit| self.in_a_row >= limit)
            || enough && self.config.failure_rate.is_some_and(|rate| failed >= rate)
            || enough && self.config.slow_calls.is_some_and(|calls| slow >= calls.rate)
    }

    fn settle(&mut self, outcome: Outcome, slow: bool, now: u64) {
        self.out -= 1;
        match outcome {
            Outcome::Neutral => {}
            Outcome::Success if !slow => {
                self.succeeded += 1;
                if self.succeeded == self.config.half_open_probes {
                    self.openings = 0;
                    self.shift(BreakerState::Closed);
                }
            }
            _ => self.reopen(now),
        }
    }

    fn set(&mut self, state: BreakerState) {
        self.openings = 0;
        self.shift(state);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    Admit,
    /// One of the permits held, by its position modulo their number.
    Report(usize, Outcome),
    Drop(usize),
    Set(BreakerState),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use BreakerState::{Closed, Disabled, ForcedOpen, MetricsOnly};
    let outcome =
        || prop_oneof![4 => Just(Outcome::Failure), 4 => Just(Outcome::Success), 1 => Just(Outcome::Neutral)];
    let step = prop_oneof![
        20 => (0..80_u64).prop_map(Step::Advance),
        1 => (200..5_000_u64).prop_map(Step::Advance),
        40 => Just(Step::Admit),
        40 => (any::<usize>(), outcome()).prop_map(|(at, outcome)| Step::Report(at, outcome)),
        4 => any::<usize>().prop_map(Step::Drop),
        1 => prop_oneof![Just(Closed), Just(Disabled), Just(ForcedOpen), Just(MetricsOnly)].prop_map(Step::Set),
    ];
    proptest::collection::vec(step, 1..400)
}

fn configs() -> impl Strategy<Value = BreakerConfig> {
    let window = prop_oneof![
        (4..40_u32).prop_map(Window::Count),
        (1..30_u64).prop_map(|slice| Window::Time(Duration::from_millis(slice * 16))),
    ];
    let slow = (5..100_u64, 0.2..1.0_f64)
        .prop_map(|(ms, rate)| SlowCalls { threshold: Duration::from_millis(ms), rate });
    let slow = proptest::option::of(slow);
    let in_a_row = proptest::option::of(2..8_u32);
    (window, 1..=4_u32, 0.1..=1.0_f64, slow, in_a_row, 1..5_u32, 1..200_u64, 1..200_u64).prop_map(
        |(window, calls, rate, slow, in_a_row, probes, open, half_open)| {
            BreakerConfig::default()
                .with_window(window)
                .with_minimum_calls(calls)
                .with_failure_rate(rate)
                .with_slow_calls(slow)
                .with_consecutive_failures(in_a_row)
                .with_half_open_probes(probes)
                .with_open_duration(Duration::from_millis(open))
                .with_open_growth(2.0, Duration::from_millis(open * 5))
                .with_max_half_open(Duration::from_millis(half_open))
        },
    )
}

fn set(breaker: &Breaker, state: BreakerState) {
    match state {
        BreakerState::ForcedOpen => breaker.force_open(),
        BreakerState::Disabled => breaker.disable(),
        BreakerState::MetricsOnly => breaker.metrics_only(),
        _ => breaker.close(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_breaker_does_what_the_model_does(config in configs(), steps in steps()) {
        let start = Instant::now();
        let breaker = Breaker::new("model", config, start).unwrap();
        let mut model = Model::new(config);
        let mut held = Vec::new();
        let mut now_ms = 0;
        for step in steps {
            let now = start + Duration::from_millis(now_ms);
            match step {
                Step::Advance(by) => now_ms += by,
                Step::Admit => {
                    let (real, naive) = (breaker.admit(now), model.admit(now_ms));
                    prop_assert_eq!(real.is_ok(), naive.is_some(), "admission at {} ms", now_ms);
                    held.extend(real.ok().zip(naive));
                }
                Step::Report(at, outcome) if !held.is_empty() => {
                    let (permit, ticket) = held.swap_remove(at % held.len());
                    permit.record(outcome, now);
                    model.report(ticket, outcome, now_ms);
                }
                Step::Drop(at) if !held.is_empty() => {
                    let (permit, ticket) = held.swap_remove(at % held.len());
                    drop(permit);
                    model.report(ticket, Outcome::Neutral, now_ms);
                }
                Step::Report(..) | Step::Drop(_) => {}
                Step::Set(state) => {
                    set(&breaker, state);
                    model.set(state);
                }
            }
            let seen = breaker.snapshot(start + Duration::from_millis(now_ms));
            let window = model.window(now_ms);
            prop_assert_eq!(seen.state, model.state, "state at {} ms", now_ms);
            prop_assert_eq!(seen.calls as usize, window.len(), "calls at {} ms", now_ms);
            prop_assert_eq!(seen.failed as usize, window.iter().filter(|call| call.1).count());
            prop_assert_eq!(seen.slow as usize, window.iter().filter(|call| call.2).count());
            prop_assert_eq!(seen.consecutive_failures, model.in_a_row);
        }
    }
}
