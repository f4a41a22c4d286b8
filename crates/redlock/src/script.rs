//! The scripts, and how they are called.

use std::{io::Write, sync::LazyLock};

use redis::{Cmd, RedisWrite, ToRedisArgs};

use crate::Claim;

pub(crate) struct Script {
    text: String,
    hash: String,
}

/// The text of a script from the files of its parts.
macro_rules! script {
    ($($part:literal),+) => { LazyLock::new(|| Script::new(&[$(include_str!(concat!("lua/", $part, ".lua"))),+])) };
}

pub(crate) static ACQUIRE: LazyLock<Script> = script!("clock", "quick_acquire", "lib", "acquire");
pub(crate) static ENQUEUE: LazyLock<Script> = script!("clock", "quick_enqueue", "lib", "enqueue");
pub(crate) static EXTEND: LazyLock<Script> = script!("clock", "lib", "extend");
pub(crate) static RAISE: LazyLock<Script> = script!("clock", "lib", "raise");
pub(crate) static RELEASE: LazyLock<Script> = script!("quick_release", "clock", "lib", "release");
pub(crate) static PEEK: LazyLock<Script> = script!("clock", "lib", "peek");
pub(crate) static BOOTSTRAP: LazyLock<Script> = script!("bootstrap");

impl Script {
    fn new(parts: &[&str]) -> Self {
        let text = parts.join("\n");
        Self { hash: redis::Script::new(&text).get_hash().to_owned(), text }
    }

    /// A call by the hash.
    pub(crate) fn by_hash(&self, keys: &Keys<'_>) -> Cmd {
        call("EVALSHA", &self.hash, keys)
    }

    /// A call by the text, for a server that does not know the hash.
    pub(crate) fn by_text(&self, keys: &Keys<'_>) -> Cmd {
        call("EVAL", &self.text, keys)
    }
}

/// The room that arguments take, beyond which a call only allocates once more.
const ARGUMENTS: (usize, usize) = (6, 160);

fn call(command: &str, script: &str, keys: &Keys<'_>) -> Cmd {
    let (count, bytes) = (keys.num_of_args(), keys.len());
    let mut call = Cmd::with_capacity(3 + count + ARGUMENTS.0, script.len() + bytes + ARGUMENTS.1);
    call.arg(command).arg(script).arg(count).arg(keys);
    call
}

/// The keys of a resource, in the order in which scripts know them.
const ROLES: [&str; 7] = ["w", "r", "i", "c", "q", "b", "m"];

/// The keys of a call, in the order in which scripts know them. They are written where they are sent from: a string
/// for each would cost more than all the rest of a call.
pub(crate) enum Keys<'a> {
    /// Those of the resources.
    Resources(&'a Claim),
    /// And the tombstone.
    Mortal(&'a Claim),
    /// And the epoch marker, where there is a quarantine.
    Voting(&'a Claim),
    /// The epoch marker alone.
    Epoch(&'a str),
}

impl Keys<'_> {
    /// About how many bytes they have.
    fn len(&self) -> usize {
        match self {
            Self::Resources(claim) | Self::Mortal(claim) | Self::Voting(claim) => {
                let first = claim.resources[0].body().len();
                (self.num_of_args() + 1) * (first + 2) + claim.id.len()
            }
            Self::Epoch(key) => key.len(),
        }
    }
}

impl ToRedisArgs for &Keys<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let claim = match self {
            Keys::Resources(claim) | Keys::Mortal(claim) | Keys::Voting(claim) => claim,
            Keys::Epoch(key) => return out.write_arg(key.as_bytes()),
        };
        for resource in &*claim.resources {
            ROLES.iter().for_each(|role| write_key(out, &[resource.body(), ":", role]));
        }
        if !matches!(self, Keys::Resources(_)) {
            write_key(out, &[claim.resources[0].body(), ":x:", &claim.id]);
        }
        if matches!(self, Keys::Voting(_)) && claim.quarantine.is_some() {
            out.write_arg(claim.epoch_key.as_bytes());
        }
    }

    fn num_of_args(&self) -> usize {
        let of_resources = |claim: &Claim| ROLES.len() * claim.resources.len();
        match self {
            Keys::Resources(claim) => of_resources(claim),
            Keys::Mortal(claim) => of_resources(claim) + 1,
            Keys::Voting(claim) => of_resources(claim) + 1 + usize::from(claim.quarantine.is_some()),
            Keys::Epoch(_) => 1,
        }
    }
}

fn write_key<W: ?Sized + RedisWrite>(out: &mut W, parts: &[&str]) {
    let mut key = out.writer_for_next_arg();
    parts.iter().for_each(|part| key.write_all(part.as_bytes()).expect("memory takes all"));
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{Mode, claim::Resource};

    #[test]
    fn keys_are_written_as_they_are_named() {
        let resource = |name| Resource::new("p:", "l", name, Mode::Exclusive).unwrap();
        let resources: Arc<[_]> = [resource("a"), resource("b")].into();
        let fresh = Claim::new("me/1".into(), Arc::clone(&resources), Duration::from_secs(1), "epoch".into());
        let claim = Claim { quarantine: Some(Duration::ZERO), ..fresh };
        let mut expected: Vec<_> =
            resources.iter().flat_map(|resource| ROLES.map(|role| resource.key(role))).collect();
        let mut check = |keys: Keys<'_>, another: Option<&str>| {
            expected.extend(another.map(str::to_owned));
            let written = (&keys).to_redis_args();
            assert_eq!(written, expected.iter().map(|key| key.clone().into_bytes()).collect::<Vec<_>>());
            assert_eq!((&keys).num_of_args(), expected.len());
        };
        check(Keys::Resources(&claim), None);
        check(Keys::Mortal(&claim), Some(&claim.tombstone()));
        check(Keys::Voting(&claim), Some("epoch"));
        assert_eq!((&Keys::Epoch("epoch")).to_redis_args(), [b"epoch"]);
    }
}
