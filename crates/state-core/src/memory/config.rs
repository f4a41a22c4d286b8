//! The settings of the in-memory backend, and what its TTLs resolve to.

use std::time::Duration;

use tokio::time::Instant;

use crate::memory::shard::Slot;
use crate::{DEFAULT_MAX_VALUE_LEN, ErrorKind, MAX_VALUE_LEN, StateError, StateResult, Ttl, ttl_millis};

/// The settings of a [`MemoryBackend`](crate::MemoryBackend).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// The TTL of keys stored without one of their own. Default: none, they stay.
    pub default_ttl: Option<Duration>,
    /// The longest value, in bytes, 1 to [`MAX_VALUE_LEN`]. Default: [`DEFAULT_MAX_VALUE_LEN`].
    pub max_value_len: usize,
}

impl MemoryConfig {
    /// The same settings with `default_ttl`.
    #[must_use]
    pub const fn with_default_ttl(self, default_ttl: Duration) -> Self {
        Self { default_ttl: Some(default_ttl), ..self }
    }

    /// The same settings with `max_value_len`.
    #[must_use]
    pub const fn with_max_value_len(self, max_value_len: usize) -> Self {
        Self { max_value_len, ..self }
    }

    pub(super) fn validate(&self) -> StateResult<Lifetimes> {
        if self.max_value_len == 0 || self.max_value_len > MAX_VALUE_LEN {
            let context = format!("max_value_len is {}, 1 to {MAX_VALUE_LEN} is allowed", self.max_value_len);
            return Err(StateError::new(ErrorKind::InvalidConfig, context));
        }
        if let Some(Err(error)) = self.default_ttl.map(ttl_millis) {
            return Err(
                StateError::new(ErrorKind::InvalidConfig, "default_ttl is out of bounds").with_source(error)
            );
        }
        Ok(Lifetimes { default_ttl: self.default_ttl })
    }
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { default_ttl: None, max_value_len: DEFAULT_MAX_VALUE_LEN }
    }
}

/// How long entries live when their put does not say.
#[derive(Default)]
pub(super) struct Lifetimes {
    default_ttl: Option<Duration>,
}

impl Lifetimes {
    /// When an entry stored `now` in the place of `current` expires.
    pub(super) fn resolve(&self, ttl: Ttl, current: Option<&Slot>, now: Instant) -> Option<Instant> {
        match (ttl, current) {
            (Ttl::Never, _) => None,
            (Ttl::After(ttl), _) => Some(deadline(now, ttl)),
            (Ttl::Keep, Some(slot)) => slot.expires,
            (Ttl::Keep, None) | (Ttl::Default, _) => self.default_ttl.map(|ttl| deadline(now, ttl)),
        }
    }
}

fn deadline(now: Instant, ttl: Duration) -> Instant {
    // TTLs were checked before: they are in bounds here, and whole milliseconds like those of any other backend.
    now + Duration::from_millis(ttl.as_nanos().div_ceil(1_000_000) as u64)
}
