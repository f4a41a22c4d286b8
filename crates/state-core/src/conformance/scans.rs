//! Scans: each key once, whatever happens meanwhile.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{StreamExt, TryStreamExt};

use crate::{PutItem, ScanOptions, StateBackend, Ttl};

const STABLE: u32 = 3_000;

/// A scan yields each key with the prefix exactly once, whatever its step.
pub async fn scans_yield_each_key_once(backend: &dyn StateBackend) {
    let stored = fill(backend, 1_234, "s:").await;
    fill(backend, 100, "other:").await;
    for page_size in [1, 7, 1_000, 100_000] {
        let options = ScanOptions::default().with_page_size(page_size);
        let keys: Vec<Vec<u8>> = backend.scan(b"s:", options).try_collect().await.unwrap();
        assert_eq!(keys.len(), stored.len(), "page size {page_size}");
        assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), stored, "page size {page_size}");
    }
    assert_eq!(
        backend.scan(b"s:", ScanOptions::default()).take(3).count().await,
        3,
        "a scan may be left early"
    );
    assert_eq!(backend.scan(b"none:", ScanOptions::default()).count().await, 0);
    backend.clear().await.unwrap();
}

/// A scan of entries yields values and TTLs, also of values of very different sizes.
pub async fn scans_yield_entries_with_their_ttl(backend: &dyn StateBackend) {
    let ttl = Duration::from_secs(1_000);
    let value = |n: u32| vec![n as u8; (n as usize % 10).pow(5)];
    for n in 0..200_u32 {
        let ttl = if n % 2 == 0 { Ttl::Never } else { Ttl::After(ttl) };
        let key = n.to_be_bytes();
        backend.batch_put(&[PutItem::new(&key, &value(n)).with_ttl(ttl)]).await.remove(0).unwrap();
    }
    let options = ScanOptions::default().with_page_size(50);
    let entries: Vec<_> = backend.scan_entries(b"", options).try_collect().await.unwrap();
    assert_eq!(entries.len(), 200);
    for entry in entries {
        let n = u32::from_be_bytes(entry.key.try_into().expect("all keys have four bytes"));
        assert!(entry.value == value(n), "the value of entry {n} changed");
        assert_eq!(entry.ttl.is_none(), n % 2 == 0, "entry {n}");
        assert!(entry.ttl.is_none_or(|left| left <= ttl && left > ttl / 2), "entry {n}: {:?}", entry.ttl);
    }
    backend.clear().await.unwrap();
}

/// While other keys come and go, a scan misses none of those that stay and yields none twice.
pub async fn scans_bear_concurrent_changes(backend: &Arc<dyn StateBackend>) {
    let stable = fill(&**backend, STABLE, "s:stable:").await;
    let stop = Arc::new(AtomicBool::new(false));
    let churn = tokio::spawn(churn(Arc::clone(backend), Arc::clone(&stop)));
    for page_size in [10, 100] {
        let options = ScanOptions::default().with_page_size(page_size);
        let mut seen: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut keys = backend.scan(b"s:", options);
        while let Some(key) = keys.try_next().await.unwrap() {
            *seen.entry(key).or_default() += 1;
        }
        let twice = seen.values().filter(|&&times| times > 1).count();
        assert_eq!(twice, 0, "keys yielded twice");
        let missed = stable.iter().filter(|key| !seen.contains_key(*key)).count();
        assert_eq!(missed, 0, "keys missed, of {STABLE}");
    }
    stop.store(true, Ordering::Relaxed);
    churn.await.unwrap();
    backend.clear().await.unwrap();
}

/// Adds and removes keys so that the backend's tables grow and shrink under the scan.
async fn churn(backend: Arc<dyn StateBackend>, stop: Arc<AtomicBool>) {
    let keys: Vec<Vec<u8>> = (0..6_000).map(|n| format!("s:churn:{n}").into_bytes()).collect();
    let items: Vec<PutItem<'_>> = keys.iter().map(|key| PutItem::new(key, b"v")).collect();
    let refs: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    while !stop.load(Ordering::Relaxed) {
        for (n, (puts, deletes)) in items.chunks(500).zip(refs.chunks(500)).enumerate() {
            backend.batch_put(puts).await;
            tokio::task::yield_now().await;
            if n % 2 == 0 {
                backend.batch_delete(deletes).await;
            }
        }
        for chunk in refs.chunks(500) {
            backend.batch_delete(chunk).await;
            tokio::task::yield_now().await;
        }
    }
}

async fn fill(backend: &dyn StateBackend, number: u32, prefix: &str) -> BTreeSet<Vec<u8>> {
    let keys: BTreeSet<Vec<u8>> = (0..number).map(|n| format!("{prefix}{n}").into_bytes()).collect();
    let items: Vec<PutItem<'_>> = keys.iter().map(|key| PutItem::new(key, b"v")).collect();
    for result in backend.batch_put(&items).await {
        result.unwrap();
    }
    keys
}
