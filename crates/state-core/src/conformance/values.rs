//! Values under keys: stored, read, listed, removed, byte for byte.

use std::collections::BTreeSet;

use crate::StateBackend;

/// The seven basic operations do what they say.
pub async fn values_are_stored_replaced_and_removed(backend: &dyn StateBackend) {
    assert_eq!(backend.get(b"k").await.unwrap(), None);
    assert!(!backend.contains(b"k").await.unwrap());
    backend.delete(b"k").await.expect("removing nothing is fine");
    backend.put(b"k", b"one").await.unwrap();
    assert_eq!(backend.get(b"k").await.unwrap().as_deref(), Some(&b"one"[..]));
    backend.put(b"k", b"two").await.unwrap();
    assert_eq!(backend.get(b"k").await.unwrap().as_deref(), Some(&b"two"[..]));
    assert!(backend.contains(b"k").await.unwrap());
    assert_eq!(backend.count().await.unwrap(), 1);
    assert_eq!(backend.list_keys(b"").await.unwrap(), [b"k"]);
    backend.delete(b"k").await.unwrap();
    assert_eq!(backend.get(b"k").await.unwrap(), None);
    assert_eq!(backend.count().await.unwrap(), 0);
}

/// Any byte may stand in keys and values, and the empty value is a value.
pub async fn keys_and_values_are_arbitrary_bytes(backend: &dyn StateBackend) {
    let all: Vec<u8> = (0..=255).collect();
    let mut keys: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    keys.extend(awkward_keys());
    keys.push(all.clone());
    keys.push(vec![0xff; crate::MAX_KEY_LEN]);
    for (n, key) in keys.iter().enumerate() {
        backend.put(key, &all[..n % 256]).await.unwrap();
    }
    for (n, key) in keys.iter().enumerate() {
        let value = backend.get(key).await.unwrap();
        assert_eq!(value.as_deref(), Some(&all[..n % 256]), "key number {n}");
    }
    let listed: BTreeSet<_> = backend.list_keys(b"").await.unwrap().into_iter().collect();
    assert!(listed.iter().eq(keys.iter().collect::<BTreeSet<_>>()), "listed keys differ from stored ones");
    let refs: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    for result in backend.batch_delete(&refs).await {
        result.unwrap();
    }
}

/// A value of 1 MiB survives, alone and in a batch.
pub async fn values_of_a_mebibyte_come_back(backend: &dyn StateBackend) {
    let value: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    backend.put(b"large", &value).await.unwrap();
    assert!(backend.get(b"large").await.unwrap().as_ref() == Some(&value), "the value changed");
    let batch = backend.batch_get(&[b"large", b"none", b"large"]).await;
    let found: Vec<bool> = batch.into_iter().map(|result| result.unwrap().as_ref() == Some(&value)).collect();
    assert_eq!(found, [true, false, true]);
    assert!(backend.get_and_delete(b"large").await.unwrap() == Some(value), "the value changed");
}

/// What is a pattern elsewhere is a byte here, in keys and in prefixes.
pub async fn prefixes_are_bytes_and_no_patterns(backend: &dyn StateBackend) {
    let keys = awkward_keys();
    for key in &keys {
        backend.put(key, b"v").await.unwrap();
    }
    for prefix in keys.iter().flat_map(|key| (0..=key.len()).map(move |len| &key[..len])) {
        let listed: BTreeSet<_> = backend.list_keys(prefix).await.unwrap().into_iter().collect();
        let expected: BTreeSet<_> = keys.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        assert_eq!(listed, expected, "prefix {prefix:?}");
    }
    for key in &keys {
        backend.delete(key).await.unwrap();
    }
}

/// `clear` removes all keys, and `count` agrees.
pub async fn clear_leaves_nothing(backend: &dyn StateBackend) {
    for n in 0..2_500_u32 {
        backend.put(format!("key:{n}").as_bytes(), b"v").await.unwrap();
    }
    assert_eq!(backend.count().await.unwrap(), 2_500);
    backend.clear().await.unwrap();
    assert_eq!(backend.count().await.unwrap(), 0);
    assert_eq!(backend.list_keys(b"").await.unwrap(), Vec::<Vec<u8>>::new());
    backend.clear().await.expect("clearing nothing is fine");
}

/// A backend that passes the other checks says that it can serve.
pub async fn health_is_good(backend: &dyn StateBackend) {
    assert!(backend.health_check().await.unwrap());
}

fn awkward_keys() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 22] = [
        b"app:1",
        b"app2:1",
        b"app:",
        b"a*b:1",
        b"aXb:1",
        b"q?:1",
        b"qq:1",
        b"q[1]:x",
        b"q1:x",
        b"q[^1]:x",
        b"b\\:1",
        b"b\\\\:1",
        b"nul\0key",
        b"line\r\nbreak",
        b"{tag}rest",
        b"{}",
        b"a}b{c",
        b"  ",
        b"d|x",
        b"\xff\xfe",
        b"\xc3\x28",
        "ключ".as_bytes(),
    ];
    texts.iter().map(|text| text.to_vec()).collect()
}
