//! One breaker per endpoint, made when it is first asked for.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::time::Instant;

use crate::breaker::{Breaker, BreakerConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::observer::Observer;

/// Breakers by endpoint name, all with the same settings.
///
/// One breaker for a whole cluster would let one dead node close the door on all others. Endpoints come and go
/// with the topology: remove the breakers of those that are gone.
pub struct Registry {
    config: BreakerConfig,
    observer: Arc<dyn Observer>,
    limit: usize,
    breakers: RwLock<HashMap<Arc<str>, Arc<Breaker>>>,
}

impl Registry {
    /// How many breakers a registry holds unless told otherwise.
    pub const DEFAULT_LIMIT: usize = 1_024;

    /// An empty registry that will make breakers with `config`, all telling `observer` (`Arc::new(())` for none).
    ///
    /// # Errors
    /// `InvalidConfig` when a setting is out of its range; the context names it.
    pub fn new(config: BreakerConfig, observer: Arc<dyn Observer>) -> Result<Self> {
        config.check()?;
        Ok(Self { config, observer, limit: Self::DEFAULT_LIMIT, breakers: RwLock::default() })
    }

    /// Allows up to `limit` breakers. Default: [`DEFAULT_LIMIT`](Self::DEFAULT_LIMIT).
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The breaker of `endpoint`, made now if there is none. Looking up one that is there allocates nothing.
    ///
    /// # Errors
    /// `RegistryFull` when there is none and the limit is reached.
    pub fn get(&self, endpoint: &str, now: Instant) -> Result<Arc<Breaker>> {
        if let Some(breaker) = self.breakers.read().get(endpoint) {
            return Ok(Arc::clone(breaker));
        }
        let mut breakers = self.breakers.write();
        if let Some(breaker) = breakers.get(endpoint) {
            return Ok(Arc::clone(breaker));
        }
        if breakers.len() >= self.limit {
            return Err(Error::new(ErrorKind::RegistryFull, format!("{} breakers", self.limit)));
        }
        let name: Arc<str> = endpoint.into();
        let observer = Arc::clone(&self.observer);
        let breaker = Arc::new(Breaker::with_observer(Arc::clone(&name), self.config, now, observer)?);
        breakers.insert(name, Arc::clone(&breaker));
        Ok(breaker)
    }

    /// Forgets the breakers of the endpoints for which `keep` says no. Whoever holds one still can use it.
    pub fn retain(&self, mut keep: impl FnMut(&Breaker) -> bool) {
        self.breakers.write().retain(|_, breaker| keep(breaker));
    }

    /// All breakers, in no order.
    #[must_use]
    pub fn breakers(&self) -> Vec<Arc<Breaker>> {
        self.breakers.read().values().cloned().collect()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("config", &self.config)
            .field("limit", &self.limit)
            .field("breakers", &self.breakers())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::BreakerState;

    #[test]
    fn one_dead_endpoint_leaves_the_others_closed() {
        let now = Instant::now();
        let registry =
            Registry::new(BreakerConfig::default().with_consecutive_failures(1), Arc::new(())).unwrap();
        registry.get("a:1", now).unwrap().admit(now).unwrap().failure(now);
        assert_eq!(registry.get("a:1", now).unwrap().state(), BreakerState::Open);
        assert_eq!(registry.get("b:1", now).unwrap().state(), BreakerState::Closed);
        assert_eq!(registry.breakers().len(), 2);
    }

    #[test]
    fn a_full_registry_says_so_until_breakers_are_removed() {
        let now = Instant::now();
        let registry = Registry::new(BreakerConfig::default(), Arc::new(())).unwrap().with_limit(1);
        registry.get("a:1", now).unwrap();
        assert_eq!(registry.get("b:1", now).unwrap_err().kind(), ErrorKind::RegistryFull);
        registry.get("a:1", now).unwrap();
        registry.retain(|breaker| breaker.name() != "a:1");
        registry.get("b:1", now).unwrap();
    }
}
