//! A scripted operation, and the classifier of its errors.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use state_resilience::{Attempt, Class};

/// An error that says itself what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault(pub(crate) Class);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Fault {}

pub(crate) fn classify(fault: &Fault) -> Class {
    fault.0
}

pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// An operation that gives one result after the other, and counts how often it is called.
pub(crate) struct Script {
    results: Arc<Mutex<VecDeque<Result<i32, Class>>>>,
    otherwise: Result<i32, Class>,
    takes: Duration,
    calls: Arc<AtomicU32>,
}

impl Script {
    pub(crate) fn new(results: impl IntoIterator<Item = Result<i32, Class>>) -> Self {
        let results = Arc::new(Mutex::new(results.into_iter().collect()));
        Self { results, otherwise: Err(Class::Fatal), takes: Duration::ZERO, calls: Arc::default() }
    }

    pub(crate) fn always(class: Class) -> Self {
        Self { otherwise: Err(class), ..Self::new([]) }
    }

    pub(crate) fn slow(takes: Duration) -> Self {
        Self { otherwise: Ok(1), takes, ..Self::new([]) }
    }

    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn operation(
        &self,
    ) -> impl FnMut(Attempt) -> std::pin::Pin<Box<dyn Future<Output = Result<i32, Fault>> + Send>> {
        let (results, calls) = (Arc::clone(&self.results), Arc::clone(&self.calls));
        let (otherwise, takes) = (self.otherwise, self.takes);
        move |_| {
            calls.fetch_add(1, Ordering::SeqCst);
            let result = results.lock().unwrap().pop_front().unwrap_or(otherwise);
            Box::pin(async move {
                if !takes.is_zero() {
                    tokio::time::sleep(takes).await;
                }
                result.map_err(Fault)
            })
        }
    }
}
