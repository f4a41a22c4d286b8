//! Faults injected on purpose arrive as told: before, after, late, some of the time.

use std::time::Duration;

use futures_util::stream::StreamExt;
use state_core::{
    ErrorKind, Fault, FaultyBackend, MemoryBackend, Operation, PutItem, ScanOptions, StateBackend,
};
use tokio::time::Instant;

#[tokio::test]
async fn an_error_before_the_operation_keeps_it_from_happening() {
    let backend = FaultyBackend::new(MemoryBackend::new());
    backend.inject(Fault::error(ErrorKind::Unavailable).on(Operation::Put).times(1));
    let error = backend.put(b"k", b"v").await.unwrap_err();
    assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Unavailable, false));
    assert!(!backend.inner().contains(b"k").await.unwrap());
    backend.put(b"k", b"v").await.unwrap();
    assert_eq!(backend.calls(Operation::Put), 2);
}

#[tokio::test]
async fn a_lost_answer_is_ambiguous_and_the_operation_happened() {
    let backend = FaultyBackend::new(MemoryBackend::new());
    backend.inject(Fault::lost_answer(ErrorKind::Timeout).on(Operation::Increment));
    let error = backend.increment(b"n", 1).await.unwrap_err();
    assert!(error.is_ambiguous() && error.is_retryable());
    assert_eq!(backend.inner().increment(b"n", 0).await.unwrap(), 1);
}

#[tokio::test]
async fn faults_begin_after_some_calls_and_end_when_healed() {
    let backend = FaultyBackend::new(MemoryBackend::new());
    backend.inject(Fault::error(ErrorKind::ReadOnly).after_calls(2));
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        outcomes.push(backend.get(b"k").await.is_ok());
    }
    assert_eq!(outcomes, [true, true, false, false]);
    backend.heal();
    assert!(backend.get(b"k").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn delays_add_up_on_the_paused_clock() {
    let backend = FaultyBackend::new(MemoryBackend::new());
    backend.inject(Fault::delay(Duration::from_secs(2)));
    backend.inject(Fault::delay(Duration::from_secs(3)).on(Operation::Get));
    let start = Instant::now();
    backend.get(b"k").await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}

#[tokio::test]
async fn dice_are_seeded_and_fair() {
    let outcomes = async |seed| {
        let backend = FaultyBackend::with_seed(MemoryBackend::new(), seed);
        backend.inject(Fault::error(ErrorKind::Timeout).with_probability(0.3));
        let mut failures = Vec::new();
        for _ in 0..1_000 {
            failures.push(backend.get(b"k").await.is_err());
        }
        failures
    };
    let first = outcomes(7).await;
    assert_eq!(first, outcomes(7).await, "the same seed rolls the same dice");
    assert_ne!(first, outcomes(8).await);
    let failed = first.iter().filter(|&&failed| failed).count();
    assert!((200..400).contains(&failed), "{failed} of 1,000 at 0.3");
}

#[tokio::test]
async fn a_batch_loses_single_items() {
    let backend = FaultyBackend::new(MemoryBackend::new());
    backend.inject(Fault::error(ErrorKind::Overloaded).on(Operation::BatchPut).after_calls(1).times(1));
    backend.inject(Fault::lost_answer(ErrorKind::Timeout).on(Operation::BatchPut).after_calls(2).times(1));
    let items = ["a", "b", "c", "d"].map(|key| PutItem::new(key.as_bytes(), b"v"));
    let kinds: Vec<_> =
        backend.batch_put(&items).await.into_iter().map(|result| result.err().map(|e| e.kind())).collect();
    assert_eq!(kinds, [None, Some(ErrorKind::Overloaded), Some(ErrorKind::Timeout), None]);
    assert_eq!(backend.inner().count().await.unwrap(), 3, "the lost answer's item is stored");
}

#[tokio::test]
async fn a_scan_breaks_in_the_middle_and_ends_there() {
    let backend = FaultyBackend::new(MemoryBackend::new());
    for n in 0..10_u8 {
        backend.put(&[n], b"v").await.unwrap();
    }
    backend.inject(Fault::error(ErrorKind::Unavailable).on(Operation::Scan).after_calls(4));
    let items: Vec<_> = backend.scan(b"", ScanOptions::default()).collect().await;
    assert_eq!(items.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, true, true, false]);
}
