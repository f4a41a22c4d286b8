//! Cut short half way, and resumed to completion: nothing that was acknowledged is sent again, nothing is missing.
//!
//! The servers sync each write to disk, so what they acknowledged survives their death.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use integration_tests::Server;
use state_redis::core::{Existing, Progress, RestoreMode, TransferOptions, TransferReport};
use state_redis::{ErrorKind, StateBackend, StateBackendExt, StateResult};
use tokio::sync::Notify;

use crate::child::{Child, Role};
use crate::copies::cluster;
use crate::data::{assert_whole, fill, in_memory, open, size};

const MODE: RestoreMode = RestoreMode::Replace;

/// Options that call `act` once, when half is acknowledged, and the number that was acknowledged at last.
fn at_half(act: impl Fn() + Send + Sync + 'static) -> (TransferOptions, Arc<AtomicU64>) {
    let acknowledged = Arc::new(AtomicU64::new(0));
    let last = Arc::clone(&acknowledged);
    let options = TransferOptions::default().with_progress(move |progress: Progress| {
        let before = last.swap(progress.entries, Relaxed);
        if before < size() / 2 && progress.entries >= size() / 2 {
            act();
        }
    });
    (options, acknowledged)
}

fn resuming() -> TransferOptions {
    TransferOptions::default().with_existing(Existing::Keep)
}

fn assert_cut_short(result: StateResult<TransferReport>) {
    let kind = result.expect_err("the transfer was cut short").kind();
    // With many requests under way the breaker may be open by the time of the first failure that counts.
    assert!(matches!(kind, ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::CircuitOpen), "{kind:?}");
}

/// Checks what a resumed transfer did after `acknowledged` entries, and the result.
async fn assert_resumed(report: TransferReport, acknowledged: u64, target: &dyn StateBackend) {
    println!("{acknowledged} acknowledged, {} present, {} sent", report.present, report.entries);
    assert_eq!(report.present + report.entries, size());
    assert!(report.present >= acknowledged, "{} of {acknowledged} acknowledged are there", report.present);
    assert!(report.entries > 0, "it was cut short");
    assert_whole(target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_resumes_after_its_target_was_killed() {
    let server = Arc::new(Server::start().await);
    let (memory, redis) = (in_memory().await, open(&server.url()).await);
    let victim = Arc::clone(&server);
    let (options, acknowledged) = at_half(move || victim.kill());
    assert_cut_short(memory.copy_to(&redis, MODE, &options).await);
    server.restart().await;

    let redis = open(&server.url()).await;
    redis.put(b"foreign", b"goes").await.unwrap();
    let report = memory.copy_to(&redis, MODE, &resuming()).await.unwrap();
    assert_eq!(report.removed, 1, "the mode is what it was");
    assert_resumed(report, acknowledged.load(Relaxed), &redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_to_a_cluster_resumes_after_a_master_was_killed() {
    let (server, cluster) = (Server::start().await, Arc::new(cluster().await));
    let source = open(&server.url()).await;
    fill(&source).await;
    let victim = Arc::clone(&cluster);
    let (options, acknowledged) = at_half(move || victim.nodes()[1].kill());
    assert_cut_short(source.copy_to(&open(&cluster.url()).await, MODE, &options).await);
    cluster.nodes()[1].restart().await;
    cluster.wait_settled().await;

    let target = open(&cluster.url()).await;
    let report = source.copy_to(&target, MODE, &resuming()).await.unwrap();
    assert_resumed(report, acknowledged.load(Relaxed), &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_to_a_cluster_resumes_after_its_process_was_killed() {
    let (server, cluster) = (Server::start().await, cluster().await);
    let source = open(&server.url()).await;
    fill(&source).await;
    let mut child = Child::start(Role::HalfACopy, &server.url(), &cluster.url());
    let [acknowledged] = child.numbers().await;
    child.kill().await;

    let target = open(&cluster.url()).await;
    let report = source.copy_to(&target, MODE, &resuming()).await.unwrap();
    assert_resumed(report, acknowledged, &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_resumes_after_its_future_was_dropped() {
    let server = Server::start().await;
    let (memory, redis) = (in_memory().await, open(&server.url()).await);
    let half = Arc::new(Notify::new());
    let reached = Arc::clone(&half);
    let (options, acknowledged) = at_half(move || reached.notify_one());
    tokio::select! {
        biased;
        () = half.notified() => {}
        result = memory.copy_to(&redis, MODE, &options) => panic!("not cut short: {result:?}"),
    }
    let report = memory.copy_to(&redis, MODE, &resuming()).await.unwrap();
    assert_resumed(report, acknowledged.load(Relaxed), &redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_resumes_after_its_server_was_killed() {
    let server = Arc::new(Server::start().await);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.snapshot");
    in_memory().await.snapshot_to_file(&path, &TransferOptions::default()).await.unwrap();
    let victim = Arc::clone(&server);
    let (options, acknowledged) = at_half(move || victim.kill());
    let redis = open(&server.url()).await;
    assert_cut_short(redis.restore_from_file(&path, MODE, &options).await);
    server.restart().await;

    let redis = open(&server.url()).await;
    let report = redis.restore_from_file(&path, MODE, &resuming()).await.unwrap();
    assert_resumed(report, acknowledged.load(Relaxed), &redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_whose_process_was_killed_is_absent_and_can_be_taken_again() {
    let server = Server::start().await;
    let source = open(&server.url()).await;
    fill(&source).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.snapshot");
    let mut child = Child::start(Role::HalfASnapshot, &server.url(), path.to_str().expect("UTF-8"));
    let [written] = child.numbers().await;
    assert!(written < size());
    child.kill().await;
    assert!(!path.exists(), "half a snapshot stands at its place");

    let report = source.snapshot_to_file(&path, &TransferOptions::default()).await.unwrap();
    assert_eq!(report.entries, size());
    let memory = state_redis::MemoryBackend::new();
    memory.restore_from_file(&path, MODE, &TransferOptions::default()).await.unwrap();
    assert_whole(&memory).await;
}
