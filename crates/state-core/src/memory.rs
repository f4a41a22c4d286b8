//! The backend without a server: state in this process's memory, with the contract's full semantics.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::memory::config::Lifetimes;
use crate::memory::integer::parse_integer;
use crate::memory::shard::{Shard, Slot};
use crate::{
    CasOutcome, Condition, Entry, EntryStream, ErrorKind, Expiry, KeyDigest, KeyStream, PutOptions,
    ScanOptions, StateBackend, StateError, StateResult, Ttl, check_key, check_value, ttl_millis,
};

mod config;
mod integer;
mod scan;
mod shard;
#[cfg(test)]
mod tests;

pub use crate::memory::config::MemoryConfig;

const SHARDS: usize = 64;

/// State in this process's memory: the embedded default, and the reference for what the contract means.
///
/// Keys are spread over 64 shards, each behind its own lock, held for one operation on one key.
/// Expired entries are absent at once; their memory comes back step by step with the next operations on their
/// shard, without a background task. Time is tokio's clock, so that paused time expires entries too.
/// A clone is another handle to the same state.
#[derive(Clone)]
pub struct MemoryBackend {
    inner: Arc<Inner>,
}

struct Inner {
    shards: Vec<Mutex<Shard>>,
    lifetimes: Lifetimes,
    max_value_len: usize,
}

impl MemoryBackend {
    /// An empty backend with the default configuration.
    pub fn new() -> Self {
        Self::with_lifetimes(Lifetimes::default(), MemoryConfig::default().max_value_len)
    }

    /// An empty backend with `config`.
    ///
    /// # Errors
    /// `InvalidConfig` naming the field that is out of bounds.
    pub fn with_config(config: MemoryConfig) -> StateResult<Self> {
        Ok(Self::with_lifetimes(config.validate()?, config.max_value_len))
    }

    fn with_lifetimes(lifetimes: Lifetimes, max_value_len: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { inner: Arc::new(Inner { shards, lifetimes, max_value_len }) }
    }

    /// Runs `operation` on the shard of `key`, under its lock.
    fn with_shard<T>(&self, key: &[u8], operation: impl FnOnce(&mut Shard, Instant) -> T) -> T {
        let index = xxhash_rust::xxh3::xxh3_64(key) as usize % SHARDS;
        let mut shard = self.inner.shards[index].lock();
        // Read under the lock, so that no operation sees an earlier time than the one before it.
        let now = Instant::now();
        shard.sweep(now);
        operation(&mut shard, now)
    }

    fn check_item(&self, key: &[u8], value: Option<&[u8]>) -> StateResult<()> {
        check_key(key)?;
        value.map_or(Ok(()), |value| check_value(value, self.inner.max_value_len))
    }
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryBackend")
            .field("max_value_len", &self.inner.max_value_len)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl StateBackend for MemoryBackend {
    async fn get(&self, key: &[u8]) -> StateResult<Option<Vec<u8>>> {
        check_key(key)?;
        // The value is shared out under the lock and copied after it.
        let value = self.with_shard(key, |shard, now| shard.get(key, now).map(|slot| slot.value.clone()));
        Ok(value.map(|value| value.to_vec()))
    }

    async fn delete(&self, key: &[u8]) -> StateResult<()> {
        check_key(key)?;
        self.with_shard(key, |shard, _now| shard.remove(key));
        Ok(())
    }

    async fn clear(&self) -> StateResult<()> {
        for shard in &self.inner.shards {
            // Taken out under the lock and dropped after it: freeing many entries takes long.
            let _old = std::mem::take(&mut *shard.lock());
        }
        Ok(())
    }

    async fn count(&self) -> StateResult<usize> {
        Ok(self.inner.shards.iter().map(|shard| shard.lock().len(Instant::now())).sum())
    }

    async fn contains(&self, key: &[u8]) -> StateResult<bool> {
        check_key(key)?;
        Ok(self.with_shard(key, |shard, now| shard.get(key, now).is_some()))
    }

    async fn put_with(&self, key: &[u8], value: &[u8], options: PutOptions) -> StateResult<bool> {
        self.check_item(key, Some(value))?;
        if let Ttl::After(ttl) = options.ttl {
            ttl_millis(ttl)?;
        }
        let value: Arc<[u8]> = value.into();
        Ok(self.with_shard(key, |shard, now| {
            let current = shard.get(key, now);
            let wanted = match options.condition {
                Condition::Always => true,
                Condition::IfAbsent => current.is_none(),
                Condition::IfPresent => current.is_some(),
            };
            if wanted {
                let expires = self.inner.lifetimes.resolve(options.ttl, current, now);
                shard.insert(key, Slot { value, expires });
            }
            wanted
        }))
    }

    async fn get_and_delete(&self, key: &[u8]) -> StateResult<Option<Vec<u8>>> {
        check_key(key)?;
        let slot = self.with_shard(key, |shard, now| {
            let removed = shard.remove(key);
            removed.filter(|slot| slot.is_live(now))
        });
        Ok(slot.map(|slot| slot.value.to_vec()))
    }

    async fn compare_and_swap(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> StateResult<CasOutcome> {
        self.check_item(key, new)?;
        let current = self.with_shard(key, |shard, now| {
            let current = shard.get(key, now);
            if current.map(|slot| &*slot.value) != expected {
                return Err(current.map(|slot| slot.value.clone()));
            }
            let expires = self.inner.lifetimes.resolve(Ttl::Keep, current, now);
            match new {
                Some(new) => shard.insert(key, Slot { value: new.into(), expires }),
                None => drop(shard.remove(key)),
            }
            Ok(())
        });
        Ok(match current {
            Ok(()) => CasOutcome::Swapped,
            Err(current) => CasOutcome::Mismatch { current: current.map(|value| value.to_vec()) },
        })
    }

    async fn increment(&self, key: &[u8], delta: i64) -> StateResult<i64> {
        check_key(key)?;
        self.with_shard(key, |shard, now| {
            let current = shard.get(key, now);
            let start = current.map_or(Some(0), |slot| parse_integer(&slot.value)).ok_or_else(|| {
                let context = format!("the value under {} is no integer", KeyDigest::of(key));
                StateError::new(ErrorKind::WrongType, context)
            })?;
            let sum = start.checked_add(delta).ok_or_else(|| {
                let context = format!("the increment of {} would overflow", KeyDigest::of(key));
                StateError::new(ErrorKind::OutOfRange, context)
            })?;
            let expires = self.inner.lifetimes.resolve(Ttl::Keep, current, now);
            shard.insert(key, Slot { value: sum.to_string().into_bytes().into(), expires });
            Ok(sum)
        })
    }

    async fn ttl(&self, key: &[u8]) -> StateResult<Expiry> {
        check_key(key)?;
        Ok(self.with_shard(key, |shard, now| match shard.get(key, now) {
            None => Expiry::Absent,
            Some(slot) => slot.remaining(now).map_or(Expiry::Never, Expiry::After),
        }))
    }

    async fn expire(&self, key: &[u8], ttl: Duration) -> StateResult<bool> {
        check_key(key)?;
        ttl_millis(ttl)?;
        Ok(self.with_shard(key, |shard, now| {
            let expires = self.inner.lifetimes.resolve(Ttl::After(ttl), None, now);
            shard.get(key, now).cloned().map(|slot| shard.insert(key, Slot { expires, ..slot })).is_some()
        }))
    }

    async fn persist(&self, key: &[u8]) -> StateResult<bool> {
        check_key(key)?;
        Ok(self.with_shard(key, |shard, now| {
            let slot = shard.get(key, now).filter(|slot| slot.expires.is_some()).cloned();
            slot.map(|slot| shard.insert(key, Slot { expires: None, ..slot })).is_some()
        }))
    }

    fn scan(&self, prefix: &[u8], options: ScanOptions) -> KeyStream<'_> {
        scan::stream(&self.inner.shards, prefix, options, |key, _slot| key.to_vec())
    }

    fn scan_entries(&self, prefix: &[u8], options: ScanOptions) -> EntryStream<'_> {
        scan::stream(&self.inner.shards, prefix, options, |key, slot| Entry {
            key: key.to_vec(),
            value: slot.value.to_vec(),
            ttl: slot.remaining(Instant::now()),
        })
    }

    async fn health_check(&self) -> StateResult<bool> {
        Ok(true)
    }
}
