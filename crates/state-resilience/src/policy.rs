//! The policy: the guards around an operation, in their fixed order.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::breaker::{Breaker, BreakerConfig};
use crate::budget::{BudgetConfig, RetryBudget};
use crate::bulkhead::{Bulkhead, BulkheadConfig};
use crate::clock::{Clock, TokioClock};
use crate::error::{Error, Result, check_duration};
use crate::hedge::Hedge;
use crate::observer::Observer;
use crate::rate_limit::{RateLimit, RateLimitConfig};
use crate::retry::Retry;

/// Guards around any operation that returns a future, in a fixed order.
///
/// From outer to inner: total deadline, retry with its budget, breaker, rate limit, attempt timeout, bulkhead, the
/// operation with its hedge. Build one per backend and run every call through it; it is shared by reference or in an
/// `Arc`. `Debug` prints the stack as it is in effect.
///
/// Call it with [`run`](Self::run) or [`run_or_else`](Self::run_or_else).
pub struct Policy<C: Clock = TokioClock> {
    pub(crate) name: Arc<str>,
    pub(crate) clock: C,
    pub(crate) deadline: Option<Duration>,
    pub(crate) retry: Option<Retry>,
    pub(crate) budget: Option<Arc<RetryBudget>>,
    pub(crate) breaker: Option<Arc<Breaker>>,
    pub(crate) scope: BreakerScope,
    pub(crate) rate_limit: Option<Arc<RateLimit>>,
    pub(crate) attempt_timeout: Option<Duration>,
    pub(crate) timer: AttemptTimer,
    pub(crate) bulkhead: Option<Arc<Bulkhead>>,
    pub(crate) hedge: Option<Arc<Hedge>>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

/// What a breaker counts as one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerScope {
    /// Each attempt: the breaker opens sooner, and ends the repeating when it does. The default.
    #[default]
    Attempt,
    /// The call with all its attempts, judged by how the last one ended: failures that a repeat mends go unseen.
    Call,
}

/// Who ends an attempt that takes too long. Never both, so that no second timer is paid for or fires first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttemptTimer {
    /// The policy drops the operation's future. The default.
    #[default]
    Policy,
    /// The operation itself, at [`Attempt::deadline`](crate::Attempt::deadline), with an error of its own: for a
    /// client that has a timer anyway and must know of each timeout. The policy sets no timer; an operation that
    /// ignores its deadline is waited for.
    Operation,
}

impl Policy {
    /// A policy of what is added to it.
    pub fn builder(name: impl Into<Arc<str>>) -> PolicyBuilder {
        PolicyBuilder::new(name.into())
    }

    /// For most backends: 5 s in all, three attempts of 1 s each with [`Backoff::default`], and budget and breaker
    /// with their defaults.
    pub fn standard(name: impl Into<Arc<str>>) -> PolicyBuilder {
        Self::builder(name)
            .deadline(Duration::from_secs(5))
            .retry(Retry::new(3, Backoff::default()))
            .budget(BudgetConfig::default())
            .breaker(BreakerConfig::default())
            .attempt_timeout(Duration::from_secs(1))
    }

    /// For callers that would rather have no answer than a late one: one attempt of 250 ms, and a breaker that opens
    /// for 1 s after five failures in a row.
    pub fn fail_fast(name: impl Into<Arc<str>>) -> PolicyBuilder {
        let breaker = BreakerConfig::default()
            .with_consecutive_failures(5)
            .with_open_duration(Duration::from_secs(1))
            .with_open_growth(2.0, Duration::from_secs(10));
        Self::builder(name).breaker(breaker).attempt_timeout(Duration::from_millis(250))
    }

    /// No guard at all: the operation as it is, once.
    ///
    /// # Panics
    /// Never: there is nothing in it that could be refused.
    #[must_use]
    pub fn none(name: impl Into<Arc<str>>) -> Self {
        Self::builder(name).build().expect("an empty policy has no setting to refuse")
    }
}

impl<C: Clock> Policy<C> {
    /// The name it was made with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its breaker.
    #[must_use]
    pub fn breaker(&self) -> Option<&Arc<Breaker>> {
        self.breaker.as_ref()
    }

    /// Its retry budget.
    #[must_use]
    pub fn budget(&self) -> Option<&Arc<RetryBudget>> {
        self.budget.as_ref()
    }

    /// Its bulkhead.
    #[must_use]
    pub fn bulkhead(&self) -> Option<&Arc<Bulkhead>> {
        self.bulkhead.as_ref()
    }
}

impl<C: Clock> fmt::Debug for Policy<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut stack = f.debug_struct(&format!("Policy({:?})", self.name));
        layer(&mut stack, "deadline", self.deadline.as_ref());
        layer(&mut stack, "retry", self.retry.as_ref());
        layer(&mut stack, "budget", self.budget.as_ref());
        layer(&mut stack, "breaker", self.breaker.as_ref().map(|breaker| (self.scope, breaker)).as_ref());
        layer(&mut stack, "rate_limit", self.rate_limit.as_ref());
        layer(
            &mut stack,
            "attempt_timeout",
            self.attempt_timeout.map(|timeout| (timeout, self.timer)).as_ref(),
        );
        layer(&mut stack, "bulkhead", self.bulkhead.as_ref());
        layer(&mut stack, "hedge", self.hedge.as_ref());
        stack.finish()
    }
}

fn layer(stack: &mut fmt::DebugStruct<'_, '_>, name: &str, value: Option<&impl fmt::Debug>) {
    if let Some(value) = value {
        stack.field(name, value);
    }
}

/// Builds a [`Policy`]. What is not added is not there. The order of the calls does not matter.
#[derive(Clone)]
#[must_use = "a builder does nothing by itself, use `.build()`"]
pub struct PolicyBuilder {
    name: Arc<str>,
    deadline: Option<Duration>,
    retry: Option<Retry>,
    budget: Option<Part<BudgetConfig, RetryBudget>>,
    breaker: Option<Part<BreakerConfig, Breaker>>,
    scope: BreakerScope,
    rate_limit: Option<Part<RateLimitConfig, RateLimit>>,
    attempt_timeout: Option<Duration>,
    timer: AttemptTimer,
    bulkhead: Option<Part<BulkheadConfig, Bulkhead>>,
    hedge: Option<Arc<Hedge>>,
    observer: Option<Arc<dyn Observer>>,
}

/// A guard to be made by `build`, or one that other policies use as well.
enum Part<S, P> {
    Own(S),
    Shared(Arc<P>),
}

impl<S: Copy, P> Clone for Part<S, P> {
    fn clone(&self) -> Self {
        match self {
            Self::Own(settings) => Self::Own(*settings),
            Self::Shared(part) => Self::Shared(Arc::clone(part)),
        }
    }
}

impl<S: Copy, P> Part<S, P> {
    fn make(this: Option<&Self>, new: impl FnOnce(S) -> Result<P>) -> Result<Option<Arc<P>>> {
        this.map(|part| match part {
            Self::Own(settings) => new(*settings).map(Arc::new),
            Self::Shared(part) => Ok(Arc::clone(part)),
        })
        .transpose()
    }
}

impl PolicyBuilder {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            deadline: None,
            retry: None,
            budget: None,
            breaker: None,
            scope: BreakerScope::default(),
            rate_limit: None,
            attempt_timeout: None,
            timer: AttemptTimer::default(),
            bulkhead: None,
            hedge: None,
            observer: None,
        }
    }

    /// A call, all its attempts and waits included, takes no longer. Calls may bring an earlier deadline.
    pub fn deadline(mut self, after: Duration) -> Self {
        self.deadline = Some(after);
        self
    }

    /// Repeats failed attempts.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Bounds repeats and hedges over all calls of this policy.
    pub fn budget(mut self, config: BudgetConfig) -> Self {
        self.budget = Some(Part::Own(config));
        self
    }

    /// Bounds repeats and hedges together with other policies for the same endpoint.
    pub fn shared_budget(mut self, budget: Arc<RetryBudget>) -> Self {
        self.budget = Some(Part::Shared(budget));
        self
    }

    /// Stops calling while the service fails. The breaker takes the policy's name.
    pub fn breaker(mut self, config: BreakerConfig) -> Self {
        self.breaker = Some(Part::Own(config));
        self
    }

    /// As [`breaker`](Self::breaker), with one that others use as well, for instance of a
    /// [`Registry`](crate::Registry).
    pub fn shared_breaker(mut self, breaker: Arc<Breaker>) -> Self {
        self.breaker = Some(Part::Shared(breaker));
        self
    }

    /// What the breaker counts as one call. Default: [`BreakerScope::Attempt`].
    pub fn breaker_scope(mut self, scope: BreakerScope) -> Self {
        self.scope = scope;
        self
    }

    /// Bounds the rate of attempts.
    pub fn rate_limit(mut self, config: RateLimitConfig) -> Self {
        self.rate_limit = Some(Part::Own(config));
        self
    }

    /// Bounds the rate of attempts together with other policies.
    pub fn shared_rate_limit(mut self, limit: Arc<RateLimit>) -> Self {
        self.rate_limit = Some(Part::Shared(limit));
        self
    }

    /// An attempt takes no longer, its wait at the bulkhead included.
    pub fn attempt_timeout(mut self, after: Duration) -> Self {
        self.attempt_timeout = Some(after);
        self
    }

    /// Who ends an attempt that takes too long. Default: [`AttemptTimer::Policy`].
    pub fn attempt_timer(mut self, timer: AttemptTimer) -> Self {
        self.timer = timer;
        self
    }

    /// Bounds the operations that run at once.
    pub fn bulkhead(mut self, config: BulkheadConfig) -> Self {
        self.bulkhead = Some(Part::Own(config));
        self
    }

    /// Bounds the operations that run at once together with other policies.
    pub fn shared_bulkhead(mut self, bulkhead: Arc<Bulkhead>) -> Self {
        self.bulkhead = Some(Part::Shared(bulkhead));
        self
    }

    /// Sends a second copy of slow `Safe` operations, each paid for by the budget if there is one.
    pub fn hedge(mut self, hedge: Arc<Hedge>) -> Self {
        self.hedge = Some(hedge);
        self
    }

    /// Sees what the policy and its own breaker do. A shared breaker has its own observer.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The policy, on tokio's clock.
    ///
    /// # Errors
    /// `InvalidConfig` when a setting is out of its range or contradicts another; the context names it.
    pub fn build(self) -> Result<Policy> {
        self.build_with_clock(TokioClock)
    }

    /// The policy, on a clock of your own.
    ///
    /// # Errors
    /// `InvalidConfig` when a setting is out of its range or contradicts another; the context names it.
    pub fn build_with_clock<C: Clock>(self, clock: C) -> Result<Policy<C>> {
        self.check()?;
        let now = clock.now();
        let observer = || self.observer.clone().unwrap_or_else(|| Arc::new(()));
        Ok(Policy {
            budget: Part::make(self.budget.as_ref(), |config| RetryBudget::new(config, now))?,
            breaker: Part::make(self.breaker.as_ref(), |config| {
                Breaker::with_observer(Arc::clone(&self.name), config, now, observer())
            })?,
            rate_limit: Part::make(self.rate_limit.as_ref(), |config| RateLimit::new(config, now))?,
            bulkhead: Part::make(self.bulkhead.as_ref(), Bulkhead::new)?,
            name: self.name,
            clock,
            deadline: self.deadline,
            retry: self.retry,
            scope: self.scope,
            attempt_timeout: self.attempt_timeout,
            timer: self.timer,
            hedge: self.hedge,
            observer: self.observer,
        })
    }

    fn check(&self) -> Result<()> {
        if let Some(deadline) = self.deadline {
            check_duration("deadline", deadline)?;
        }
        if let Some(timeout) = self.attempt_timeout {
            check_duration("attempt_timeout", timeout)?;
            if self.hedge.as_ref().is_some_and(|hedge| hedge.delay() >= timeout) {
                return Err(Error::invalid(
                    "hedge: its delay is not below attempt_timeout, so it would never be sent",
                ));
            }
        }
        self.retry.as_ref().map_or(Ok(()), Retry::check)
    }
}

impl fmt::Debug for PolicyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}
