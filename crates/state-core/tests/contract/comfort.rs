//! Read-modify-write and transfers when things go wrong.

use std::io::Cursor;
use std::time::Duration;

use state_core::{
    ErrorKind, Existing, Expiry, Fault, FaultyBackend, MemoryBackend, Operation, RestoreMode, ScanOptions,
    StateBackend, StateBackendExt, TransferOptions, Ttl,
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
async fn a_resumed_transfer_sends_only_what_is_missing() {
    let source = MemoryBackend::new();
    for n in 0..500_u32 {
        source.put(&n.to_be_bytes(), b"v").await.unwrap();
    }
    let page = TransferOptions::default().with_scan(ScanOptions::default().with_page_size(50));
    let resume = page.clone().with_existing(Existing::Keep);
    let target = FaultyBackend::new(MemoryBackend::new());
    target.put(b"other", b"v").await.unwrap();
    target.inject(Fault::error(ErrorKind::Unavailable).on(Operation::BatchPut).after_calls(220).times(1));
    source.copy_to(&target, RestoreMode::Replace, &page).await.unwrap_err();
    let arrived = target.count().await.unwrap() as u64 - 1;
    assert!((1..500).contains(&arrived), "{arrived} arrived");

    target.inject(
        Fault::error(ErrorKind::Unavailable).on(Operation::BatchPutIfAbsent).after_calls(90).times(1),
    );
    source.copy_to(&target, RestoreMode::Replace, &resume).await.unwrap_err();
    let more = target.count().await.unwrap() as u64 - 1;
    assert!((arrived + 1..500).contains(&more), "{more} after {arrived}");
    let report = source.copy_to(&target, RestoreMode::Replace, &resume).await.unwrap();
    assert_eq!((report.present, report.entries, report.removed), (more, 500 - more, 1));
    assert_eq!(target.count().await.unwrap(), 500);
}

#[tokio::test]
async fn keeping_what_exists_changes_neither_value_nor_ttl() {
    let (source, target) = (MemoryBackend::new(), MemoryBackend::new());
    source.put(b"a", b"new").await.unwrap();
    source.put(b"b", b"new").await.unwrap();
    target.put_with_ttl(b"a", b"old", Duration::from_secs(1_000)).await.unwrap();
    target.put(b"c", b"old").await.unwrap();
    let mut snapshot = Cursor::new(Vec::new());
    source.snapshot_to(&mut snapshot, &TransferOptions::default()).await.unwrap();
    let keep = TransferOptions::default().with_existing(Existing::Keep);
    let report = target.restore_from(&mut snapshot, RestoreMode::Merge, &keep).await.unwrap();
    assert_eq!((report.present, report.entries, report.bytes), (1, 1, 4));
    assert_eq!(target.get(b"a").await.unwrap().as_deref(), Some(&b"old"[..]));
    assert!(matches!(target.ttl(b"a").await.unwrap(), Expiry::After(_)));
    assert_eq!(target.count().await.unwrap(), 3);
    let report = target.restore_from(&mut snapshot, RestoreMode::Replace, &keep).await.unwrap();
    assert_eq!((report.present, report.entries, report.removed), (2, 0, 1));
    assert_eq!(target.get(b"a").await.unwrap().as_deref(), Some(&b"old"[..]));
}

#[tokio::test]
async fn a_key_written_while_a_transfer_runs_is_kept() {
    let (source, target) = (MemoryBackend::new(), MemoryBackend::new());
    for n in 0..100_u32 {
        source.put(&n.to_be_bytes(), b"source").await.unwrap();
    }
    let rival = target.clone();
    // Once the first batch is stored, somebody else writes all the rest.
    let options = TransferOptions::default()
        .with_scan(ScanOptions::default().with_page_size(10))
        .with_existing(Existing::Keep)
        .with_progress(move |_progress| {
            for n in 0..100_u32 {
                let key = n.to_be_bytes();
                let put = Box::pin(rival.put_if_absent(&key, b"rival", Ttl::Default));
                futures_util::FutureExt::now_or_never(put).expect("memory never waits").unwrap();
            }
        });
    let report = source.copy_to(&target, RestoreMode::Merge, &options).await.unwrap();
    assert_eq!((report.entries, report.present), (10, 90));
    let mut rivals = 0;
    for n in 0..100_u32 {
        rivals += u32::from(target.get(&n.to_be_bytes()).await.unwrap().as_deref() == Some(b"rival"));
    }
    assert_eq!(rivals, 90);
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
