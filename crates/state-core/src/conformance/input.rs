//! Wrong input is refused with a typed error, and nothing is written.

use std::time::Duration;

use crate::{
    ErrorKind, MAX_KEY_LEN, MAX_TTL, PutItem, PutOptions, ScanOptions, StateBackend, StateResult, Ttl,
};
use futures_util::stream::StreamExt;

/// The empty key and an over-long one are refused by every operation.
pub async fn keys_out_of_bounds_are_refused(backend: &dyn StateBackend) {
    refuses_key(backend, b"", ErrorKind::InvalidInput).await;
    refuses_key(backend, &vec![b'k'; MAX_KEY_LEN + 1], ErrorKind::TooLarge).await;
    let prefix = vec![b'p'; MAX_KEY_LEN + 1];
    assert_kind(backend.list_keys(&prefix).await, ErrorKind::TooLarge);
}

/// A TTL of zero or above the bound is refused, also for a single item of a batch.
pub async fn ttls_out_of_bounds_are_refused(backend: &dyn StateBackend) {
    backend.put(b"there", b"v").await.unwrap();
    for ttl in [Duration::ZERO, MAX_TTL + Duration::from_millis(1), Duration::MAX] {
        let options = PutOptions::default().with_ttl(Ttl::After(ttl));
        assert_kind(backend.put_with(b"k", b"v", options).await, ErrorKind::InvalidInput);
        assert_kind(backend.expire(b"there", ttl).await, ErrorKind::InvalidInput);
        let item = PutItem::new(b"k", b"v").with_ttl(Ttl::After(ttl));
        for result in backend.batch_put(&[item]).await {
            assert_kind(result, ErrorKind::InvalidInput);
        }
        for result in backend.batch_put_if_absent(&[item]).await {
            assert_kind(result, ErrorKind::InvalidInput);
        }
    }
    assert!(!backend.contains(b"k").await.unwrap(), "something was written");
    assert!(backend.contains(b"there").await.unwrap(), "a refused TTL removed the key");
    let longest = PutOptions::default().with_ttl(Ttl::After(MAX_TTL));
    assert!(backend.put_with(b"k", b"v", longest).await.expect("the bound itself is allowed"));
    backend.batch_delete(&[b"k", b"there"]).await;
}

/// A scan's step is 1 to 100,000 keys.
pub async fn page_sizes_out_of_bounds_are_refused(backend: &dyn StateBackend) {
    for page_size in [0, 100_001, usize::MAX] {
        let options = ScanOptions::default().with_page_size(page_size);
        let keys: Vec<_> = backend.scan(b"", options).collect().await;
        assert_eq!(keys.len(), 1, "one error, and nothing else");
        assert_kind(keys.into_iter().next().unwrap(), ErrorKind::InvalidInput);
        let entries: Vec<_> = backend.scan_entries(b"", options).collect().await;
        assert_eq!(entries.len(), 1, "one error, and nothing else");
    }
}

async fn refuses_key(backend: &dyn StateBackend, key: &[u8], kind: ErrorKind) {
    assert_kind(backend.get(key).await, kind);
    assert_kind(backend.put(key, b"v").await, kind);
    assert_kind(backend.put_with(key, b"v", PutOptions::default()).await, kind);
    assert_kind(backend.delete(key).await, kind);
    assert_kind(backend.contains(key).await, kind);
    assert_kind(backend.get_and_delete(key).await, kind);
    assert_kind(backend.compare_and_swap(key, None, Some(b"v")).await, kind);
    assert_kind(backend.increment(key, 1).await, kind);
    assert_kind(backend.ttl(key).await, kind);
    assert_kind(backend.expire(key, Duration::from_secs(1)).await, kind);
    assert_kind(backend.persist(key).await, kind);
    assert_kind(backend.batch_get(&[key]).await.remove(0), kind);
    assert_kind(backend.batch_put(&[PutItem::new(key, b"v")]).await.remove(0), kind);
    assert_kind(backend.batch_put_if_absent(&[PutItem::new(key, b"v")]).await.remove(0), kind);
    assert_kind(backend.batch_delete(&[key]).await.remove(0), kind);
}

#[track_caller]
pub(super) fn assert_kind<T: std::fmt::Debug>(result: StateResult<T>, kind: ErrorKind) {
    match result {
        Err(error) if error.kind() == kind => {}
        other => panic!("expected an error of kind {kind:?}, got {other:?}"),
    }
}
