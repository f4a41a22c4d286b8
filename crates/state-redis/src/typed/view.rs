//! The view: the contract's operations with values of one type.

use std::fmt;
use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt};
use rand::RngExt as _;
use serde::{Serialize, de::DeserializeOwned};
use state_codec::Versioned;
use state_core::{
    CasOutcome, Condition, ErrorKind, KeyDigest, PutItem, PutOptions, ScanOptions, StateBackend, StateError,
    StateResult, Ttl,
};

use crate::RedisBackend;
use crate::format::SerializationFormat;
use crate::typed::scheme::Scheme;

const DEFAULT_ATTEMPTS: u32 = 100;
// From the second lost race on, at random up to these bounds, so that the rivals spread out.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Values of type `T` on a backend: what is stored under a key is a `T` in one [`SerializationFormat`].
///
/// The view turns values into bytes and back and leaves everything else to the backend, compression and encryption
/// included: TTLs, conditions, errors and atomicity are those of [`StateBackend`]. It takes any backend by value, so
/// also an `Arc<dyn StateBackend>`, a clone of a [`RedisBackend`], or a reference.
///
/// # Schema versions
/// A view made by [`versioned`](Self::versioned) stores the record's version beside it. A record of an older version is
/// up-cast when it is read and stays as it is until something writes it; [`migrate`](Self::migrate) writes all of them.
/// A program that meets a record of a later version gets `Unsupported` and leaves the record alone, `update` included.
/// So roll out the new readers first. A type whose schema may change begins as a `Versioned` one: records stored
/// without a version are none of its versions.
///
/// # Errors of every method
/// Those of the backend, and where a value is
/// - written: `InvalidInput` when the format cannot express it; nothing was sent then;
/// - read: `Corrupt` when the stored bytes are no `T` in this format, `Unsupported` when a later version of the schema
///   wrote them or one older than the chain of up-casts reaches;
/// - either: `Unsupported` when the format's feature is off.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use state_redis::{MemoryBackend, SerializationFormat, StateResult, Typed};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Window { sum: f64, events: u64 }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> StateResult<()> {
/// let windows = Typed::<Window, _>::new(MemoryBackend::new(), SerializationFormat::MessagePack);
/// for value in [1.5, 2.5] {
///     windows
///         .update(b"sensor:7", |old| {
///             let old = old.unwrap_or(Window { sum: 0.0, events: 0 });
///             Some(Window { sum: old.sum + value, events: old.events + 1 })
///         })
///         .await?;
/// }
/// assert_eq!(windows.get(b"sensor:7").await?, Some(Window { sum: 4.0, events: 2 }));
/// # Ok(())
/// # }
/// ```
pub struct Typed<T, B> {
    pub(super) backend: B,
    format: SerializationFormat,
    scheme: Scheme<T>,
    attempts: u32,
}

impl<T: Serialize + DeserializeOwned, B: StateBackend> Typed<T, B> {
    /// A view on values that are stored without a schema's version.
    pub fn new(backend: B, format: SerializationFormat) -> Self {
        Self { backend, format, scheme: Scheme::PLAIN, attempts: DEFAULT_ATTEMPTS }
    }
}

impl<T: Versioned, B: StateBackend> Typed<T, B> {
    /// A view on records that are stored with their schema's version, and up-cast from older ones when they are read.
    pub fn versioned(backend: B, format: SerializationFormat) -> Self {
        Self { backend, format, scheme: Scheme::VERSIONED, attempts: DEFAULT_ATTEMPTS }
    }
}

impl RedisBackend {
    /// A view on values of type `T`, in the format of the setting `serialization`; see [`Typed::new`].
    pub fn typed<T: Serialize + DeserializeOwned>(&self) -> Typed<T, Self> {
        Typed::new(self.clone(), self.config().serialization)
    }

    /// A view on records with their schema's version, in the format of the setting `serialization`; see
    /// [`Typed::versioned`].
    pub fn versioned<T: Versioned>(&self) -> Typed<T, Self> {
        Typed::versioned(self.clone(), self.config().serialization)
    }
}

impl<T, B> Typed<T, B> {
    /// The same view with at most `attempts` swaps in [`update`](Self::update); 0 counts as 1. Default: 100.
    #[must_use]
    pub fn with_attempts(self, attempts: u32) -> Self {
        Self { attempts: attempts.max(1), ..self }
    }

    /// The backend underneath.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// The format that values are stored in.
    pub fn format(&self) -> SerializationFormat {
        self.format
    }

    pub(super) fn encode(&self, key: &[u8], value: &T) -> StateResult<Vec<u8>> {
        (self.scheme.encode)(self.format, key, value)
    }

    pub(super) fn decode(&self, key: &[u8], stored: &[u8]) -> StateResult<T> {
        (self.scheme.decode)(self.format, key, stored)
    }

    fn decode_found(&self, key: &[u8], stored: Option<Vec<u8>>) -> StateResult<Option<T>> {
        stored.map(|stored| self.decode(key, &stored)).transpose()
    }
}

impl<T, B: StateBackend> Typed<T, B> {
    /// The value under `key`; `None` when there is none.
    ///
    /// # Errors
    /// Those of every method; `WrongType`.
    pub async fn get(&self, key: &[u8]) -> StateResult<Option<T>> {
        self.decode_found(key, self.backend.get(key).await?)
    }

    /// Stores `value` under `key` with the backend's default TTL.
    ///
    /// # Errors
    /// Those of every method.
    pub async fn put(&self, key: &[u8], value: &T) -> StateResult<()> {
        self.backend.put(key, &self.encode(key, value)?).await
    }

    /// Stores `value` as `options` say, and tells whether it was stored: `false` when the condition did not hold.
    ///
    /// # Errors
    /// Those of every method; `InvalidInput` for a TTL out of range.
    pub async fn put_with(&self, key: &[u8], value: &T, options: PutOptions) -> StateResult<bool> {
        self.backend.put_with(key, &self.encode(key, value)?, options).await
    }

    /// Stores `value` if nothing stands under `key`, and tells whether it did.
    ///
    /// # Errors
    /// Those of [`put_with`](Self::put_with).
    pub async fn put_if_absent(&self, key: &[u8], value: &T, ttl: Ttl) -> StateResult<bool> {
        self.put_with(key, value, PutOptions { ttl, condition: Condition::IfAbsent }).await
    }

    /// Removes `key`, whatever stands under it.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn delete(&self, key: &[u8]) -> StateResult<()> {
        self.backend.delete(key).await
    }

    /// Removes `key` and returns the value that stood there, in one step.
    ///
    /// # Errors
    /// Those of every method; where the value cannot be read, it is gone all the same.
    pub async fn get_and_delete(&self, key: &[u8]) -> StateResult<Option<T>> {
        self.decode_found(key, self.backend.get_and_delete(key).await?)
    }

    /// Whether anything stands under `key`.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn contains(&self, key: &[u8]) -> StateResult<bool> {
        self.backend.contains(key).await
    }

    /// Replaces the value under `key` by what `change` makes of it, and returns the new value.
    ///
    /// `change` gets `None` when the key is absent and returns `None` to remove it. It runs again whenever another
    /// writer came first, so that no update is lost; from the second time on after a pause at random, of up to 50 ms.
    /// The TTL of an existing key stays. A record of an older schema version is written in the present one.
    ///
    /// # Errors
    /// Those of every method; `Conflict` when another writer came first in every one of the
    /// [attempts](Self::with_attempts). When the error [is ambiguous](StateError::is_ambiguous), the update may have
    /// happened.
    pub async fn update<F>(&self, key: &[u8], mut change: F) -> StateResult<Option<T>>
    where
        F: FnMut(Option<T>) -> Option<T> + Send,
    {
        let mut stored = self.backend.get(key).await?;
        for lost in 1..=self.attempts {
            let new = change(self.decode_found(key, stored.clone())?);
            let bytes = new.as_ref().map(|value| self.encode(key, value)).transpose()?;
            stored = match self.backend.compare_and_swap(key, stored.as_deref(), bytes.as_deref()).await? {
                CasOutcome::Swapped => return Ok(new),
                // The swap saw the rival's value: fresh enough for one more try at once.
                CasOutcome::Mismatch { current } if lost == 1 => current,
                CasOutcome::Mismatch { .. } => self.read_after_pause(key, lost).await?,
            };
        }
        let context = format!("other writers came first {} times, {}", self.attempts, KeyDigest::of(key));
        Err(StateError::new(ErrorKind::Conflict, context))
    }

    /// The values under `keys`: one result for each, in the same order.
    ///
    /// # Errors
    /// Per item, those of [`get`](Self::get).
    pub async fn batch_get(&self, keys: &[&[u8]]) -> Vec<StateResult<Option<T>>> {
        let found = self.backend.batch_get(keys).await;
        found.into_iter().zip(keys).map(|(stored, key)| self.decode_found(key, stored?)).collect()
    }

    /// Stores `items` in order for `ttl`: one result for each.
    ///
    /// # Errors
    /// Per item, those of [`put_with`](Self::put_with).
    pub async fn batch_put(&self, items: &[(&[u8], &T)], ttl: Ttl) -> Vec<StateResult<()>> {
        let encoded = self.encode_all(items);
        let stored = self.backend.batch_put(&put_items(items, &encoded, ttl)).await;
        in_place(encoded, stored)
    }

    /// Stores each of `items` whose key is absent for `ttl`: one result for each, whether it was stored.
    ///
    /// # Errors
    /// Per item, those of [`put_with`](Self::put_with).
    pub async fn batch_put_if_absent(&self, items: &[(&[u8], &T)], ttl: Ttl) -> Vec<StateResult<bool>> {
        let encoded = self.encode_all(items);
        let stored = self.backend.batch_put_if_absent(&put_items(items, &encoded, ttl)).await;
        in_place(encoded, stored)
    }

    /// Removes `keys`: one result for each.
    ///
    /// # Errors
    /// Per item, those of the backend.
    pub async fn batch_delete(&self, keys: &[&[u8]]) -> Vec<StateResult<()>> {
        self.backend.batch_delete(keys).await
    }

    /// The keys that begin with `prefix` and their values, found step by step as by
    /// [`scan_entries`](StateBackend::scan_entries).
    ///
    /// # Errors
    /// As items: those of `scan_entries`, and in the place of a single entry those of every method.
    pub fn entries(&self, prefix: &[u8], options: ScanOptions) -> BoxStream<'_, StateResult<(Vec<u8>, T)>> {
        let entries = self.backend.scan_entries(prefix, options);
        let typed = entries.map(|entry| {
            let entry = entry?;
            self.decode(&entry.key, &entry.value).map(|value| (entry.key, value))
        });
        typed.boxed()
    }

    fn encode_all(&self, items: &[(&[u8], &T)]) -> Vec<StateResult<Vec<u8>>> {
        items.iter().map(|(key, value)| self.encode(key, value)).collect()
    }

    async fn read_after_pause(&self, key: &[u8], lost: u32) -> StateResult<Option<Vec<u8>>> {
        let bound = FIRST_PAUSE.saturating_mul(1 << lost.min(16)).min(LONGEST_PAUSE);
        let share = rand::rng().random_range(0.0..=1.0);
        tokio::time::sleep(bound.mul_f64(share)).await;
        self.backend.get(key).await
    }
}

/// The items of a batch that could be encoded.
fn put_items<'a, T>(
    items: &'a [(&'a [u8], &T)],
    encoded: &'a [StateResult<Vec<u8>>],
    ttl: Ttl,
) -> Vec<PutItem<'a>> {
    let encoded =
        items.iter().zip(encoded).filter_map(|((key, _), value)| Some((*key, value.as_ref().ok()?)));
    encoded.map(|(key, value)| PutItem::new(key, value).with_ttl(ttl)).collect()
}

/// One result for each item: why it could not be encoded, or what became of it.
fn in_place<R>(encoded: Vec<StateResult<Vec<u8>>>, stored: Vec<StateResult<R>>) -> Vec<StateResult<R>> {
    let mut stored = stored.into_iter();
    let missing = || Err(StateError::new(ErrorKind::Internal, "an item of the batch got no answer"));
    encoded.into_iter().map(|item| item.and_then(|_sent| stored.next().unwrap_or_else(missing))).collect()
}

// By hand, since no bound on `T` is needed.
impl<T, B: Clone> Clone for Typed<T, B> {
    fn clone(&self) -> Self {
        Self { backend: self.backend.clone(), scheme: Scheme { ..self.scheme }, ..*self }
    }
}

impl<T, B> fmt::Debug for Typed<T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed")
            .field("type", &std::any::type_name::<T>())
            .field("format", &self.format)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}
