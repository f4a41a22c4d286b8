//! What a client has to offer to be measured.

use std::time::Duration;

use crate::Outcome;

/// The prefix under which all keys of the benchmarks stand.
pub const PREFIX: &str = "bench:";

/// What `state-redis` puts between its prefix and a key of ours.
pub const KIND: &str = "d|";

/// Swaps a value if it is what is expected; what a program without our crate would send.
pub const SWAP: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then \
     redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL') return 1 end return 0";

/// One key, as our crate takes it and as it stands on the server, so that everybody's requests have the same length
/// and everybody works on the same data.
#[derive(Clone, Debug)]
pub struct Key {
    /// Without prefix.
    pub name: Vec<u8>,
    /// With prefix.
    pub stored: Vec<u8>,
}

impl Key {
    /// A key by its name.
    pub fn new(name: impl AsRef<str>) -> Self {
        let name = name.as_ref();
        Self { name: name.into(), stored: format!("{PREFIX}{KIND}{name}").into() }
    }
}

/// A client under test. Each operation uses whatever the client offers as the direct way, and answers how much it
/// found or did, so that nobody has to convert what it returns.
pub trait Candidate: Clone + Send + Sync + 'static {
    /// Reads a value and answers its length; a missing one is a fault.
    fn get(&self, key: &Key) -> impl Future<Output = Outcome<usize>> + Send;
    /// Stores a value.
    fn put(&self, key: &Key, value: &[u8]) -> impl Future<Output = Outcome<()>> + Send;
    /// Stores a value for a time.
    fn put_ttl(&self, key: &Key, value: &[u8], ttl: Duration) -> impl Future<Output = Outcome<()>> + Send;
    /// Stores a value for a time if there is none, and answers whether it did.
    fn put_if_absent(
        &self,
        key: &Key,
        value: &[u8],
        ttl: Duration,
    ) -> impl Future<Output = Outcome<bool>> + Send;
    /// Replaces `expected` by `new`, and answers whether it did.
    fn swap(&self, key: &Key, expected: &[u8], new: &[u8]) -> impl Future<Output = Outcome<bool>> + Send;
    /// Adds to a counter.
    fn increment(&self, key: &Key, delta: i64) -> impl Future<Output = Outcome<i64>> + Send;
    /// Reads many, and answers how many were there.
    fn batch_get(&self, keys: &[Key]) -> impl Future<Output = Outcome<usize>> + Send;
    /// Stores one value under many keys.
    fn batch_put(&self, keys: &[Key], value: &[u8]) -> impl Future<Output = Outcome<()>> + Send;
    /// Removes many.
    fn batch_delete(&self, keys: &[Key]) -> impl Future<Output = Outcome<()>> + Send;
}

/// A fault with a sentence.
pub fn fault<T>(sentence: impl Into<String>) -> Outcome<T> {
    Err(sentence.into().into())
}
