//! One attempt: through the guards inside of the retry loop, with its timer and its hedge.

use std::future::Future;
use std::pin::pin;

use tokio::time::Instant;

use crate::breaker::{Breaker, Permit};
use crate::bulkhead::Place;
use crate::call::Attempt;
use crate::class::{Class, Idempotency, Outcome};
use crate::clock::Clock;
use crate::failure::FailureKind;
use crate::hedge::{Race, Winner};
use crate::observer::AttemptFailed;
use crate::policy::{AttemptTimer, BreakerScope, Policy};
use crate::run::{Failed, NoValue, Progress, Stop, Value};
use crate::timer::{earlier, until};

/// The result of an operation and which of its copies gave it; `None` if the timer was first.
type Driven<T, E> = Option<(Result<T, E>, Winner)>;

impl<C: Clock> Policy<C> {
    /// The first attempt of a call that no guard keeps waiting, cuts off or counts; `None` where there is one.
    #[inline]
    pub(crate) fn unguarded<E>(&self, progress: &Progress<E>) -> Option<Attempt> {
        let guards = self.breaker.is_some() || self.rate_limit.is_some() || self.bulkhead.is_some();
        let Progress { start: now, deadline, idempotency, .. } = *progress;
        if guards || deadline.is_some_and(|deadline| now >= deadline) {
            return None;
        }
        let deadline = earlier(self.attempt_timeout.map(|after| now + after), deadline);
        let attempt = Attempt { number: 1, is_hedge: false, started: now, deadline };
        let is_timed = self.timer == AttemptTimer::Policy && deadline.is_some();
        (!is_timed && self.hedge_at(idempotency, &attempt).is_none()).then_some(attempt)
    }

    /// Notes how such an attempt failed.
    pub(crate) fn note_unguarded<E>(&self, progress: &mut Progress<E>, class: Class, error: E) {
        // Its own deadline matters to breakers alone.
        self.failed(progress, None, None, class, Some(error), self.clock.now());
    }

    /// Makes one attempt. On [`NoValue::Failed`], `progress.last` says how.
    pub(crate) async fn attempt<T, E, K, F, Fut>(
        &self,
        progress: &mut Progress<E>,
        mut now: Instant,
        classify: &K,
        operation: &mut F,
    ) -> Result<Value<T>, NoValue>
    where
        K: Fn(&E) -> Class,
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        if progress.deadline.is_some_and(|deadline| now >= deadline) {
            let kind = FailureKind::DeadlineExceeded;
            return Err(NoValue::Stopped(Stop { kind, retry_after: None, at: now }));
        }
        let mut permit = self.admit(BreakerScope::Attempt, now).map_err(NoValue::Stopped)?;
        if self.wait_for_turn(now, progress.deadline).await? {
            now = restart(&self.clock, permit.as_mut());
        }
        let own = self.attempt_timeout.map(|after| now + after);
        let deadline = earlier(own, progress.deadline);
        let place = match self.bulkhead.as_ref().map(|bulkhead| (bulkhead, bulkhead.try_acquire())) {
            None => None,
            Some((_, Some(place))) => Some(place),
            Some((bulkhead, None)) => {
                let waited = bulkhead.acquire(&self.clock, deadline).await;
                now = restart(&self.clock, permit.as_mut());
                Some(waited.map_err(|_| NoValue::Stopped(full(now, progress.deadline)))?)
            }
        };
        progress.attempts += 1;
        let attempt = Attempt { number: progress.attempts, is_hedge: false, started: now, deadline };
        let driven = self.drive(progress.idempotency, &mut progress.hedges, attempt, operation).await;
        drop(place);
        let (class, error) = match driven {
            Some((Ok(value), winner)) => {
                let at = permit.map(|permit| {
                    let at = self.clock.now();
                    permit.success(at);
                    at
                });
                return Ok(Value { value, winner, at });
            }
            Some((Err(error), _)) => (classify(&error), Some(error)),
            None => (Class::Ambiguous, None),
        };
        self.failed(progress, permit, own, class, error, self.clock.now());
        Err(NoValue::Failed)
    }

    /// Waits for the rate limit. Says whether that took time.
    async fn wait_for_turn(&self, now: Instant, deadline: Option<Instant>) -> Result<bool, NoValue> {
        let Some(limit) = &self.rate_limit else { return Ok(false) };
        limit.acquire(&self.clock, now, deadline).await.map_err(|limited| {
            let retry_after = Some(limited.retry_after());
            NoValue::Stopped(Stop { kind: FailureKind::RateLimited, retry_after, at: self.clock.now() })
        })
    }

    /// Runs the operation to its end, its hedge's end or the end of its time.
    async fn drive<T, E, F, Fut>(
        &self,
        idempotency: Idempotency,
        hedges: &mut u32,
        attempt: Attempt,
        operation: &mut F,
    ) -> Driven<T, E>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let deadline = attempt.deadline.filter(|_| self.timer == AttemptTimer::Policy);
        let mut first = pin!(operation(attempt));
        if let Some(at) = self.hedge_at(idempotency, &attempt) {
            if let Some(result) = until(&self.clock, Some(at), first.as_mut()).await {
                return Some((result, Winner::First));
            }
            if let Some(_place) = self.hedge_room(at) {
                *hedges += 1;
                if let Some(observer) = &self.observer {
                    observer.hedge_sent(&self.name);
                }
                let second = Box::pin(operation(Attempt { is_hedge: true, started: at, ..attempt }));
                return until(&self.clock, deadline, pin!(Race::new(first, second))).await;
            }
        }
        let result = until(&self.clock, deadline, first).await;
        result.map(|result| (result, Winner::First))
    }

    /// When to send the second copy, if at all.
    fn hedge_at(&self, idempotency: Idempotency, attempt: &Attempt) -> Option<Instant> {
        let hedge = self.hedge.as_ref().filter(|_| idempotency == Idempotency::Safe)?;
        let at = attempt.started + hedge.delay();
        attempt.deadline.is_none_or(|deadline| at < deadline).then_some(at)
    }

    /// Pays for a hedge and takes a place for it, both at once or not at all: it never waits.
    fn hedge_room(&self, now: Instant) -> Option<Option<Place<'_>>> {
        let place = match &self.bulkhead {
            Some(bulkhead) => Some(bulkhead.try_acquire()?),
            None => None,
        };
        if let Some(budget) = &self.budget {
            budget.withdraw(now)?.spend();
        }
        Some(place)
    }

    /// Notes how an attempt failed, and reports it to breaker and observer.
    fn failed<E>(
        &self,
        progress: &mut Progress<E>,
        permit: Option<Permit<&Breaker>>,
        own_deadline: Option<Instant>,
        class: Class,
        error: Option<E>,
        at: Instant,
    ) {
        // A caller who gave the attempt less time than it is meant to have says nothing about the service.
        let cut_short = match (own_deadline, progress.deadline) {
            (Some(own), Some(call)) => call < own && at >= call,
            _ => false,
        };
        let outcome = if cut_short && class.is_ambiguous() { Outcome::Neutral } else { class.outcome() };
        if let Some(permit) = permit {
            permit.record(outcome, at);
        }
        progress.ambiguous |= class.is_ambiguous() && progress.idempotency != Idempotency::Safe;
        if let Some(observer) = &self.observer {
            let event = AttemptFailed { attempt: progress.attempts, class, timed_out: error.is_none() };
            observer.attempt_failed(&self.name, &event);
        }
        progress.last = Some(Failed { class, outcome, error, at });
    }
}

/// Reads the clock after a wait, and keeps that wait out of what the breaker takes for the service's time.
fn restart<C: Clock>(clock: &C, permit: Option<&mut Permit<&Breaker>>) -> Instant {
    let now = clock.now();
    if let Some(permit) = permit {
        permit.restart(now);
    }
    now
}

/// No place at the bulkhead: because the call's time was up, or before that.
fn full(now: Instant, deadline: Option<Instant>) -> Stop {
    let late = deadline.is_some_and(|deadline| now >= deadline);
    let kind = if late { FailureKind::DeadlineExceeded } else { FailureKind::BulkheadFull };
    Stop { kind, retry_after: None, at: now }
}
