//! Where the ids of operations are remembered: beside the key they are about, out of the data's reach.

use std::sync::LazyLock;

use redis_conn::slot_of;
use sha2::{Digest, Sha256};

use crate::config::RedisConfig;
use crate::keyspace::Layout;

const SLOTS: usize = 16_384;
const DIGITS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";

/// A hash tag for each slot of a cluster: `{key}` would not do for keys that contain a brace.
static TAGS: LazyLock<Vec<[u8; 5]>> = LazyLock::new(tags);

/// The part of the server's keys in which the ids of one backend are remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Records {
    prefix: Vec<u8>,
    has_tag: bool,
}

impl Records {
    pub(crate) fn new(config: &RedisConfig) -> Self {
        match config.layout {
            // A tag in the prefix is the tag of the data as well.
            Layout::Namespaced => Self {
                prefix: format!("{}o|", config.key_prefix).into(),
                has_tag: config.key_prefix.contains('{'),
            },
            // All that begins with the prefix is data there, and a brace in it need not be half of a tag.
            Layout::Plain => Self {
                prefix: format!("ids|{}", config.key_prefix.replace(['{', '}'], "|")).into(),
                has_tag: false,
            },
        }
    }

    /// The server's key that remembers `id`, in the slot of the server's key `stored`, which it is about.
    pub(crate) fn key(&self, stored: &[u8], id: &[u8]) -> Vec<u8> {
        let mut key = self.prefix.clone();
        if !self.has_tag {
            key.extend_from_slice(&TAGS[usize::from(slot_of(stored))]);
        }
        // 160 bits: nobody finds two ids that meet, not even those who choose them.
        for byte in &digest(&[stored, id])[..20] {
            key.extend_from_slice(format!("{byte:02x}").as_bytes());
        }
        key
    }
}

/// A digest of `parts` that tells where each of them ends.
pub(crate) fn digest(parts: &[&[u8]]) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().to_vec()
}

/// Tries tags of three digits until every slot has one: 262,144 of them for 16,384 slots, in a few milliseconds.
fn tags() -> Vec<[u8; 5]> {
    let mut tags = vec![[0; 5]; SLOTS];
    let mut missing = SLOTS;
    let digits = || DIGITS.iter().copied();
    let candidates =
        digits().flat_map(|a| digits().flat_map(move |b| digits().map(move |c| [b'{', a, b, c, b'}'])));
    for candidate in candidates {
        let tag = &mut tags[usize::from(slot_of(&candidate))];
        if tag[0] == 0 {
            *tag = candidate;
            missing -= 1;
        }
        if missing == 0 {
            break;
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(prefix: &str, layout: Layout) -> Records {
        Records::new(&RedisConfig { key_prefix: prefix.to_owned(), layout, ..RedisConfig::default() })
    }

    #[test]
    fn every_slot_has_a_tag() {
        let start = std::time::Instant::now();
        let tags = tags();
        println!("{SLOTS} tags in {:?}", start.elapsed());
        for (slot, tag) in tags.iter().enumerate() {
            assert_eq!(usize::from(slot_of(tag)), slot, "{tag:?}");
        }
    }

    #[test]
    fn an_id_is_remembered_in_the_slot_of_its_key() {
        for (prefix, layout) in [
            ("state:", Layout::Namespaced),
            ("{tenant}:", Layout::Namespaced),
            ("", Layout::Plain),
            ("odd{prefix|", Layout::Plain),
            ("{tag}", Layout::Plain),
        ] {
            let records = records(prefix, layout);
            let data = if layout == Layout::Plain { prefix.to_owned() } else { format!("{prefix}d|") };
            for key in ["k", "a}b", "{", "}{", "{}", "{x}y", "a{}{b}"] {
                let stored = format!("{data}{key}");
                let record = records.key(stored.as_bytes(), b"id");
                assert_eq!(slot_of(&record), slot_of(stored.as_bytes()), "{prefix} {key}");
                assert!(
                    prefix.is_empty() || !record.starts_with(data.as_bytes()),
                    "{prefix}: it would be data"
                );
            }
        }
    }

    #[test]
    fn key_and_id_are_kept_apart() {
        let records = records("state:", Layout::Namespaced);
        let tail = |key: &[u8], id: &[u8]| records.key(key, id)[13..].to_vec();
        assert_ne!(tail(b"ab", b"c"), tail(b"a", b"bc"));
        assert_eq!(tail(b"ab", b"c").len(), 40);
    }
}
