//! From keys to what stands on the server, and back.

use state_core::{ErrorKind, StateError, StateResult, check_key};

/// How keys are laid out on the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// `prefix`, `d|`, key: namespaces whose prefixes begin alike never meet, and other kinds of keys (locks among
    /// them) live beside the data, out of reach of `clear`.
    #[default]
    Namespaced,
    /// `prefix`, key: for reading and writing what other clients store. `clear` then removes whatever begins with
    /// the prefix, and is refused where the prefix is empty.
    Plain,
}

/// The part of the server's keys that belongs to one backend's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keyspace {
    prefix: Vec<u8>,
}

const MAX_PREFIX_LEN: usize = 1_024;
const DATA: &str = "d|";

impl Keyspace {
    /// The keyspace of data under `prefix`.
    ///
    /// # Errors
    /// `InvalidConfig` for a prefix that is too long or, in the namespaced layout, contains `|` or a lone brace.
    pub(crate) fn new(prefix: &str, layout: Layout) -> StateResult<Self> {
        if prefix.len() > MAX_PREFIX_LEN {
            return Err(invalid(format!("key_prefix has more than {MAX_PREFIX_LEN} bytes")));
        }
        if layout == Layout::Plain {
            return Ok(Self { prefix: prefix.into() });
        }
        if prefix.contains('|') {
            return Err(invalid("key_prefix contains |, which ends prefixes"));
        }
        if !is_free_of_lone_braces(prefix) {
            return Err(invalid(
                "key_prefix contains a brace that is not part of one {tag}: keys would share a cluster slot by chance",
            ));
        }
        Ok(Self { prefix: format!("{prefix}{DATA}").into() })
    }

    /// The server's key for `key`.
    ///
    /// # Errors
    /// Those of [`check_key`].
    pub(crate) fn encode(&self, key: &[u8]) -> StateResult<Vec<u8>> {
        check_key(key)?;
        Ok([&self.prefix, key].concat())
    }

    /// The key behind the server's key `stored`, unless that is not one of ours.
    pub(crate) fn decode<'a>(&self, stored: &'a [u8]) -> Option<&'a [u8]> {
        stored.strip_prefix(self.prefix.as_slice())
    }

    /// The pattern for `SCAN` that matches the keys beginning with `prefix`, each byte for itself.
    pub(crate) fn pattern(&self, prefix: &[u8]) -> Vec<u8> {
        let mut pattern = Vec::with_capacity(self.prefix.len() + prefix.len() + 1);
        for &byte in self.prefix.iter().chain(prefix) {
            if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\') {
                pattern.push(b'\\');
            }
            pattern.push(byte);
        }
        pattern.push(b'*');
        pattern
    }

    /// Whether this is the whole database.
    pub(crate) fn is_everything(&self) -> bool {
        self.prefix.is_empty()
    }
}

fn is_free_of_lone_braces(prefix: &str) -> bool {
    match (prefix.find('{'), prefix.find('}')) {
        (None, None) => true,
        (Some(open), Some(close)) => open + 1 < close && prefix.matches(['{', '}']).count() == 2,
        _ => false,
    }
}

fn invalid(context: impl Into<std::borrow::Cow<'static, str>>) -> StateError {
    StateError::new(ErrorKind::InvalidConfig, context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_prefixes_share_no_key() {
        let outer = Keyspace::new("app:", Layout::Namespaced).unwrap();
        let inner = Keyspace::new("app:staging:", Layout::Namespaced).unwrap();
        assert_eq!(outer.decode(&inner.encode(b"k").unwrap()), None);
        assert_eq!(inner.decode(&outer.encode(b"staging:d|k").unwrap()), None);
        assert_eq!(outer.encode(b"k").unwrap(), b"app:d|k");
    }

    #[test]
    fn prefixes_that_break_namespaces_are_refused() {
        for prefix in ["a|b", "{", "}", "a{b", "}{", "{}", "{a}{b}", "{{a}"] {
            let error = Keyspace::new(prefix, Layout::Namespaced).unwrap_err();
            assert!(error.context().contains("key_prefix"), "{prefix}: {error}");
        }
        for prefix in ["", "app:", "{tenant}:", "a*b?[c]"] {
            assert!(Keyspace::new(prefix, Layout::Namespaced).is_ok(), "{prefix}");
        }
        assert!(Keyspace::new("foreign|{", Layout::Plain).is_ok(), "foreign data is as it is");
    }

    #[test]
    fn patterns_mean_bytes() {
        let keyspace = Keyspace::new("a*", Layout::Plain).unwrap();
        assert_eq!(keyspace.pattern(b"[1]?\\"), b"a\\*\\[1\\]\\?\\\\*");
    }
}
