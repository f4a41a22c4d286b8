//! What the tests of this binary share.

use state_redis::{RedisBackend, RedisConfigBuilder};

/// A backend with these settings.
pub(crate) async fn backend(builder: RedisConfigBuilder) -> RedisBackend {
    RedisBackend::new(builder.build().expect("valid settings")).await.expect("a connection")
}

/// Numbered pairs, as a batch takes them.
pub(crate) fn pairs(count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    (0..count).map(|n| (format!("batch:{n}").into_bytes(), format!("value {n}").into_bytes())).collect()
}

/// The same pairs, borrowed.
pub(crate) fn borrowed(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<(&[u8], &[u8])> {
    pairs.iter().map(|(key, value)| (key.as_slice(), value.as_slice())).collect()
}
