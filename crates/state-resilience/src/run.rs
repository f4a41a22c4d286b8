//! Running one call through a policy: the retry loop.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Schedule;
use crate::breaker::Permit;
use crate::budget::Withdrawal;
use crate::call::{Attempt, Call};
use crate::class::{Class, Idempotency, Outcome};
use crate::clock::Clock;
use crate::failure::{Completed, Failure, FailureKind, Inner, Origin};
use crate::hedge::Winner;
use crate::observer::{CallEnded, RetryScheduled};
use crate::policy::{BreakerScope, Policy};
use crate::timer::{earlier, until};

/// Where a call stands.
pub(crate) struct Progress<E> {
    pub(crate) idempotency: Idempotency,
    pub(crate) start: Instant,
    pub(crate) deadline: Option<Instant>,
    pub(crate) attempts: u32,
    pub(crate) hedges: u32,
    /// Some attempt so far may have taken effect.
    pub(crate) ambiguous: bool,
    pub(crate) last: Option<Failed<E>>,
}

/// How an attempt failed.
pub(crate) struct Failed<E> {
    pub(crate) class: Class,
    pub(crate) outcome: Outcome,
    /// `None` if the policy's timer cut it off.
    pub(crate) error: Option<E>,
    pub(crate) at: Instant,
}

/// Why a call ends without a value.
pub(crate) struct Stop {
    pub(crate) kind: FailureKind,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) at: Instant,
}

/// A value from the operation.
pub(crate) struct Value<T> {
    pub(crate) value: T,
    pub(crate) winner: Winner,
    /// When it came, if somebody asked the clock.
    pub(crate) at: Option<Instant>,
}

/// An attempt that gave no value: it failed (see [`Progress::last`]), or was not let through.
pub(crate) enum NoValue {
    Failed,
    Stopped(Stop),
}

impl<C: Clock> Policy<C> {
    /// Runs `operation` under this policy.
    ///
    /// `operation` is called once for each attempt (and hedge) and told which one it is; `classify` says what an
    /// error of it means. Dropping the future cancels the operation in flight and gives back every permit, place
    /// and withdrawal; the breaker counts nothing for it. Nothing is allocated unless an attempt fails or is hedged.
    ///
    /// # Errors
    /// [`Failure`], whose [`kind`](Failure::kind) says why the policy stopped and whose `last` is the operation's
    /// error.
    pub async fn run<T, E, K, F, Fut>(
        &self,
        call: impl Into<Call>,
        classify: K,
        mut operation: F,
    ) -> Result<Completed<T>, Failure<E>>
    where
        K: Fn(&E) -> Class,
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let mut progress = self.begin(call.into());
        // Every future inside of another one costs each call something: where no guard comes between the call and its
        // first attempt, that is made right here.
        if let Some(attempt) = self.unguarded(&progress) {
            progress.attempts = 1;
            match operation(attempt).await {
                Ok(value) => {
                    return Ok(self.completed(&progress, Value { value, winner: Winner::First, at: None }));
                }
                Err(error) => self.note_unguarded(&mut progress, classify(&error), error),
            }
        }
        self.guarded(&mut progress, &classify, &mut operation).await
    }

    /// As [`run`](Self::run), and asks `fallback` for the value when the service could not be used.
    ///
    /// It is asked when [`Failure::allows_fallback`] says so: not when the service answered that the request is
    /// wrong, and not when an `Unsafe` operation may have run. [`Completed::origin`] tells that its value was
    /// served. It is cut off at the call's deadline, but a fallback that is ready at once is served even later.
    ///
    /// # Errors
    /// The [`Failure`] of the operation, which also holds the fallback's error if it had one.
    pub async fn run_or_else<T, E, K, F, Fut, G, Alternative>(
        &self,
        call: impl Into<Call>,
        classify: K,
        mut operation: F,
        fallback: G,
    ) -> Result<Completed<T>, Failure<E>>
    where
        K: Fn(&E) -> Class,
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        G: FnOnce(&Failure<E>) -> Alternative,
        Alternative: Future<Output = Result<T, E>>,
    {
        let mut progress = self.begin(call.into());
        let failure = match self.guarded(&mut progress, &classify, &mut operation).await {
            Err(failure) if failure.allows_fallback() => failure,
            decided => return decided,
        };
        let served = {
            let alternative = pin!(fallback(&failure));
            until(&self.clock, progress.deadline, alternative).await
        };
        match served {
            Some(Ok(value)) => {
                if let Some(observer) = &self.observer {
                    observer.fallback_served(&self.name, failure.kind());
                }
                let origin = Origin::Fallback(failure.kind());
                Ok(Completed { value, origin, attempts: failure.attempts() })
            }
            Some(Err(error)) => Err(failure.with_fallback_error(error)),
            None => Err(failure),
        }
    }

    fn begin<E>(&self, call: Call) -> Progress<E> {
        if let Some(budget) = &self.budget {
            budget.deposit();
        }
        let start = call.started.unwrap_or_else(|| self.clock.now());
        Progress {
            idempotency: call.idempotency,
            start,
            deadline: earlier(call.deadline, self.deadline.map(|after| start + after)),
            attempts: 0,
            hedges: 0,
            ambiguous: false,
            last: None,
        }
    }

    /// The call inside of a breaker that counts whole calls, if there is one.
    async fn guarded<T, E, K, F, Fut>(
        &self,
        progress: &mut Progress<E>,
        classify: &K,
        operation: &mut F,
    ) -> Result<Completed<T>, Failure<E>>
    where
        K: Fn(&E) -> Class,
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let result = match self.admit(BreakerScope::Call, progress.start) {
            Err(stop) => Err(stop),
            Ok(permit) => {
                let result = self.repeated(progress, classify, operation).await;
                if let Some(permit) = permit {
                    report(permit, &result, progress.last.as_ref(), || self.clock.now());
                }
                result
            }
        };
        self.conclude(progress, result)
    }

    /// Attempts, until one succeeds or there is to be no other; the first may have been made.
    async fn repeated<T, E, K, F, Fut>(
        &self,
        progress: &mut Progress<E>,
        classify: &K,
        operation: &mut F,
    ) -> Result<Value<T>, Stop>
    where
        K: Fn(&E) -> Class,
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let mut schedule = None;
        let mut now = progress.start;
        loop {
            if let Some(failed) = &progress.last {
                let (next, withdrawal) = self.plan(progress, failed, &mut schedule)?;
                self.clock.sleep_until(next).await;
                if let Some(withdrawal) = withdrawal {
                    withdrawal.spend();
                }
                now = self.clock.now();
            }
            match self.attempt(progress, now, classify, operation).await {
                Ok(value) => return Ok(value),
                Err(NoValue::Stopped(stop)) => return Err(stop),
                Err(NoValue::Failed) => {}
            }
        }
    }

    /// When the next attempt starts, with the repeat that it costs, or why there is none.
    fn plan<E>(
        &self,
        progress: &Progress<E>,
        failed: &Failed<E>,
        schedule: &mut Option<Box<dyn Schedule>>,
    ) -> Result<(Instant, Option<Withdrawal<'_>>), Stop> {
        let (class, now) = (failed.class, failed.at);
        let stop = |kind, retry_after| Err(Stop { kind, retry_after, at: now });
        let late = progress.deadline.is_some_and(|deadline| now >= deadline);
        if !class.repeats(progress.idempotency) {
            return stop(last_word(failed, late), class.wait());
        }
        if late {
            return stop(FailureKind::DeadlineExceeded, class.wait());
        }
        let Some(delay) = self.scheduled(progress.attempts, schedule) else {
            return stop(FailureKind::AttemptsExhausted, class.wait());
        };
        let Some(delay) = self.retry.as_ref().and_then(|retry| retry.clamp(delay, class.wait())) else {
            return stop(FailureKind::AskedToWait, class.wait());
        };
        if progress.deadline.is_some_and(|deadline| now + delay >= deadline) {
            return stop(FailureKind::DeadlineExceeded, class.wait());
        }
        if let Some(closed_for) = self.rejected_after(delay, now) {
            return stop(FailureKind::CircuitOpen, closed_for);
        }
        let withdrawal = match &self.budget {
            Some(budget) => match budget.withdraw(now) {
                Some(withdrawal) => Some(withdrawal),
                None => return stop(FailureKind::BudgetExhausted, class.wait()),
            },
            None => None,
        };
        if let Some(observer) = &self.observer {
            observer
                .retry_scheduled(&self.name, &RetryScheduled { attempt: progress.attempts, class, delay });
        }
        Ok((now + delay, withdrawal))
    }

    /// The schedule's delay, or `None` when there are no attempts left.
    fn scheduled(&self, attempts: u32, schedule: &mut Option<Box<dyn Schedule>>) -> Option<Duration> {
        let retry = self.retry.as_ref().filter(|retry| attempts < retry.max_attempts())?;
        schedule.get_or_insert_with(|| retry.start()).next_delay(attempts)
    }

    /// Whether the breaker is certain to reject an attempt after `delay`: then there is no use in waiting for it.
    /// The inner value is what to tell the caller.
    fn rejected_after(&self, delay: Duration, now: Instant) -> Option<Option<Duration>> {
        let breaker = self.breaker.as_ref().filter(|_| self.scope == BreakerScope::Attempt)?;
        let rejects_for = breaker.rejects_for(now).filter(|left| *left > delay)?;
        Some(Some(rejects_for).filter(|left| *left < Duration::MAX))
    }

    /// A permit of the breaker if it counts at this scope.
    #[inline]
    pub(crate) fn admit(
        &self,
        scope: BreakerScope,
        now: Instant,
    ) -> Result<Option<Permit<&crate::breaker::Breaker>>, Stop> {
        match &self.breaker {
            Some(breaker) if self.scope == scope => match breaker.admit(now) {
                Ok(permit) => Ok(Some(permit)),
                Err(open) => {
                    Err(Stop { kind: FailureKind::CircuitOpen, retry_after: open.retry_after(), at: now })
                }
            },
            _ => Ok(None),
        }
    }

    fn conclude<T, E>(
        &self,
        progress: &mut Progress<E>,
        result: Result<Value<T>, Stop>,
    ) -> Result<Completed<T>, Failure<E>> {
        let Stop { kind, retry_after, at } = match result {
            Ok(value) => return Ok(self.completed(progress, value)),
            Err(stop) => stop,
        };
        self.tell_end(progress, Some(kind), Some(at));
        Err(Failure::new(Inner {
            kind,
            attempts: progress.attempts,
            hedges: progress.hedges,
            elapsed: at.saturating_duration_since(progress.start),
            ambiguous: progress.ambiguous,
            idempotency: progress.idempotency,
            retry_after,
            last: progress.last.take().map(|failed| (failed.class, failed.error)),
            fallback: None,
        }))
    }

    #[inline]
    fn completed<T, E>(&self, progress: &Progress<E>, value: Value<T>) -> Completed<T> {
        let Value { value, winner, at } = value;
        self.tell_end(progress, None, at);
        let origin = if winner == Winner::First { Origin::Operation } else { Origin::Hedge };
        Completed { value, origin, attempts: progress.attempts }
    }

    /// Tells the observer how the call ended, and when: now, if nobody has asked the clock.
    fn tell_end<E>(&self, progress: &Progress<E>, failure: Option<FailureKind>, at: Option<Instant>) {
        if let Some(observer) = &self.observer {
            let at = at.unwrap_or_else(|| self.clock.now());
            let Progress { attempts, hedges, .. } = *progress;
            let elapsed = at.saturating_duration_since(progress.start);
            observer.call_ended(&self.name, &CallEnded { failure, attempts, hedges, elapsed });
        }
    }
}

/// Why a failure that is not repeated ends the call.
fn last_word<E>(failed: &Failed<E>, late: bool) -> FailureKind {
    match (failed.class, &failed.error) {
        (Class::Shed, _) => FailureKind::Shed,
        (_, None) if late => FailureKind::DeadlineExceeded,
        (_, None) => FailureKind::Timeout,
        _ => FailureKind::Final,
    }
}

/// Tells a breaker that counts whole calls how one ended.
fn report<T, E>(
    permit: Permit<&crate::breaker::Breaker>,
    result: &Result<Value<T>, Stop>,
    last: Option<&Failed<E>>,
    now: impl Fn() -> Instant,
) {
    match (result, last) {
        (Ok(value), _) => permit.success(value.at.unwrap_or_else(now)),
        (Err(stop), Some(failed)) => permit.record(failed.outcome, stop.at),
        // Not let through by another guard: dropping the permit counts nothing.
        (Err(_), None) => {}
    }
}
