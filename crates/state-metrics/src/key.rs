//! How a key may appear outside the process: never as it is.

use std::fmt::Write;

/// How keys appear in the slow log, in events and in the hot-key report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyDisplay {
    /// XXH3-64 of the key as 16 hexadecimal digits: tells keys apart, and shows nothing of a key that cannot be
    /// guessed. It is not a secret-keeping hash: whoever can list candidate keys can find the one.
    #[default]
    Digest,
    /// The first four bytes, then `...` and the length: `user...(17)`.
    Redacted,
    /// The shape of the key: the first segment between `:`, `|` and `/` and later purely alphabetic ones stay,
    /// others become `*`: `user:123:cart` is `user:*:cart`. Put no personal data into such segments.
    Normalised,
}

/// Longer keys are shown by what precedes this.
const SHOWN: usize = 128;

impl KeyDisplay {
    /// The key in this form, at most about 130 bytes.
    #[must_use]
    pub fn show(self, key: &[u8]) -> String {
        match self {
            Self::Digest => format!("{:016x}", xxhash_rust::xxh3::xxh3_64(key)),
            Self::Redacted => redacted(key),
            Self::Normalised => normalised(&key[..key.len().min(SHOWN)]),
        }
    }
}

fn redacted(key: &[u8]) -> String {
    let mut shown = String::new();
    // A short key would be shown whole, so half of it at most is.
    for byte in key.iter().take(4.min(key.len() / 2)) {
        push(&mut shown, *byte);
    }
    let _ = write!(shown, "...({})", key.len());
    shown
}

fn normalised(key: &[u8]) -> String {
    let mut shown = String::with_capacity(key.len());
    let separates = |byte: &u8| matches!(byte, b':' | b'|' | b'/');
    for (index, segment) in key.split_inclusive(separates).enumerate() {
        let separator = segment.last().copied().filter(separates);
        let word = &segment[..segment.len() - usize::from(separator.is_some())];
        let has_more = separator.is_some();
        if word.is_empty() || (is_word(word) && (index > 0 || has_more)) {
            word.iter().for_each(|byte| push(&mut shown, *byte));
        } else {
            shown.push('*');
        }
        shown.extend(separator.map(char::from));
    }
    shown
}

/// A segment that names a kind of thing: letters, hyphens and underscores, at most 24.
fn is_word(segment: &[u8]) -> bool {
    segment.len() <= 24 && segment.iter().all(|b| b.is_ascii_alphabetic() || matches!(b, b'-' | b'_'))
}

fn push(text: &mut String, byte: u8) {
    text.push(if byte.is_ascii_graphic() { char::from(byte) } else { '.' });
}

/// An endpoint as it may be shown: without what precedes an `@`, at most 128 bytes of printable ASCII.
pub(crate) fn endpoint_name(text: &str) -> String {
    let host = text.rsplit('@').next().unwrap_or_default();
    let mut shown = String::new();
    host.bytes().take(SHOWN).for_each(|byte| push(&mut shown, byte));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_shows_nothing_of_the_key_and_is_stable() {
        let shown = KeyDisplay::Digest.show(b"user:123:cart");
        assert_eq!(shown.len(), 16);
        assert_eq!(shown, KeyDisplay::Digest.show(b"user:123:cart"));
        assert_ne!(shown, KeyDisplay::Digest.show(b"user:124:cart"));
    }

    #[test]
    fn a_redacted_key_shows_at_most_half_and_four_bytes() {
        assert_eq!(KeyDisplay::Redacted.show(b"user:123:cart-abcd"), "user...(18)");
        assert_eq!(KeyDisplay::Redacted.show(b"pin"), "p...(3)");
        assert_eq!(KeyDisplay::Redacted.show(b""), "...(0)");
        assert_eq!(
            KeyDisplay::Redacted.show(b"\xff\n\0\x01\x02\x03\x04\x05"),
            "....\
             ...(8)"
        );
    }

    #[test]
    fn normalising_keeps_the_shape_and_hides_identifiers() {
        let show = |key: &str| KeyDisplay::Normalised.show(key.as_bytes());
        assert_eq!(show("user:123:cart"), "user:*:cart");
        assert_eq!(show("user:a1b2|orders/77"), "user:*|orders/*");
        assert_eq!(show("u-5f1c"), "*");
        assert_eq!(show("plainword"), "*", "a key of one segment is an identifier");
        assert_eq!(show("a::b"), "a::b");
        assert_eq!(show(&format!("x:{}", "9".repeat(500))), "x:*");
    }

    #[test]
    fn an_endpoint_loses_its_credentials() {
        assert_eq!(endpoint_name("redis://user:p@ss@10.0.0.1:6379"), "10.0.0.1:6379");
        assert_eq!(endpoint_name("10.0.0.1:6379"), "10.0.0.1:6379");
    }
}
