//! The bounds of the contract, and the checks every backend makes before it does anything.

use std::fmt;
use std::time::Duration;

use crate::{ErrorKind, ScanOptions, StateError, StateResult};

/// The longest key, in bytes: 16 KiB.
pub const MAX_KEY_LEN: usize = 16 * 1024;

/// The longest value any backend may be configured for, in bytes: 512 MiB, what a Redis string holds.
pub const MAX_VALUE_LEN: usize = 512 * 1024 * 1024;

/// The longest value a backend takes unless it is configured otherwise, in bytes: 64 MiB.
pub const DEFAULT_MAX_VALUE_LEN: usize = 64 * 1024 * 1024;

/// The longest TTL: 100 years of 365 days.
pub const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

const MAX_PAGE_SIZE: usize = 100_000;

/// Checks that `key` has 1 to [`MAX_KEY_LEN`] bytes; any byte is allowed.
///
/// # Errors
/// `InvalidInput` for an empty key, `TooLarge` for a long one.
pub fn check_key(key: &[u8]) -> StateResult<()> {
    if key.is_empty() {
        return Err(StateError::new(ErrorKind::InvalidInput, "the key is empty"));
    }
    check_prefix(key)
}

/// Checks that a scan's `prefix` has at most [`MAX_KEY_LEN`] bytes; an empty one matches every key.
///
/// # Errors
/// `TooLarge` for a long one.
pub fn check_prefix(prefix: &[u8]) -> StateResult<()> {
    if prefix.len() > MAX_KEY_LEN {
        let context =
            format!("the key or prefix has {} bytes, at most {MAX_KEY_LEN} are allowed", prefix.len());
        return Err(StateError::new(ErrorKind::TooLarge, context));
    }
    Ok(())
}

/// Checks that `value` has at most `max` bytes.
///
/// # Errors
/// `TooLarge` for a longer one.
pub fn check_value(value: &[u8], max: usize) -> StateResult<()> {
    if value.len() > max {
        let context = format!("the value has {} bytes, at most {max} are allowed", value.len());
        return Err(StateError::new(ErrorKind::TooLarge, context));
    }
    Ok(())
}

/// `ttl` in whole milliseconds, rounded up so that nothing expires before its time.
///
/// # Errors
/// `InvalidInput` for zero or for more than [`MAX_TTL`].
pub fn ttl_millis(ttl: Duration) -> StateResult<u64> {
    if ttl.is_zero() {
        return Err(StateError::new(ErrorKind::InvalidInput, "the TTL is zero; delete the key instead"));
    }
    if ttl > MAX_TTL {
        return Err(StateError::new(
            ErrorKind::InvalidInput,
            "the TTL is longer than 100 years; use Ttl::Never for a value that stays",
        ));
    }
    let millis = ttl.as_nanos().div_ceil(1_000_000);
    Ok(u64::try_from(millis).expect("100 years are fewer than 2^64 milliseconds"))
}

/// Checks the page size of a scan.
///
/// # Errors
/// `InvalidInput` unless it is 1 to 100,000.
pub fn check_scan(options: ScanOptions) -> StateResult<()> {
    if options.page_size == 0 || options.page_size > MAX_PAGE_SIZE {
        let context = format!("page_size is {}, 1 to {MAX_PAGE_SIZE} is allowed", options.page_size);
        return Err(StateError::new(ErrorKind::InvalidInput, context));
    }
    Ok(())
}

/// A key as it may appear in logs and errors: 16 hex digits of XXH3-64, never the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest(u64);

impl KeyDigest {
    /// The digest of `key`.
    pub fn of(key: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_64(key))
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key#{:016x}", self.0)
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ttls_round_up_to_milliseconds() {
        assert_eq!(ttl_millis(Duration::from_nanos(1)).unwrap(), 1);
        assert_eq!(ttl_millis(Duration::from_micros(1_001)).unwrap(), 2);
        assert_eq!(ttl_millis(Duration::from_millis(400)).unwrap(), 400);
        assert_eq!(ttl_millis(MAX_TTL).unwrap(), 3_153_600_000_000);
    }

    #[test]
    fn ttls_out_of_bounds_are_refused() {
        for ttl in [Duration::ZERO, MAX_TTL + Duration::from_nanos(1), Duration::MAX] {
            assert_eq!(ttl_millis(ttl).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn key_bounds_are_exact() {
        assert_eq!(check_key(b"").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(check_key(&[0; MAX_KEY_LEN]).is_ok());
        assert_eq!(check_key(&[0; MAX_KEY_LEN + 1]).unwrap_err().kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn a_digest_hides_the_key() {
        let digest = KeyDigest::of(b"user:alice").to_string();
        assert!(digest.starts_with("key#") && !digest.contains("alice"));
    }
}
