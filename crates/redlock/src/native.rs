//! Compare-and-delete as one command, for servers that have it.

use std::sync::atomic::{AtomicU8, Ordering};

use redis::Cmd;

const NONE: u8 = 0;
/// Valkey 9.0: `DELIFEQ key value`.
const DELIFEQ: u8 = 1;
/// Redis 8.4: `DELEX key IFEQ value`.
const DELEX: u8 = 2;

/// Which command the server has, as far as is known.
#[derive(Default)]
pub(crate) struct Native(AtomicU8);

impl Native {
    /// Reads it from `INFO`. Valkey calls itself a Redis 7.2, so its name counts, not that version.
    pub(crate) fn learn(&self, info: &str) {
        let is_valkey = field(info, "server_name") == "valkey";
        let has = |name, least| version(field(info, name)) >= Some(least);
        let command = match is_valkey {
            true if has("valkey_version", (9, 0)) => DELIFEQ,
            false if has("redis_version", (8, 4)) => DELEX,
            _ => NONE,
        };
        self.0.store(command, Ordering::Relaxed);
    }

    /// The server refused it after all: an ACL, or a proxy in between.
    pub(crate) fn forget(&self) {
        self.0.store(NONE, Ordering::Relaxed);
    }

    /// Deletes `key` if its value is `value`; answers how many were deleted.
    pub(crate) fn compare_and_delete(&self, key: &str, value: &str) -> Option<Cmd> {
        let (name, condition) = match self.0.load(Ordering::Relaxed) {
            DELIFEQ => ("DELIFEQ", None),
            DELEX => ("DELEX", Some("IFEQ")),
            _ => return None,
        };
        let mut command = redis::cmd(name);
        command.arg(key).arg(condition).arg(value);
        Some(command)
    }
}

/// A field of `INFO`; empty when it is not there.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> &'a str {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim()
}

/// Major and minor version.
pub(crate) fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(info: &str) -> Option<String> {
        let native = Native::default();
        native.learn(info);
        let command = native.compare_and_delete("k", "v")?;
        let words = command.args_iter().filter_map(|word| match word {
            redis::Arg::Simple(word) => Some(String::from_utf8_lossy(word).into_owned()),
            _ => None,
        });
        Some(words.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_command_is_chosen_by_name_and_version() {
        for (info, expected) in [
            ("redis_version:7.0.15\r\n", None),
            ("redis_version:8.2.3\r\n", None),
            ("redis_version:8.4.0\r\n", Some("DELEX k IFEQ v")),
            ("redis_version:10.0.1\r\n", Some("DELEX k IFEQ v")),
            ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.8\r\n", None),
            ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n", Some("DELIFEQ k v")),
            ("redis_version:8.4.0\r\nserver_name:valkey\r\n", None),
            ("", None),
        ] {
            assert_eq!(command(info).as_deref(), expected, "{info}");
        }
    }
}
