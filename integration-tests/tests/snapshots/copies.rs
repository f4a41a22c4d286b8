//! From memory to Redis, from a standalone server to a cluster, through a file and back.

use std::time::Instant;

use integration_tests::{Cluster, ClusterConfig, Server};
use state_redis::core::{RestoreMode, TransferOptions};
use state_redis::{StateBackend, StateBackendExt};

use crate::child::{Child, Role};
use crate::data::{self, assert_whole, fill, in_memory, open, size};

/// What a transfer may take beside 96 bytes for each key: 4 MiB of entries, once more as a request, and the reader's
/// buffers.
const FIXED_KIB: u64 = 32 * 1024;

/// Three masters: replicas would only make the tests slower.
pub(crate) async fn cluster() -> Cluster {
    ClusterConfig::default().with_replicas(0).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_copied_to_redis_and_back() {
    let server = Server::start().await;
    let (memory, redis) = (in_memory().await, open(&server.url()).await);
    redis.put(b"foreign", b"goes").await.unwrap();
    let since = Instant::now();
    let report = memory.copy_to(&redis, RestoreMode::Replace, &TransferOptions::default()).await.unwrap();
    println!("{} entries copied in {:.1} s", report.entries, since.elapsed().as_secs_f64());
    assert_eq!((report.entries, report.bytes, report.removed), (size(), data::bytes(), 1));
    assert_whole(&redis).await;
    memory.clear().await.unwrap();
    redis.copy_to(&memory, RestoreMode::Merge, &TransferOptions::default()).await.unwrap();
    assert_whole(&memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standalone_server_is_copied_to_a_cluster_in_flat_memory() {
    let (server, cluster) = (Server::start().await, cluster().await);
    fill(&open(&server.url()).await).await;
    let target = open(&cluster.url()).await;
    target.put(b"foreign", b"goes").await.unwrap();

    let bound = FIXED_KIB + 96 * size() / 1_024;
    assert!(data::bytes() / 1_024 > bound * 3 / 2, "there is more data than memory may grow");
    for (role, expected) in [(Role::Copy, [size(), 0, 1]), (Role::Resume, [0, size(), 0])] {
        let since = Instant::now();
        let [grown, report @ ..] = Child::start(role, &server.url(), &cluster.url()).numbers::<4>().await;
        let seconds = since.elapsed().as_secs_f64();
        println!(
            "{report:?} copied, present, removed: {seconds:.1} s, {grown} KiB more memory of {bound} allowed"
        );
        assert_eq!(report, expected);
        assert!(grown <= bound, "the copy took {grown} KiB, more than {bound}");
    }
    assert_whole(&target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_file_of_a_server_is_restored_to_a_cluster() {
    let (server, cluster) = (Server::start().await, cluster().await);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.snapshot");
    let (source, target) = (open(&server.url()).await, open(&cluster.url()).await);
    fill(&source).await;

    let since = Instant::now();
    let options = TransferOptions::default();
    let written = source.snapshot_to_file(&path, &options).await.unwrap();
    println!("{} entries written in {:.1} s", written.entries, since.elapsed().as_secs_f64());
    let since = Instant::now();
    let restored = target.restore_from_file(&path, RestoreMode::Replace, &options).await.unwrap();
    println!("{} entries restored in {:.1} s", restored.entries, since.elapsed().as_secs_f64());
    assert_eq!((written.entries, restored.entries), (size(), size()));
    assert_whole(&target).await;
}
