//! One circuit breaker for each server, asked by the connection before each request.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use redis_conn::{Class, Endpoint, EndpointGate, ErrorKind, Outcome, Settle};
use state_core::StateResult;
use state_resilience::{
    Breaker, BreakerChange, BreakerConfig, BreakerSnapshot, BreakerState, Observer, Permit,
};
use tokio::time::Instant;

use crate::config::RedisConfig;
use crate::instruments::Instruments;
use crate::policy;

/// The breakers of one backend.
pub(crate) struct Breakers {
    config: BreakerConfig,
    instruments: Instruments,
    /// Looked up at each request, so it is kept by endpoint and not by name.
    known: RwLock<HashMap<Endpoint, Arc<Breaker>>>,
}

// More servers than that in one backend's life are a topology gone mad; the oldest memory of them is dropped then.
const MOST: usize = 4_096;

impl Breakers {
    /// # Errors
    /// `InvalidConfig` when a setting is out of its range.
    pub(crate) fn new(config: &RedisConfig, instruments: &Instruments) -> StateResult<Self> {
        let breakers =
            Self { config: config.breaker, instruments: instruments.clone(), known: RwLock::default() };
        breakers.make("checked").map_err(|cause| policy::in_config("breaker", cause))?;
        Ok(breakers)
    }

    /// A new connection was made and checked: whatever made the breaker open is over.
    pub(crate) fn connected(&self, endpoint: &Endpoint) {
        let breaker = self.known.read().get(endpoint).cloned();
        if let Some(breaker) = breaker
            && matches!(breaker.state(), BreakerState::Open | BreakerState::HalfOpen)
        {
            breaker.close();
        }
    }

    /// A connection could not be made.
    pub(crate) fn connect_failed(&self, endpoint: &Endpoint) {
        let now = Instant::now();
        if let Some(Ok(permit)) = self.of(endpoint).map(|breaker| breaker.admit_owned(now)) {
            permit.failure(now);
        }
    }

    /// How each of them stands.
    pub(crate) fn snapshots(&self) -> Vec<(String, BreakerSnapshot)> {
        let now = Instant::now();
        let known = self.known.read();
        known.iter().map(|(endpoint, breaker)| (endpoint.to_string(), breaker.snapshot(now))).collect()
    }

    #[inline]
    fn of(&self, endpoint: &Endpoint) -> Option<Arc<Breaker>> {
        if let Some(breaker) = self.known.read().get(endpoint) {
            return Some(Arc::clone(breaker));
        }
        self.add(endpoint)
    }

    #[cold]
    fn add(&self, endpoint: &Endpoint) -> Option<Arc<Breaker>> {
        let name = endpoint.to_string();
        // The settings were checked when the backend was built.
        let breaker = Arc::new(self.make(&name).ok()?);
        self.instruments.breaker_known(&name);
        let mut known = self.known.write();
        if known.len() >= MOST {
            known.clear();
        }
        Some(Arc::clone(known.entry(endpoint.clone()).or_insert(breaker)))
    }

    fn make(&self, name: &str) -> state_resilience::Result<Breaker> {
        let log = Arc::new(Log(self.instruments.clone()));
        Breaker::with_observer(name, self.config, Instant::now(), log)
    }
}

impl EndpointGate for Breakers {
    fn admit(&self, endpoint: &Endpoint) -> Option<redis_conn::Permit> {
        let Some(breaker) = self.of(endpoint) else { return Some(redis_conn::Permit::untracked()) };
        let permit = breaker.admit_owned(Instant::now()).ok()?;
        Some(redis_conn::Permit::tracked(Box::new(Admitted(permit))))
    }
}

struct Admitted(Permit<Arc<Breaker>>);

impl Settle for Admitted {
    fn settle(self: Box<Self>, outcome: Outcome) {
        self.0.record(judge(outcome), Instant::now());
    }
}

/// What an outcome says about the server: that it works, that it does not, or nothing.
fn judge(outcome: Outcome) -> state_resilience::Outcome {
    use state_resilience::Outcome as Verdict;
    match outcome {
        Outcome::Success | Outcome::Failure { class: Class::Reply, .. } => Verdict::Success,
        Outcome::Failure { class: Class::Ambiguous, .. } => Verdict::Failure,
        Outcome::Failure { class: Class::NotSent, kind } if kind != ErrorKind::Overloaded => Verdict::Failure,
        // Refused by a server that works, or refused by us.
        _ => Verdict::Neutral,
    }
}

struct Log(Instruments);

impl Observer for Log {
    fn breaker_changed(&self, change: &BreakerChange<'_>) {
        self.0.breaker_changed(change);
    }
}
