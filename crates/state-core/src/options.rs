//! What goes into the operations of the contract and what comes out beside values.

use std::time::Duration;

/// How a value is stored: for how long, and under which condition.
///
/// The default is what [`put`](crate::StateBackend::put) does: the backend's default TTL, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// For how long the value stays. Default: [`Ttl::Default`].
    pub ttl: Ttl,
    /// When the value is stored. Default: [`Condition::Always`].
    pub condition: Condition,
}

impl PutOptions {
    /// The same options with `ttl`.
    #[must_use]
    pub const fn with_ttl(self, ttl: Ttl) -> Self {
        Self { ttl, ..self }
    }

    /// The same options with `condition`.
    #[must_use]
    pub const fn with_condition(self, condition: Condition) -> Self {
        Self { condition, ..self }
    }
}

/// For how long a stored value stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ttl {
    /// The backend's default TTL; for ever where it has none.
    #[default]
    Default,
    /// As long as the value that is replaced has left; a new key gets the backend's default TTL.
    Keep,
    /// For ever.
    Never,
    /// This long, in milliseconds, rounded up; more than zero and at most [`MAX_TTL`](crate::MAX_TTL).
    After(Duration),
}

/// When a put takes effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Whatever stands under the key.
    #[default]
    Always,
    /// Only when nothing stands under the key.
    IfAbsent,
    /// Only when something stands under the key.
    IfPresent,
}

/// One item of a batch of puts.
#[derive(Clone, Copy)]
pub struct PutItem<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// For how long the value stays.
    pub ttl: Ttl,
}

impl<'a> PutItem<'a> {
    /// An item with the backend's default TTL.
    pub const fn new(key: &'a [u8], value: &'a [u8]) -> Self {
        Self { key, value, ttl: Ttl::Default }
    }

    /// The same item with `ttl`.
    #[must_use]
    pub const fn with_ttl(self, ttl: Ttl) -> Self {
        Self { ttl, ..self }
    }
}

impl<'a> From<(&'a [u8], &'a [u8])> for PutItem<'a> {
    fn from((key, value): (&'a [u8], &'a [u8])) -> Self {
        Self::new(key, value)
    }
}

// Keys and values never reach a log through Debug; lengths are enough to tell items apart.
impl std::fmt::Debug for PutItem<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PutItem")
            .field("key_len", &self.key.len())
            .field("value_len", &self.value.len())
            .field("ttl", &self.ttl)
            .finish()
    }
}

/// What a compare-and-swap did.
#[derive(Clone, PartialEq, Eq)]
#[must_use = "a swap that lost its race changed nothing"]
pub enum CasOutcome {
    /// The expected value was there and was replaced.
    Swapped,
    /// Something else was there; nothing changed.
    Mismatch {
        /// What stands under the key, so that the next try needs no read. `None`: nothing.
        current: Option<Vec<u8>>,
    },
}

impl CasOutcome {
    /// Whether the swap took place.
    pub const fn is_swapped(&self) -> bool {
        matches!(self, Self::Swapped)
    }
}

impl std::fmt::Debug for CasOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Swapped => f.write_str("Swapped"),
            Self::Mismatch { current } => {
                f.debug_struct("Mismatch").field("current_len", &current.as_ref().map(Vec::len)).finish()
            }
        }
    }
}

/// When a key expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Nothing stands under the key.
    Absent,
    /// The key stays for ever.
    Never,
    /// The key goes after this long, in whole milliseconds.
    After(Duration),
}

/// How a scan proceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanOptions {
    /// How many keys the backend looks at in one step, a hint between 1 and 100,000.
    /// More is faster, fewer hold the server for a shorter time. Default: 1,000.
    pub page_size: usize,
}

impl ScanOptions {
    /// The same options with `page_size`.
    #[must_use]
    pub const fn with_page_size(self, page_size: usize) -> Self {
        Self { page_size }
    }
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self { page_size: 1_000 }
    }
}

/// A key with its value and the time it has left.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// How long the entry has left, in whole milliseconds. `None`: it stays for ever.
    pub ttl: Option<Duration>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("key_len", &self.key.len())
            .field("value_len", &self.value.len())
            .field("ttl", &self.ttl)
            .finish()
    }
}
