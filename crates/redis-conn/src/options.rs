//! What a typed `set` may ask for, and how it looks on the wire.

use std::time::Duration;

use crate::error::{Class, Error, ErrorKind, Result};

/// Options of [`Conn::set`](crate::Conn::set).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetOptions {
    /// When the key expires. Default: [`Expiry::Never`].
    pub expiry: Expiry,
    /// When to write at all. Default: [`Condition::Always`].
    pub condition: Condition,
}

/// When a written key expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expiry {
    /// It does not.
    #[default]
    Never,
    /// As the key that it replaces (`KEEPTTL`).
    Keep,
    /// After this time, in milliseconds on the wire (`PX`); below one millisecond is refused.
    After(Duration),
}

/// When to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// In any case.
    #[default]
    Always,
    /// If the key does not exist (`NX`).
    IfAbsent,
    /// If the key exists (`XX`).
    IfPresent,
}

impl SetOptions {
    /// No expiry, no condition.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`expiry`](Self::expiry) to [`Expiry::After`].
    #[must_use]
    pub fn with_ttl(self, ttl: Duration) -> Self {
        Self { expiry: Expiry::After(ttl), ..self }
    }

    /// Sets [`expiry`](Self::expiry).
    #[must_use]
    pub fn with_expiry(self, expiry: Expiry) -> Self {
        Self { expiry, ..self }
    }

    /// Sets [`condition`](Self::condition).
    #[must_use]
    pub fn with_condition(self, condition: Condition) -> Self {
        Self { condition, ..self }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let Expiry::After(ttl) = self.expiry else { return Ok(()) };
        let millis = ttl.as_millis();
        if millis == 0 || millis > i64::MAX as u128 / 2 {
            let context = "the time to live must be at least 1 ms and must not overflow the server's clock";
            return Err(Error::new(ErrorKind::InvalidInput, Class::NotSent, context));
        }
        Ok(())
    }
}
