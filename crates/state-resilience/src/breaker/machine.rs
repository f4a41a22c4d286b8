//! The breaker's state machine: admitting, recording, judging and changing state.
//!
//! Reading the state takes no lock. Every change of it happens under the lock of [`Trial`], with the state read
//! again inside; the observer is told after the lock is released.

use std::time::Duration;

use tokio::time::Instant;

use super::report::Open;
use super::state::{BreakerState, Word};
use super::window::Sample;
use super::{Breaker, Grant, Trial, as_ns};
use crate::class::Outcome;
use crate::observer::{BreakerChange, ChangeCause};
use crate::sync::Ordering;

/// So many generations ahead, a count is newer than the report at hand; further ahead, numbers have wrapped.
const LATE: u64 = 64;

/// What a look at the state gives: perhaps a change to tell of, and the answer.
type Admission<'a> = (Option<BreakerChange<'a>>, Result<Grant, Open>);

impl Breaker {
    pub(super) fn set(&self, state: BreakerState) {
        let change = {
            let mut trial = self.trial.lock();
            trial.openings = 0;
            self.shift(state, 0, ChangeCause::Manual)
        };
        self.tell(change);
    }

    #[inline]
    pub(super) fn grant(&self, now: Instant) -> Result<Grant, Open> {
        let word = self.word();
        if word.state() == BreakerState::Closed {
            return Ok(Grant { generation: word.generation(), probe: false });
        }
        self.grant_unless_closed(word, now)
    }

    fn grant_unless_closed(&self, word: Word, now: Instant) -> Result<Grant, Open> {
        match word.state() {
            BreakerState::Closed | BreakerState::Disabled | BreakerState::MetricsOnly => {
                Ok(Grant { generation: word.generation(), probe: false })
            }
            BreakerState::ForcedOpen => Err(self.rejected(None)),
            BreakerState::Open if self.elapsed_ms(now) < word.until_ms() => {
                Err(self.rejected(self.rejects_for(now)))
            }
            BreakerState::Open | BreakerState::HalfOpen => self.grant_probe(now),
        }
    }

    #[cold]
    fn grant_probe(&self, now: Instant) -> Result<Grant, Open> {
        let (change, granted) = {
            let mut trial = self.trial.lock();
            self.probe(&mut trial, now)
        };
        self.tell(change);
        granted
    }

    fn probe(&self, trial: &mut Trial, now: Instant) -> Admission<'_> {
        let word = self.word();
        let now_ms = self.elapsed_ms(now);
        match word.state() {
            BreakerState::Open if now_ms < word.until_ms() => {
                (None, Err(self.rejected(self.rejects_for(now))))
            }
            BreakerState::Open => self.begin_trial(trial, now_ms, ChangeCause::OpenElapsed),
            BreakerState::HalfOpen if now_ms >= trial.expires_ms && trial.out == 0 => {
                self.begin_trial(trial, now_ms, ChangeCause::ProbesRestarted)
            }
            BreakerState::HalfOpen if now_ms >= trial.expires_ms => {
                let change = self.reopen(trial, self.elapsed_ns(now), ChangeCause::ProbesLost);
                (change, Err(self.rejected(self.rejects_for(now))))
            }
            BreakerState::HalfOpen if trial.out + trial.succeeded < self.config.half_open_probes => {
                trial.out += 1;
                (None, Ok(Grant { generation: word.generation(), probe: true }))
            }
            BreakerState::HalfOpen => {
                (None, Err(self.rejected(Some(Duration::from_millis(trial.expires_ms - now_ms)))))
            }
            BreakerState::ForcedOpen => (None, Err(self.rejected(None))),
            // Closed, or changed by hand, since the word was read without the lock.
            BreakerState::Closed | BreakerState::Disabled | BreakerState::MetricsOnly => {
                (None, Ok(Grant { generation: word.generation(), probe: false }))
            }
        }
    }

    fn begin_trial(&self, trial: &mut Trial, now_ms: u64, cause: ChangeCause) -> Admission<'_> {
        let expires_ms = now_ms.saturating_add(ceil_ms(as_ns(self.config.max_half_open)));
        *trial = Trial { out: 1, succeeded: 0, expires_ms, openings: trial.openings };
        let change = self.shift(BreakerState::HalfOpen, 0, cause);
        (change, Ok(Grant { generation: self.word().generation(), probe: true }))
    }

    /// Records one more success of a healthy service in a few instructions, and everything else slowly.
    #[inline(always)]
    pub(super) fn succeed(&self, grant: Grant, started: Instant, now: Instant) {
        let in_a_row = self.hot.0.streak.load(Ordering::Relaxed) as u32;
        let judges_time = self.config.slow_calls.is_some();
        if in_a_row == 0 && !judges_time && !grant.probe && self.word().is_closed_in(grant.generation) {
            let sample = Sample { failed: false, slow: false };
            return self.ring.record(grant.generation, || self.elapsed_ns(now), sample);
        }
        self.record(grant, Outcome::Success, started, now);
    }

    #[inline(never)]
    pub(super) fn record(&self, grant: Grant, outcome: Outcome, started: Instant, now: Instant) {
        let slow = self.is_slow(started, now);
        if grant.probe {
            return self.settle(grant.generation, outcome, slow, now);
        }
        let word = self.word();
        if outcome == Outcome::Neutral || word.generation() != grant.generation || !word.state().counts() {
            return;
        }
        let sample = Sample { failed: outcome == Outcome::Failure, slow };
        let elapsed_ns = self.elapsed_ns(now);
        self.ring.record(grant.generation, || elapsed_ns, sample);
        let in_a_row = self.count_streak(grant.generation, sample.failed);
        if sample.failed || sample.slow {
            self.judge(grant.generation, elapsed_ns, in_a_row);
        }
    }

    /// Counts failures in a row and returns how many there are.
    fn count_streak(&self, generation: u32, failed: bool) -> u32 {
        let streak = &self.hot.0.streak;
        let tag = u64::from(generation) << 32;
        let mut seen = streak.load(Ordering::Relaxed);
        loop {
            // A late report of an older generation must not overwrite the count of the current one.
            if (1..LATE).contains(&(seen >> 32).wrapping_sub(u64::from(generation))) {
                return 0;
            }
            let count = if seen >> 32 == u64::from(generation) { seen as u32 } else { 0 };
            let next = if failed { count.saturating_add(1) } else { 0 };
            // The steady state of a healthy service: nothing to write.
            if next == count {
                return next;
            }
            match streak.compare_exchange_weak(
                seen,
                tag | u64::from(next),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return next,
                Err(now) => seen = now,
            }
        }
    }

    /// Opens the breaker if a threshold is reached.
    #[cold]
    fn judge(&self, generation: u32, elapsed_ns: u64, in_a_row: u32) {
        let totals = self.ring.totals(generation, elapsed_ns);
        let reached = |share: Option<f64>, count: u32| {
            totals.calls >= self.config.minimum_calls
                && share.is_some_and(|share| f64::from(count) / f64::from(totals.calls) >= share)
        };
        let cause = if self.config.consecutive_failures.is_some_and(|limit| in_a_row >= limit) {
            ChangeCause::ConsecutiveFailures
        } else if reached(self.config.failure_rate, totals.failed) {
            ChangeCause::FailureRate
        } else if reached(self.config.slow_calls.map(|slow| slow.rate), totals.slow) {
            ChangeCause::SlowCallRate
        } else {
            return;
        };
        let change = {
            let mut trial = self.trial.lock();
            let word = self.word();
            match word.state() {
                _ if word.generation() != generation => None,
                BreakerState::MetricsOnly => self.shift(BreakerState::MetricsOnly, 0, cause),
                _ => self.reopen(&mut trial, elapsed_ns, cause),
            }
        };
        self.tell(change);
    }

    /// Takes a probe's report.
    #[cold]
    fn settle(&self, generation: u32, outcome: Outcome, slow: bool, now: Instant) {
        let change = {
            let mut trial = self.trial.lock();
            let word = self.word();
            if word.generation() != generation || word.state() != BreakerState::HalfOpen {
                return;
            }
            trial.out = trial.out.saturating_sub(1);
            match outcome {
                Outcome::Neutral => None,
                Outcome::Success if !slow => {
                    trial.succeeded += 1;
                    if trial.succeeded < self.config.half_open_probes {
                        return;
                    }
                    trial.openings = 0;
                    self.shift(BreakerState::Closed, 0, ChangeCause::ProbesSucceeded)
                }
                Outcome::Success | Outcome::Failure => {
                    self.reopen(&mut trial, self.elapsed_ns(now), ChangeCause::ProbeFailed)
                }
            }
        };
        self.tell(change);
    }

    /// Gives back the slot of a probe that will not report.
    pub(super) fn forget(&self, generation: u32) {
        let mut trial = self.trial.lock();
        let word = self.word();
        if word.generation() == generation && word.state() == BreakerState::HalfOpen {
            trial.out = trial.out.saturating_sub(1);
        }
    }

    /// Opens for one more, longer time. Only under the lock.
    pub(super) fn reopen(
        &self,
        trial: &mut Trial,
        elapsed_ns: u64,
        cause: ChangeCause,
    ) -> Option<BreakerChange<'_>> {
        trial.openings = trial.openings.saturating_add(1);
        let until_ns = elapsed_ns.saturating_add(as_ns(self.config.open_for(trial.openings)));
        self.shift(BreakerState::Open, ceil_ms(until_ns), cause)
    }

    /// Makes a transition. Only under the lock.
    fn shift(&self, to: BreakerState, until_ms: u64, cause: ChangeCause) -> Option<BreakerChange<'_>> {
        let word = self.word();
        let next = word.next(to, until_ms);
        self.hot.0.word.store(next.0, Ordering::Release);
        Some(BreakerChange { name: &self.name, from: word.state(), to, cause, generation: next.generation() })
    }

    /// Tells the observer, with no lock held.
    pub(super) fn tell(&self, change: Option<BreakerChange<'_>>) {
        if let Some(change) = change {
            self.observer.breaker_changed(&change);
        }
    }
}

/// Rounded up, so that an open breaker never lets a probe through early.
fn ceil_ms(ns: u64) -> u64 {
    ns.div_ceil(1_000_000)
}
