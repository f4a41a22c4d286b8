//! What is asked of a node: resources, how they are held, for whom and for how long.

use std::{fmt, sync::Arc, time::Duration};

use rand::RngExt;

use crate::{Error, ErrorKind, Result};

/// The longest name of a lock, in bytes.
pub(crate) const MAX_NAME: usize = 512;

/// How a resource is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// By one holder, and by no reader.
    Exclusive,
    /// By any number of readers.
    Shared,
    /// By at most this many holders. Safe on a single authority only.
    Permit(u32),
}

impl Mode {
    /// The number scripts know the mode by: 0 exclusive, -1 shared, else the number of permits.
    pub fn limit(self) -> i64 {
        match self {
            Self::Exclusive => 0,
            Self::Shared => -1,
            Self::Permit(permits) => i64::from(permits),
        }
    }
}

/// One thing to be held, under the keys it has on the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    body: String,
    mode: Mode,
}

impl Resource {
    /// A resource of `class` (`l` for locks, `s` for semaphores) under `prefix`.
    pub(crate) fn new(prefix: &str, class: &str, name: &str, mode: Mode) -> Result<Self> {
        if name.is_empty() || name.len() > MAX_NAME {
            let context = format!("a lock's name has 1 to {MAX_NAME} bytes, this one has {}", name.len());
            return Err(Error::new(ErrorKind::InvalidInput, context));
        }
        let mut body = String::with_capacity(prefix.len() + class.len() + name.len() + 4);
        body.extend([prefix, class, ":"]);
        write_tagged(&mut body, name);
        Ok(Self { body, mode })
    }

    /// How it is to be held.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The key for one role, one letter: `w` writer, `r` readers, `i` intent, `c` counter, `q` queue,
    /// `b` heartbeats, `m` queue data, `x` tombstone. All keys of a resource are in one cluster slot.
    pub fn key(&self, role: &str) -> String {
        format!("{}:{role}", self.body)
    }

    /// Whether it is a semaphore's, under `prefix`: in a quorum the mode does not say that.
    pub(crate) fn is_permit(&self, prefix: &str) -> bool {
        self.body.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('s'))
    }

    pub(crate) fn body(&self) -> &str {
        &self.body
    }

    pub(crate) fn from_body(body: String, mode: Mode) -> Self {
        Self { body, mode }
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// Writes the name with a hash tag. A tag that is already there stays, so that locks can share a slot with each other
/// or with data; a name without one becomes the tag, with stray braces written as `%7B` and `%7D`. The sign in
/// front keeps the two forms apart.
fn write_tagged(body: &mut String, name: &str) {
    let tag = name.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    if tag.is_some_and(|tag| !tag.is_empty()) {
        return body.extend(["=", name]);
    }
    body.push_str("-{");
    for part in name.split_inclusive(['%', '{', '}']) {
        let (rest, escape) = match part.as_bytes().last() {
            Some(b'%') => (&part[..part.len() - 1], "%25"),
            Some(b'{') => (&part[..part.len() - 1], "%7B"),
            Some(b'}') => (&part[..part.len() - 1], "%7D"),
            _ => (part, ""),
        };
        body.extend([rest, escape]);
    }
    body.push('}');
}

/// One attempt to hold resources. The id is fresh in every attempt, so nothing that belongs to an earlier one
/// can be mistaken for it.
#[derive(Clone)]
pub struct Claim {
    pub(crate) id: Arc<str>,
    pub(crate) resources: Arc<[Resource]>,
    pub(crate) epoch_key: Arc<str>,
    pub(crate) ttl: Duration,
    pub(crate) quarantine: Option<Duration>,
    pub(crate) intent: Duration,
    pub(crate) queued: bool,
}

impl Claim {
    /// Without quarantine and intent, as on a single authority. In whole milliseconds, which is what servers count in.
    pub(crate) fn new(id: Arc<str>, resources: Arc<[Resource]>, ttl: Duration, epoch_key: Arc<str>) -> Self {
        assert!(!resources.is_empty(), "a claim names at least one resource");
        let ttl = Duration::from_millis(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        Self { id, resources, epoch_key, ttl, quarantine: None, intent: Duration::ZERO, queued: true }
    }

    /// The secret that makes the hold this attempt's: the owner's label, a slash and 128 random bits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is to be held: all or nothing.
    pub fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// For how long. Whole milliseconds.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// For how long a node that may have forgotten locks has to abstain; `None` where no node has to.
    pub fn quarantine(&self) -> Option<Duration> {
        self.quarantine
    }

    /// For how long a refused exclusive claim keeps new readers out; zero for not at all.
    pub fn intent(&self) -> Duration {
        self.intent
    }

    /// Whether others may wait in a queue for what is released: on a single authority.
    pub fn queued(&self) -> bool {
        self.queued
    }

    /// The key of the marker that is missing from a node that lost its data.
    pub fn epoch_key(&self) -> &str {
        &self.epoch_key
    }

    /// The key that says that this attempt is over.
    pub fn tombstone(&self) -> String {
        format!("{}:x:{}", self.resources[0].body, self.id)
    }

    /// The key of the exclusive holder, where a release is no more than taking that away.
    #[cfg(feature = "redis")]
    pub(crate) fn only_key(&self) -> Option<String> {
        match &*self.resources {
            [only] if !self.queued && only.mode == Mode::Exclusive => Some(only.key("w")),
            _ => None,
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("owner", &owner_of(&self.id))
            .field("resources", &self.resources)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

pub(crate) fn fresh_id(owner: &str) -> Arc<str> {
    format!("{owner}/{:032x}", rand::rng().random::<u128>()).into()
}

/// The label in front of the secret part of an id.
pub(crate) fn owner_of(id: &str) -> &str {
    id.rsplit_once('/').map_or("", |(owner, _)| owner)
}

/// Where a claim stands in a single authority's queue, and how its process is told of its turn.
#[derive(Clone, Debug)]
pub struct Place {
    /// Higher goes first; equal ones go in the order of arrival.
    pub priority: i8,
    /// A waiter that was silent for this long counts as dead.
    pub patience: Duration,
    /// How long a lock that was handed on waits for its new holder to confirm.
    pub claim: Duration,
    /// The channel on which it is published who holds the lock now: the id, the number of its last look and the
    /// token, with spaces between them; empty for none. One with a hash tag, which is the lock's, is a sharded channel.
    pub channel: Arc<str>,
    /// The number of this look. A hand-off names the last one before it, so it came after that one was sent.
    pub look: u64,
    /// What [`Vote::Waiting`](crate::Vote::Waiting) gave earlier: keeps the place when the turn was missed.
    pub score: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> String {
        Resource::new("p:", "l", name, Mode::Exclusive).unwrap().key("w")
    }

    /// The part of a key that Redis Cluster hashes.
    fn slot_part(key: &str) -> &str {
        let Some((_, rest)) = key.split_once('{') else { return key };
        rest.split_once('}').map_or(key, |(tag, _)| if tag.is_empty() { key } else { tag })
    }

    #[test]
    fn a_tag_in_the_name_is_kept() {
        assert_eq!(key("orders"), "p:l:-{orders}:w");
        assert_eq!(slot_part(&key("{order-1}:pay")), "order-1");
    }

    #[test]
    fn names_outside_of_the_bounds_are_refused() {
        for name in [String::new(), "x".repeat(MAX_NAME + 1)] {
            let error = Resource::new("", "l", &name, Mode::Shared).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    }

    proptest! {
        #[test]
        fn different_names_have_different_keys(a in "[a{}%7BD]{1,6}", b in "[a{}%7BD]{1,6}") {
            prop_assert_eq!(a == b, key(&a) == key(&b));
        }

        #[test]
        fn all_keys_of_a_name_share_a_slot(name in "[a{}:%]{1,8}") {
            let resource = Resource::new("p:", "l", &name, Mode::Exclusive).unwrap();
            let claim = Claim::new("o/{}1".into(), [resource.clone()].into(), Duration::from_secs(1), "e".into());
            let (writer, queue, tombstone) = (resource.key("w"), resource.key("q"), claim.tombstone());
            prop_assert_eq!(slot_part(&writer), slot_part(&queue));
            prop_assert_eq!(slot_part(&writer), slot_part(&tombstone));
            prop_assert!(slot_part(&writer) != writer);
        }
    }
}
