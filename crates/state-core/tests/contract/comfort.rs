//! Read-modify-write and transfers when things go wrong.

use std::io::Cursor;
use std::time::Duration;

use state_core::{
    ErrorKind, Fault, FaultyBackend, MemoryBackend, Operation, RestoreMode, ScanOptions, StateBackend,
    StateBackendExt, TransferOptions,
};

#[tokio::test]
async fn update_creates_changes_and_removes() {
    let backend = MemoryBackend::new();
    let append = |old: Option<&[u8]>| Some([old.unwrap_or(b""), b"x"].concat());
    assert_eq!(backend.update(b"k", append).await.unwrap().as_deref(), Some(&b"x"[..]));
    assert_eq!(backend.update(b"k", append).await.unwrap().as_deref(), Some(&b"xx"[..]));
    assert_eq!(backend.update(b"k", |_| None).await.unwrap(), None);
    assert!(!backend.contains(b"k").await.unwrap());
}

#[tokio::test]
async fn update_gives_up_when_it_never_wins() {
    let backend = MemoryBackend::new();
    let rival = backend.clone();
    let mut calls = 0_u32;
    let result = backend.update(b"k", |_| {
        calls += 1;
        // The other writer comes first, every time.
        let value = calls.to_be_bytes();
        let put = rival.put(b"k", &value);
        futures_util::FutureExt::now_or_never(put).expect("memory never waits").unwrap();
        Some(b"mine".to_vec())
    });
    assert_eq!(result.await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(calls, 1_000);
}

#[tokio::test]
async fn a_restore_that_failed_half_way_can_be_run_again() {
    let source = MemoryBackend::new();
    for n in 0..500_u32 {
        source.put(&n.to_be_bytes(), b"v").await.unwrap();
    }
    let options = TransferOptions::default().with_scan(ScanOptions::default().with_page_size(50));
    let mut snapshot = Cursor::new(Vec::new());
    source.snapshot_to(&mut snapshot, &options).await.unwrap();

    let target = FaultyBackend::new(MemoryBackend::new());
    target.put(b"other", b"v").await.unwrap();
    target.inject(Fault::error(ErrorKind::Unavailable).on(Operation::BatchPut).after_calls(220).times(1));
    let error = target.restore_from(&mut snapshot, RestoreMode::Replace, &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(target.contains(b"other").await.unwrap(), "nothing is removed before all is stored");
    target.restore_from(&mut snapshot, RestoreMode::Replace, &options).await.unwrap();
    assert_eq!(target.count().await.unwrap(), 500);
}

#[tokio::test]
async fn a_snapshot_of_a_failing_backend_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let backend = FaultyBackend::new(MemoryBackend::new());
    for n in 0..10_u8 {
        backend.put(&[n], b"v").await.unwrap();
    }
    backend.inject(Fault::error(ErrorKind::Unavailable).on(Operation::ScanEntries).after_calls(5));
    let path = directory.path().join("state.snapshot");
    let error = backend.snapshot_to_file(&path, &TransferOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn entries_that_expired_since_the_snapshot_are_left_out() {
    let backend = MemoryBackend::new();
    backend.put(b"stays", b"v").await.unwrap();
    backend.put_with_ttl(b"goes", b"v", Duration::from_millis(20)).await.unwrap();
    let mut snapshot = Cursor::new(Vec::new());
    let options = TransferOptions::default();
    let written = backend.snapshot_to(&mut snapshot, &options).await.unwrap().entries;
    while backend.contains(b"goes").await.unwrap() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Expiries are points in time of the wall clock, which is read in whole milliseconds.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let report = backend.restore_from(&mut snapshot, RestoreMode::Replace, &options).await.unwrap();
    assert_eq!((report.entries, report.expired), (1, written - 1));
    assert!(!backend.contains(b"goes").await.unwrap());
}

#[tokio::test]
async fn a_transfer_refuses_a_step_of_zero() {
    let backend = MemoryBackend::new();
    let mut snapshot = Cursor::new(Vec::new());
    backend.snapshot_to(&mut snapshot, &TransferOptions::default()).await.unwrap();
    let zero = TransferOptions::default().with_scan(ScanOptions::default().with_page_size(0));
    for mode in [RestoreMode::Replace, RestoreMode::Merge] {
        let error = backend.restore_from(&mut snapshot, mode, &zero).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
