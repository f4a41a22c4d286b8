//! Snapshots, restores and copies: what was there is there again, TTLs included.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::TryStreamExt;

use crate::conformance::expiry::assert_about;
use crate::conformance::input::assert_kind;
use crate::{
    ErrorKind, Existing, Expiry, MemoryBackend, PutOptions, RestoreMode, ScanOptions, StateBackend,
    StateBackendExt, TransferOptions, Ttl,
};

const TTL: Duration = Duration::from_secs(1_000);
const ENTRIES: u64 = 302;

/// Snapshot, change everything, restore: `Replace` brings back exactly what was, `Merge` leaves what is new.
pub async fn snapshots_restore_what_was(backend: &dyn StateBackend) {
    let before = fill(backend).await;
    let called = Arc::new(AtomicU64::new(0));
    let last = Arc::clone(&called);
    let options = TransferOptions::default()
        .with_scan(ScanOptions::default().with_page_size(64))
        .with_progress(move |progress| last.store(progress.entries, Ordering::Relaxed));
    let mut snapshot = Cursor::new(Vec::new());
    let report = backend.snapshot_to(&mut snapshot, &options).await.unwrap();
    assert_eq!((report.entries, called.swap(0, Ordering::Relaxed)), (ENTRIES, ENTRIES));

    change(backend).await;
    let report = backend.restore_from(&mut snapshot, RestoreMode::Merge, &options).await.unwrap();
    assert_eq!((report.entries, report.removed), (ENTRIES, 0));
    assert_eq!(backend.get(b"new").await.unwrap().as_deref(), Some(&b"new"[..]));
    assert_eq!(backend.count().await.unwrap() as u64, ENTRIES + 1);

    change(backend).await;
    let report = backend.restore_from(&mut snapshot, RestoreMode::Replace, &options).await.unwrap();
    assert_eq!((report.entries, report.removed), (ENTRIES, 1));
    assert_eq!(called.load(Ordering::Relaxed), ENTRIES);
    assert!(contents(backend).await == before, "the restored entries differ");
    assert_about(backend, b"ttl", TTL).await;
    assert_eq!(backend.ttl(b"\0\xff*\r\n").await.unwrap(), Expiry::Never);

    let part = TransferOptions::default().with_prefix("k:1");
    change(backend).await;
    backend.restore_from(&mut snapshot, RestoreMode::Replace, &part).await.unwrap();
    assert_eq!(backend.get(b"k:1").await.unwrap().as_deref(), Some(&b"value 1"[..]));
    assert_eq!(backend.get(b"k:2").await.unwrap().as_deref(), Some(&b"changed"[..]), "outside of the prefix");
    assert!(backend.contains(b"new").await.unwrap(), "outside of the prefix");
    backend.clear().await.unwrap();
}

/// A snapshot file appears complete, is replaced as a whole, and leaves nothing beside it.
pub async fn snapshot_files_are_whole_or_absent(backend: &dyn StateBackend) {
    let before = fill(backend).await;
    let directory = TemporaryDirectory::create();
    let path = directory.0.join("state.snapshot");
    let options = TransferOptions::default();
    assert_kind(backend.restore_from_file(&path, RestoreMode::Merge, &options).await, ErrorKind::Io);
    std::fs::write(&path, b"an older file").unwrap();
    backend.snapshot_to_file(&path, &options).await.unwrap();
    backend.clear().await.unwrap();
    backend.restore_from_file(&path, RestoreMode::Replace, &options).await.unwrap();
    assert!(contents(backend).await == before, "the restored entries differ");
    let nowhere = directory.0.join("missing").join("state.snapshot");
    assert_kind(backend.snapshot_to_file(&nowhere, &options).await, ErrorKind::Io);
    assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 1, "a temporary file was left");
    backend.clear().await.unwrap();
}

/// A snapshot that is cut off, altered or something else is `Corrupt`, and nothing is written or removed.
pub async fn damaged_snapshots_change_nothing(backend: &dyn StateBackend) {
    fill(backend).await;
    let options = TransferOptions::default();
    let mut snapshot = Cursor::new(Vec::new());
    backend.snapshot_to(&mut snapshot, &options).await.unwrap();
    change(backend).await;
    let before = contents(backend).await;
    let whole = snapshot.into_inner();
    let mut damaged: Vec<Vec<u8>> = vec![Vec::new(), b"something else entirely".to_vec()];
    damaged.extend((0..whole.len()).step_by(whole.len() / 23).map(|len| whole[..len].to_vec()));
    damaged.push([&whole[..], b"x"].concat());
    for at in (0..whole.len()).step_by(whole.len() / 37).chain([whole.len() - 1]) {
        let mut altered = whole.clone();
        altered[at] ^= 0x40;
        damaged.push(altered);
    }
    for (n, bytes) in damaged.into_iter().enumerate() {
        let result = backend.restore_from(&mut Cursor::new(bytes), RestoreMode::Replace, &options).await;
        let kind = result.map_err(|error| error.kind());
        assert_eq!(kind.err(), Some(ErrorKind::Corrupt), "damage number {n}");
    }
    assert!(contents(backend).await == before, "a damaged snapshot changed the state");
    backend.clear().await.unwrap();
}

/// A copy to another backend and back carries values and TTLs.
pub async fn copies_carry_values_and_ttls(backend: &dyn StateBackend) {
    let before = fill(backend).await;
    let other = MemoryBackend::new();
    other.put(b"old", b"old").await.unwrap();
    let options = TransferOptions::default();
    backend.copy_to(&other, RestoreMode::Replace, &options).await.unwrap();
    assert!(contents(&other).await == before, "the copied entries differ");
    assert_about(&other, b"ttl", TTL).await;
    backend.clear().await.unwrap();
    other.copy_to(backend, RestoreMode::Merge, &options).await.unwrap();
    assert!(contents(backend).await == before, "the copied entries differ");
    assert_about(backend, b"ttl", TTL).await;
    // As if it had been cut short: what is missing is copied, what is there is not.
    backend.delete(b"ttl").await.unwrap();
    backend.delete(b"k:7").await.unwrap();
    let resume = options.with_existing(Existing::Keep);
    let report = other.copy_to(backend, RestoreMode::Replace, &resume).await.unwrap();
    assert_eq!((report.present, report.entries, report.removed), (ENTRIES - 2, 2, 0));
    assert!(contents(backend).await == before, "the resumed copy differs");
    assert_about(backend, b"ttl", TTL).await;
    backend.clear().await.unwrap();
}

async fn fill(backend: &dyn StateBackend) -> BTreeMap<Vec<u8>, Vec<u8>> {
    for n in 0..300 {
        backend.put(format!("k:{n}").as_bytes(), format!("value {n}").as_bytes()).await.unwrap();
    }
    backend.put_with_ttl(b"ttl", b"", TTL).await.unwrap();
    let never = PutOptions::default().with_ttl(Ttl::Never);
    backend.put_with(b"\0\xff*\r\n", &[0xff; 100_000], never).await.unwrap();
    contents(backend).await
}

async fn change(backend: &dyn StateBackend) {
    backend.put(b"new", b"new").await.unwrap();
    backend.put(b"ttl", b"changed").await.unwrap();
    for n in 0..150 {
        backend.put(format!("k:{n}").as_bytes(), b"changed").await.unwrap();
        backend.delete(format!("k:{}", 299 - n).as_bytes()).await.unwrap();
    }
}

async fn contents(backend: &dyn StateBackend) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let entries = backend.scan_entries(b"", ScanOptions::default());
    entries.map_ok(|entry| (entry.key, entry.value)).try_collect().await.unwrap()
}

struct TemporaryDirectory(std::path::PathBuf);

impl TemporaryDirectory {
    fn create() -> Self {
        let path = std::env::temp_dir().join(format!("state-core-{:032x}", rand::random::<u128>()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
