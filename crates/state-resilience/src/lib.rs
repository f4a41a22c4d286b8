#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod policy;

mod call;
mod class;
mod failure;

mod run;

mod attempt;

mod retry;

#[cfg(feature = "backoff")]
mod adapter;
mod backoff;
mod budget;

mod breaker;
mod registry;

mod bulkhead;
mod hedge;
mod rate_limit;

mod clock;
mod error;
mod observer;
mod sync;
mod timer;

#[cfg(feature = "backoff")]
pub use self::adapter::BackoffCrate;
pub use self::backoff::{Backoff, Jitter, Schedule};
pub use self::breaker::{
    Breaker, BreakerConfig, BreakerSnapshot, BreakerState, Open, Permit, SlowCalls, Window,
};
pub use self::budget::{BudgetConfig, RetryBudget, Withdrawal};
pub use self::bulkhead::{Bulkhead, BulkheadConfig, BulkheadFull, Place};
pub use self::call::{Attempt, Call};
pub use self::class::{Class, Idempotency, Outcome};
pub use self::clock::{Clock, ManualClock, TokioClock};
pub use self::error::{Error, ErrorKind, Result};
pub use self::failure::{Completed, Failure, FailureKind, Origin};
pub use self::hedge::Hedge;
pub use self::observer::{AttemptFailed, BreakerChange, CallEnded, ChangeCause, Observer, RetryScheduled};
pub use self::policy::{AttemptTimer, BreakerScope, Policy, PolicyBuilder};
pub use self::rate_limit::{RateLimit, RateLimitConfig, RateLimited};
pub use self::registry::Registry;
pub use self::retry::Retry;
