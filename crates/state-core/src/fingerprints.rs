//! A set of keys that remembers 16 bytes of each: what scans use to yield no key twice.

use std::hash::{BuildHasher, RandomState};

use xxhash_rust::xxh3::xxh3_128_with_seed;

// Each part grows on its own, so that the copy made while growing is small beside the whole.
const PARTS: usize = 64;
const FIRST_LEN: usize = 8;

/// A set of keys of any length in at most 32 bytes a key, once it holds a few thousand of them.
///
/// It stores 128 bits of XXH3 under a random seed in open addressing, at most 6/7 full and grown by half.
/// Two keys that were taken for the same one would need a collision: with 10^9 keys one chance in 10^20.
pub struct Fingerprints {
    seed: u64,
    parts: Vec<Part>,
}

impl Fingerprints {
    /// An empty set.
    pub fn new() -> Self {
        // RandomState is seeded by the operating system, which keeps collisions out of a hostile writer's hands.
        Self { seed: RandomState::new().hash_one(0), parts: (0..PARTS).map(|_| Part::default()).collect() }
    }

    /// Adds `key`, and tells whether it is new.
    pub fn insert(&mut self, key: &[u8]) -> bool {
        let fingerprint = self.fingerprint(key);
        self.part(fingerprint).insert(fingerprint)
    }

    /// Whether `key` was added.
    pub fn contains(&self, key: &[u8]) -> bool {
        let fingerprint = self.fingerprint(key);
        let part = &self.parts[part_index(fingerprint)];
        !part.slots.is_empty() && part.slots[part.position(fingerprint)] == fingerprint
    }

    /// The number of keys added.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.used).sum()
    }

    /// Whether no key was added.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of memory the set occupies.
    pub fn memory(&self) -> usize {
        let slots: usize = self.parts.iter().map(|part| part.slots.len()).sum();
        slots * size_of::<u128>() + PARTS * size_of::<Part>() + size_of::<Self>()
    }

    fn fingerprint(&self, key: &[u8]) -> u128 {
        // Zero marks a free slot.
        xxh3_128_with_seed(key, self.seed).max(1)
    }

    fn part(&mut self, fingerprint: u128) -> &mut Part {
        &mut self.parts[part_index(fingerprint)]
    }
}

impl Default for Fingerprints {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Fingerprints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fingerprints").field("len", &self.len()).finish_non_exhaustive()
    }
}

fn part_index(fingerprint: u128) -> usize {
    (fingerprint >> 64) as usize % PARTS
}

#[derive(Default)]
struct Part {
    slots: Box<[u128]>,
    used: usize,
}

impl Part {
    fn insert(&mut self, fingerprint: u128) -> bool {
        if (self.used + 1) * 7 > self.slots.len() * 6 {
            self.grow();
        }
        let position = self.position(fingerprint);
        if self.slots[position] == fingerprint {
            return false;
        }
        self.slots[position] = fingerprint;
        self.used += 1;
        true
    }

    /// Where `fingerprint` stands, or the free slot where it would.
    fn position(&self, fingerprint: u128) -> usize {
        let len = self.slots.len();
        let mut position = (fingerprint as u64 % len as u64) as usize;
        while self.slots[position] != 0 && self.slots[position] != fingerprint {
            position = (position + 1) % len;
        }
        position
    }

    fn grow(&mut self) {
        let len = (self.slots.len() * 3 / 2).max(FIRST_LEN);
        let old = std::mem::replace(&mut self.slots, vec![0; len].into_boxed_slice());
        for fingerprint in old.into_iter().filter(|&fingerprint| fingerprint != 0) {
            let position = self.position(fingerprint);
            self.slots[position] = fingerprint;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_new_once() {
        let mut keys = Fingerprints::new();
        for round in 0..2 {
            for n in 0..20_000_u32 {
                assert_eq!(keys.insert(&n.to_be_bytes()), round == 0, "key {n} in round {round}");
            }
        }
        assert_eq!(keys.len(), 20_000);
        assert!(keys.contains(&7_u32.to_be_bytes()) && !keys.contains(b"other"));
    }

    #[test]
    fn memory_stays_below_32_bytes_a_key_at_every_size() {
        let mut keys = Fingerprints::new();
        for n in 0..300_000_u32 {
            keys.insert(&n.to_be_bytes());
            if n >= 8_000 {
                let memory = keys.memory();
                assert!(memory <= 32 * keys.len(), "{memory} bytes for {} keys", keys.len());
            }
        }
    }
}
