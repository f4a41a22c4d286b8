//! Batches: one result an item, in order, each item on its own.

use std::time::Duration;

use crate::conformance::expiry::assert_about;
use crate::{ErrorKind, Expiry, MAX_KEY_LEN, PutItem, StateBackend, StateResult, Ttl};

/// Each item gets its own answer at its own place.
pub async fn batches_answer_item_by_item(backend: &dyn StateBackend) {
    let puts = backend.batch_put(&[PutItem::new(b"a", b"1"), PutItem::new(b"b", b"2")]).await;
    assert_eq!(all(puts), [(), ()]);
    let gets = backend.batch_get(&[b"b", b"none", b"a"]).await;
    assert_eq!(all(gets), [Some(b"2".to_vec()), None, Some(b"1".to_vec())]);
    let stored = backend.batch_put_if_absent(&[PutItem::new(b"c", b"3"), PutItem::new(b"a", b"9")]).await;
    assert_eq!(all(stored), [true, false]);
    assert_eq!(backend.get(b"a").await.unwrap().as_deref(), Some(&b"1"[..]));
    let deleted = backend.batch_delete(&[b"a", b"none", b"b", b"c"]).await;
    assert_eq!(all(deleted), [(); 4]);
}

/// The same key twice: the last put stays, the first put-if-absent wins, and both reads answer.
pub async fn batches_keep_order_among_duplicates(backend: &dyn StateBackend) {
    let items = [PutItem::new(b"k", b"1"), PutItem::new(b"k", b"2"), PutItem::new(b"k", b"3")];
    all(backend.batch_put(&items).await);
    assert_eq!(all(backend.batch_get(&[b"k", b"k"]).await), [Some(b"3".to_vec()), Some(b"3".to_vec())]);
    assert_eq!(all(backend.batch_delete(&[b"k", b"k"]).await), [(), ()]);
    assert_eq!(all(backend.batch_put_if_absent(&items).await), [true, false, false]);
    assert_eq!(backend.get_and_delete(b"k").await.unwrap().as_deref(), Some(&b"1"[..]));
}

/// A refused item leaves the others of its batch alone.
pub async fn batches_isolate_a_bad_item(backend: &dyn StateBackend) {
    let long = vec![b'k'; MAX_KEY_LEN + 1];
    let zero = PutItem::new(b"zero", b"v").with_ttl(Ttl::After(Duration::ZERO));
    let items = [
        PutItem::new(b"a", b"1"),
        PutItem::new(b"", b"v"),
        zero,
        PutItem::new(&long, b"v"),
        PutItem::new(b"b", b"2"),
    ];
    let expected =
        [None, Some(ErrorKind::InvalidInput), Some(ErrorKind::InvalidInput), Some(ErrorKind::TooLarge), None];
    assert_eq!(kinds(&backend.batch_put(&items).await), expected);
    assert_eq!(kinds(&backend.batch_put_if_absent(&items).await), expected);
    let gets = backend.batch_get(&[b"a", b"", b"zero", &long, b"b"]).await;
    assert_eq!(kinds(&gets), [None, Some(ErrorKind::InvalidInput), None, Some(ErrorKind::TooLarge), None]);
    assert_eq!(gets[4].as_ref().unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(gets[2].as_ref().unwrap(), &None, "a refused item was stored");
    let deleted = backend.batch_delete(&[b"a", b"", b"b"]).await;
    assert_eq!(kinds(&deleted), [None, Some(ErrorKind::InvalidInput), None]);
}

/// Items of one batch expire each at its own time.
pub async fn batches_carry_a_ttl_per_item(backend: &dyn StateBackend) {
    let long = Duration::from_secs(500);
    let item = |key, ttl| PutItem::new(key, b"v").with_ttl(ttl);
    let items = [item(b"a", Ttl::After(long)), item(b"b", Ttl::Never), item(b"c", Ttl::After(long * 2))];
    all(backend.batch_put(&items).await);
    assert_eq!(all(backend.batch_put_if_absent(&items).await), [false; 3]);
    for _ in 0..2 {
        assert_about(backend, b"a", long).await;
        assert_eq!(backend.ttl(b"b").await.unwrap(), Expiry::Never);
        assert_about(backend, b"c", long * 2).await;
        // The second round is about put-if-absent, and then about keeping the TTL.
        all(backend.batch_delete(&[b"a", b"b", b"c"]).await);
        assert_eq!(all(backend.batch_put_if_absent(&items).await), [true; 3]);
        all(backend.batch_put(&[item(b"a", Ttl::Keep), item(b"b", Ttl::Keep)]).await);
    }
    all(backend.batch_delete(&[b"a", b"b", b"c"]).await);
}

/// A batch of nothing answers nothing.
pub async fn empty_batches_are_empty(backend: &dyn StateBackend) {
    assert!(backend.batch_get(&[]).await.is_empty());
    assert!(backend.batch_put(&[]).await.is_empty());
    assert!(backend.batch_put_if_absent(&[]).await.is_empty());
    assert!(backend.batch_delete(&[]).await.is_empty());
}

/// A batch larger than any chunk a backend may cut it into comes back whole and in order.
pub async fn large_batches_are_whole(backend: &dyn StateBackend) {
    let keys: Vec<Vec<u8>> = (0..5_000).map(|n| format!("key:{n}").into_bytes()).collect();
    let items: Vec<PutItem<'_>> = keys.iter().map(|key| PutItem::new(key, key)).collect();
    all(backend.batch_put(&items).await);
    let refs: Vec<&[u8]> = keys.iter().rev().map(Vec::as_slice).collect();
    let values = all(backend.batch_get(&refs).await);
    assert!(values.iter().map(Option::as_deref).eq(refs.iter().copied().map(Some)), "values changed places");
    assert_eq!(all(backend.batch_put_if_absent(&items).await), vec![false; 5_000]);
    all(backend.batch_delete(&refs).await);
}

#[track_caller]
fn all<T>(results: Vec<StateResult<T>>) -> Vec<T> {
    results.into_iter().map(|result| result.expect("no item fails")).collect()
}

fn kinds<T>(results: &[StateResult<T>]) -> Vec<Option<ErrorKind>> {
    results.iter().map(|result| result.as_ref().err().map(crate::StateError::kind)).collect()
}
