//! The contract: what a state backend does, method by method.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{BoxStream, TryStreamExt};

use crate::{CasOutcome, Entry, Expiry, PutItem, PutOptions, ScanOptions, StateResult};

/// Keys as a scan finds them.
pub type KeyStream<'a> = BoxStream<'a, StateResult<Vec<u8>>>;

/// Entries as a scan finds them.
pub type EntryStream<'a> = BoxStream<'a, StateResult<Entry>>;

/// Key-value state, held as `Arc<dyn StateBackend>`.
///
/// # What holds for every method
/// - Keys are 1 to [`MAX_KEY_LEN`](crate::MAX_KEY_LEN) arbitrary bytes, values arbitrary bytes up to the
///   backend's maximum. An empty key is `InvalidInput`, a key or value that is too long `TooLarge`; nothing is
///   sent or written then.
/// - An expired key is absent for all methods alike.
/// - Each operation on one key is atomic. Batches, scans, `clear` and `count` are not atomic as a whole.
/// - A put replaces whatever stood under the key. `increment` and `compare_and_swap` keep the TTL of a key that
///   exists. A key that an operation creates gets the backend's default TTL unless the options say otherwise.
/// - Where a backend can hold other types than values under a key, reading, swapping or counting such a key is
///   `WrongType`, never "absent".
/// - Dropping the future of a write leaves open whether the write happened.
///
/// # Errors of every method
/// `Unavailable`, `Timeout`, `CircuitOpen`, `Overloaded`, `ReadOnly`, `Auth` and `Closed` as the backend's
/// circumstances have it, with [`is_ambiguous`](crate::StateError::is_ambiguous) where a write may have happened;
/// `Corrupt` where stored bytes cannot be read back. The methods name what else they return.
///
/// # Implementing it
/// Whatever has to be atomic is required. The methods with a default body are those that other methods of the
/// same object describe completely, item by item; a wrapper that forwards the required ones is therefore correct
/// without them, and forwards them too in order to be as fast as what it wraps. A wrapper says
/// `#[deny(clippy::missing_trait_methods)]` on its impl, so that it forwards a method added later as well.
#[async_trait]
pub trait StateBackend: Send + Sync {
    /// The value under `key`; `None` when there is none.
    ///
    /// # Errors
    /// `WrongType`.
    async fn get(&self, key: &[u8]) -> StateResult<Option<Vec<u8>>>;

    /// Stores `value` under `key` with the backend's default TTL.
    ///
    /// # Errors
    /// Those of every method.
    async fn put(&self, key: &[u8], value: &[u8]) -> StateResult<()> {
        self.put_with(key, value, PutOptions::default()).await.map(|_stored| ())
    }

    /// Removes `key`, whatever stands under it; removing nothing is fine.
    ///
    /// # Errors
    /// Those of every method.
    async fn delete(&self, key: &[u8]) -> StateResult<()>;

    /// All keys that begin with `prefix`, in no order; an empty prefix matches all.
    ///
    /// The list is in memory as a whole: prefer [`scan`](Self::scan) where there may be many.
    ///
    /// # Errors
    /// Those of every method.
    async fn list_keys(&self, prefix: &[u8]) -> StateResult<Vec<Vec<u8>>> {
        self.scan(prefix, ScanOptions::default()).try_collect().await
    }

    /// Removes every key of this backend's namespace, and nothing outside of it.
    ///
    /// Keys written while it runs may survive.
    ///
    /// # Errors
    /// Those of every method; some keys may be gone then.
    async fn clear(&self) -> StateResult<()>;

    /// The number of keys. Takes time in proportion to it on backends that keep no count of their own.
    ///
    /// # Errors
    /// Those of every method.
    async fn count(&self) -> StateResult<usize> {
        let keys = self.scan(b"", ScanOptions::default());
        keys.try_fold(0, async |count, _key| Ok(count + 1)).await
    }

    /// Whether anything stands under `key`.
    ///
    /// # Errors
    /// Those of every method.
    async fn contains(&self, key: &[u8]) -> StateResult<bool>;

    /// Stores `value` as `options` say, and tells whether it was stored: `false` when the condition did not hold.
    ///
    /// # Errors
    /// `InvalidInput` for a TTL of zero or above [`MAX_TTL`](crate::MAX_TTL).
    async fn put_with(&self, key: &[u8], value: &[u8], options: PutOptions) -> StateResult<bool>;

    /// Removes `key` and returns the value that stood there, in one step.
    ///
    /// # Errors
    /// `WrongType`; the key stays then.
    async fn get_and_delete(&self, key: &[u8]) -> StateResult<Option<Vec<u8>>>;

    /// Replaces the value under `key` by `new` if it is `expected`, in one step.
    ///
    /// `expected: None` asks that nothing be there, `new: None` removes the key; both together change nothing and
    /// tell whether the key is absent. The TTL of an existing key stays.
    ///
    /// # Errors
    /// `WrongType`.
    async fn compare_and_swap(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> StateResult<CasOutcome>;

    /// Adds `delta` to the integer under `key` in one step and returns the sum; an absent key counts as 0.
    ///
    /// The integer is stored as decimal text: `0`, or an optional `-` and digits without a leading zero, within
    /// `i64`. The TTL of an existing key stays.
    ///
    /// # Errors
    /// `WrongType` when the value is no such integer, `OutOfRange` when the sum does not fit; the value stays then.
    async fn increment(&self, key: &[u8], delta: i64) -> StateResult<i64>;

    /// When `key` expires.
    ///
    /// # Errors
    /// Those of every method.
    async fn ttl(&self, key: &[u8]) -> StateResult<Expiry>;

    /// Lets `key` expire `ttl` from now, and tells whether there was such a key.
    ///
    /// # Errors
    /// `InvalidInput` for a TTL of zero or above [`MAX_TTL`](crate::MAX_TTL).
    async fn expire(&self, key: &[u8], ttl: Duration) -> StateResult<bool>;

    /// Lets `key` stay for ever, and tells whether there was an expiry to remove.
    ///
    /// # Errors
    /// Those of every method.
    async fn persist(&self, key: &[u8]) -> StateResult<bool>;

    /// The values under `keys`: one result for each, in the same order; a key may occur twice.
    ///
    /// # Errors
    /// Per item, those of [`get`](Self::get).
    async fn batch_get(&self, keys: &[&[u8]]) -> Vec<StateResult<Option<Vec<u8>>>> {
        let mut results = Vec::with_capacity(keys.len());
        for key in keys {
            results.push(self.get(key).await);
        }
        results
    }

    /// Stores `items` in order, so that the last of two with the same key stays: one result for each.
    ///
    /// # Errors
    /// Per item, those of [`put_with`](Self::put_with).
    async fn batch_put(&self, items: &[PutItem<'_>]) -> Vec<StateResult<()>> {
        let mut results = Vec::with_capacity(items.len());
        for item in items {
            let options = PutOptions::default().with_ttl(item.ttl);
            results.push(self.put_with(item.key, item.value, options).await.map(|_stored| ()));
        }
        results
    }

    /// Stores each of `items` whose key is absent, in order, so that the first of two with the same key stays:
    /// one result for each, whether it was stored.
    ///
    /// # Errors
    /// Per item, those of [`put_with`](Self::put_with).
    async fn batch_put_if_absent(&self, items: &[PutItem<'_>]) -> Vec<StateResult<bool>> {
        let mut results = Vec::with_capacity(items.len());
        for item in items {
            let options = PutOptions { ttl: item.ttl, condition: crate::Condition::IfAbsent };
            results.push(self.put_with(item.key, item.value, options).await);
        }
        results
    }

    /// Removes `keys`: one result for each.
    ///
    /// # Errors
    /// Per item, those of [`delete`](Self::delete).
    async fn batch_delete(&self, keys: &[&[u8]]) -> Vec<StateResult<()>> {
        let mut results = Vec::with_capacity(keys.len());
        for key in keys {
            results.push(self.delete(key).await);
        }
        results
    }

    /// The keys that begin with `prefix`, in no order, found step by step while the stream is polled.
    ///
    /// A key that is there from beginning to end is yielded exactly once, one that comes or goes meanwhile at most
    /// once. A backend that has to remember keys for that takes at most 32 bytes for each.
    ///
    /// # Errors
    /// As items: `InvalidInput` for a wrong page size; when the backend fails, the error is the last item.
    fn scan(&self, prefix: &[u8], options: ScanOptions) -> KeyStream<'_>;

    /// The entries whose keys begin with `prefix`, as [`scan`](Self::scan) finds them.
    ///
    /// # Errors
    /// As items: those of `scan`, and `WrongType` or `Corrupt` in the place of a single entry, after which the
    /// stream goes on.
    fn scan_entries(&self, prefix: &[u8], options: ScanOptions) -> EntryStream<'_>;

    /// Whether the backend can serve reads and writes: `false` when it answers and says that it cannot.
    ///
    /// # Errors
    /// Those of every method, when it does not answer.
    async fn health_check(&self) -> StateResult<bool>;
}

#[cfg(test)]
mod tests {
    use super::*;

    // The contract must stay usable as a trait object; a method that breaks this does not compile here.
    fn _object_safe(_: std::sync::Arc<dyn StateBackend>, _: Box<dyn StateBackend>, _: &dyn StateBackend) {}
}
