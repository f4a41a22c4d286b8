//! One fault: whom it strikes, when, how often, and what it does.

use std::time::Duration;

use crate::{ErrorKind, StateError};

/// A method of [`StateBackend`](crate::StateBackend), for choosing what a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)] // Each variant is the method of the same name.
pub enum Operation {
    Get,
    Put,
    Delete,
    ListKeys,
    Clear,
    Count,
    Contains,
    PutWith,
    GetAndDelete,
    CompareAndSwap,
    Increment,
    Ttl,
    Expire,
    Persist,
    BatchGet,
    BatchPut,
    BatchPutIfAbsent,
    BatchDelete,
    Scan,
    ScanEntries,
    HealthCheck,
}

/// Something that goes wrong in a [`FaultyBackend`](crate::FaultyBackend).
///
/// It strikes every call of every operation until it is narrowed down.
#[derive(Clone, Debug)]
pub struct Fault {
    effect: Effect,
    operation: Option<Operation>,
    skip: u64,
    times: u64,
    probability: f64,
}

#[derive(Clone, Debug)]
enum Effect {
    Delay(Duration),
    Error(Timing, StateError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timing {
    Before,
    After,
}

impl Fault {
    /// The call fails with `kind` and never reaches the backend.
    pub fn error(kind: ErrorKind) -> Self {
        Self::new(Effect::Error(Timing::Before, StateError::new(kind, "injected before the operation")))
    }

    /// The backend does what it is asked, then the answer is lost: an ambiguous failure of `kind`.
    pub fn lost_answer(kind: ErrorKind) -> Self {
        let error = StateError::new(kind, "injected after the operation").with_ambiguity();
        Self::new(Effect::Error(Timing::After, error))
    }

    /// The call begins only after `delay`.
    pub fn delay(delay: Duration) -> Self {
        Self::new(Effect::Delay(delay))
    }

    /// Strikes only `operation`.
    #[must_use]
    pub fn on(self, operation: Operation) -> Self {
        Self { operation: Some(operation), ..self }
    }

    /// Lets the first `calls` matching calls pass.
    #[must_use]
    pub fn after_calls(self, calls: u64) -> Self {
        Self { skip: calls, ..self }
    }

    /// Strikes at most this often.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }

    /// Strikes a call with this probability, from 0.0 for never to 1.0 for always.
    ///
    /// # Panics
    /// When `probability` is outside of that range or not a number.
    #[must_use]
    pub fn with_probability(self, probability: f64) -> Self {
        assert!((0.0..=1.0).contains(&probability), "a probability is 0.0 to 1.0, not {probability}");
        Self { probability, ..self }
    }

    /// Whether this fault strikes a call of `operation`; `dice` rolls a number in `0.0..1.0`.
    pub(super) fn strikes(&mut self, operation: Operation, dice: impl FnOnce() -> f64) -> bool {
        if self.times == 0 || self.operation.is_some_and(|wanted| wanted != operation) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if self.probability < 1.0 && dice() >= self.probability {
            return false;
        }
        self.times -= 1;
        true
    }

    fn new(effect: Effect) -> Self {
        Self { effect, operation: None, skip: 0, times: u64::MAX, probability: 1.0 }
    }
}

/// What the faults together do to one call.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) delay: Duration,
    pub(super) error: Option<(Timing, StateError)>,
}

impl Plan {
    pub(super) fn add(&mut self, fault: &Fault) {
        match &fault.effect {
            Effect::Delay(delay) => self.delay += *delay,
            Effect::Error(timing, error) => {
                self.error.get_or_insert_with(|| (*timing, error.clone()));
            }
        }
    }

    pub(super) fn refuses(&self) -> bool {
        matches!(self.error, Some((Timing::Before, _)))
    }

    pub(super) async fn wait(&self) {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
    }
}
