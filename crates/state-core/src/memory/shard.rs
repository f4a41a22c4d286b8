//! One part of the state: ordered entries, and an index of the expiries among them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

// Two are enough to free memory faster than one insertion per operation can claim it.
const SWEPT_PER_OPERATION: usize = 2;

// Shared by the two indices of a shard, and with pages taken out of it.
pub(super) type Key = Arc<[u8]>;

#[derive(Default)]
pub(super) struct Shard {
    // Ordered, so that a scan goes on behind the last key it saw, whatever was written meanwhile.
    entries: BTreeMap<Key, Slot>,
    expiries: BTreeSet<(Instant, Key)>,
}

#[derive(Clone)]
pub(super) struct Slot {
    pub(super) value: Arc<[u8]>,
    pub(super) expires: Option<Instant>,
}

/// Some of a shard's slots, in the order of their keys.
pub(super) struct Page {
    pub(super) slots: Vec<(Key, Slot)>,
    /// Where the next page begins.
    pub(super) last_key: Option<Key>,
    /// Whether the shard has no further page.
    pub(super) is_last: bool,
}

impl Slot {
    pub(super) fn is_live(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// The time left, in whole milliseconds rounded up.
    pub(super) fn remaining(&self, now: Instant) -> Option<Duration> {
        let left = self.expires?.saturating_duration_since(now);
        Some(Duration::from_millis(left.as_nanos().div_ceil(1_000_000) as u64))
    }
}

impl Shard {
    /// The slot of `key` unless it is expired.
    pub(super) fn get(&self, key: &[u8], now: Instant) -> Option<&Slot> {
        self.entries.get(key).filter(|slot| slot.is_live(now))
    }

    pub(super) fn insert(&mut self, key: &[u8], slot: Slot) {
        let expires = slot.expires;
        let key = match self.entries.get_key_value(key) {
            Some((key, old)) => {
                let key = Arc::clone(key);
                if let Some(old) = old.expires {
                    self.expiries.remove(&(old, Arc::clone(&key)));
                }
                key
            }
            None => Arc::from(key),
        };
        if let Some(expires) = expires {
            self.expiries.insert((expires, Arc::clone(&key)));
        }
        self.entries.insert(key, slot);
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Slot> {
        let (key, slot) = self.entries.remove_entry(key)?;
        if let Some(expires) = slot.expires {
            self.expiries.remove(&(expires, key));
        }
        Some(slot)
    }

    /// Frees a few expired entries.
    pub(super) fn sweep(&mut self, now: Instant) {
        for _ in 0..SWEPT_PER_OPERATION {
            if !self.remove_expired(now) {
                return;
            }
        }
    }

    /// The number of live entries.
    pub(super) fn len(&mut self, now: Instant) -> usize {
        while self.remove_expired(now) {}
        self.entries.len()
    }

    /// At most `limit` slots behind the key `after` whose keys begin with `prefix`, expired ones included.
    pub(super) fn page(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Page {
        let start = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let mut rest = self
            .entries
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        let slots: Vec<_> =
            rest.by_ref().take(limit).map(|(key, slot)| (Arc::clone(key), slot.clone())).collect();
        Page { last_key: slots.last().map(|(key, _)| Arc::clone(key)), is_last: rest.next().is_none(), slots }
    }

    /// The number of entries in memory, expired ones included.
    #[cfg(test)]
    pub(super) fn stored(&self) -> usize {
        self.entries.len()
    }

    fn remove_expired(&mut self, now: Instant) -> bool {
        if self.expiries.first().is_none_or(|(expires, _)| now < *expires) {
            return false;
        }
        if let Some((_, key)) = self.expiries.pop_first() {
            self.entries.remove(&key);
        }
        true
    }
}
