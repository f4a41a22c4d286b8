//! The specification's code blocks that use a backend.

use std::sync::Arc;
use std::time::Duration;

use integration_tests::eventually;
use state_redis::core::TransferOptions;
use state_redis::{
    BackendStats, CompressionAlgorithm, EnterpriseRedisBackend, RedisMetrics, RedlockGuard, StateBackend,
    StateBackendExt, StateResult,
};

use crate::SOON;

macro_rules! alert {
    ($what:literal) => {
        panic!($what)
    };
}

/// All of them on one backend.
pub(crate) async fn operations(backend: &EnterpriseRedisBackend) -> StateResult<()> {
    core_operations(backend).await?;
    enterprise_operations(backend).await?;
    locking(backend).await?;
    checkpoint_lock(backend).await?;
    batches(backend).await?;
    bulk_operations(backend).await?;
    after_migration(backend).await?;
    adopted_features(backend).await?;
    monitoring(backend).await?;
    figures(backend).await;
    backend.clear().await?;
    backend.close().await;
    Ok(())
}

async fn core_operations(backend: &EnterpriseRedisBackend) -> StateResult<()> {
    let key: &[u8] = b"session:7";
    let value: &[u8] = &[7; 10_000];
    let prefix: &[u8] = b"session:";
    backend.put(key, value).await?;

    // Standard operations
    let got: StateResult<Option<Vec<u8>>> = backend.get(key).await;
    let put: StateResult<()> = backend.put(key, value).await;
    let deleted: StateResult<()> = backend.delete(key).await;
    let listed: StateResult<Vec<Vec<u8>>> = backend.list_keys(prefix).await;
    let cleared: StateResult<()> = backend.clear().await;
    let counted: StateResult<usize> = backend.count().await;
    let contained: StateResult<bool> = backend.contains(key).await;

    assert_eq!(got?.as_deref(), Some(value));
    assert_eq!((listed?.len(), counted?, contained?), (0, 0, false));
    put.and(deleted).and(cleared)
}

async fn enterprise_operations(backend: &EnterpriseRedisBackend) -> StateResult<()> {
    let keys: &[&[u8]] = &[b"a", b"b"];
    let pairs: &[(&[u8], &[u8])] = &[(b"a", b"1"), (b"c", b"3")];
    let (resource, ttl) = ("invoices", Duration::from_secs(30));

    // Batch operations
    let values: StateResult<Vec<Option<Vec<u8>>>> = backend.batch_get_optimized(keys).await;
    let stored: StateResult<()> = backend.batch_put_optimized(pairs).await;

    // Distributed locking
    let held: StateResult<RedlockGuard> = backend.acquire_lock(resource, ttl).await;
    let tried: StateResult<Option<RedlockGuard>> = backend.try_acquire_lock(resource, ttl).await;

    // Monitoring
    let healthy: StateResult<bool> = backend.health_check().await;
    let stats: BackendStats = backend.stats().await;
    let metrics: Option<Arc<RedisMetrics>> = backend.metrics();

    assert_eq!(values?, [None, None]);
    stored?;
    assert_eq!(backend.batch_get_optimized(keys).await?, [Some(b"1".to_vec()), None]);
    assert!(held?.is_valid() && tried?.is_none() && healthy?);
    assert!(stats.operations_total > 0 && metrics.is_some());
    Ok(())
}

#[allow(unused_variables)]
async fn locking(backend: &EnterpriseRedisBackend) -> StateResult<()> {
    let ttl = Duration::from_secs(30);

    // Blocking acquisition
    let guard = backend.acquire_lock("resource", Duration::from_secs(30)).await?;

    // Non-blocking acquisition
    if let Some(guard) = backend.try_acquire_lock("resource", ttl).await? {
        // Critical section
    }

    assert!(backend.try_acquire_lock("resource", ttl).await?.is_none(), "two guards of one lock");
    let first = guard.token();
    drop(guard);

    // ... which the drop has freed.
    let second = freed(backend, "resource").await;
    assert!(second.token() > first, "{} after {first}", second.token());
    second.release().await;
    Ok(())
}

async fn checkpoint_lock(backend: &EnterpriseRedisBackend) -> StateResult<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let create_checkpoint = async || -> StateResult<()> {
        let other = backend.try_acquire_lock("checkpoint", Duration::from_secs(1)).await?;
        assert!(other.is_none(), "another instance executes this");
        let path = folder.path().join("checkpoint");
        backend.snapshot_to_file(&path, &TransferOptions::default()).await.map(|_report| ())
    };

    // Coordinate checkpoints across instances
    let guard = backend.acquire_lock(
        "checkpoint",
        Duration::from_secs(300)
    ).await?;

    // Only one instance executes this
    create_checkpoint().await?;

    drop(guard); // Auto-release

    freed(backend, "checkpoint").await.release().await;
    Ok(())
}

/// The lock on `resource`, once the guard dropped last is released.
async fn freed(backend: &EnterpriseRedisBackend, resource: &str) -> RedlockGuard {
    eventually("the dropped guard is released", SOON, async || {
        let tried = backend.try_acquire_lock(resource, Duration::from_secs(30)).await;
        tried.map_err(|error| error.to_string())?.ok_or_else(|| "still held".to_owned())
    })
    .await
}

async fn batches(backend: &EnterpriseRedisBackend) -> StateResult<()> {
    let pairs: [(&[u8], &[u8]); 2] = [(b"k1", b"v1"), (b"k2", b"v2")];
    let keys: [&[u8]; 2] = [b"k2", b"k1"];

    // Batch put - single network round-trip
    backend.batch_put_optimized(&pairs).await?;

    // Batch get - optimized pipeline
    let values = backend.batch_get_optimized(&keys).await?;

    assert_eq!(values, [Some(b"v2".to_vec()), Some(b"v1".to_vec())]);
    Ok(())
}

async fn bulk_operations(backend: &EnterpriseRedisBackend) -> StateResult<()> {
    // Efficient bulk operations
    let pairs = vec![
        (b"key1".as_ref(), b"value1".as_ref()),
        (b"key2".as_ref(), b"value2".as_ref()),
    ];

    backend.batch_put_optimized(&pairs).await?;

    let keys = vec![b"key1".as_ref(), b"key2".as_ref()];
    let values = backend.batch_get_optimized(&keys).await?;

    assert_eq!(values, [Some(b"value1".to_vec()), Some(b"value2".to_vec())]);
    Ok(())
}

async fn after_migration(backend: &EnterpriseRedisBackend) -> StateResult<()> {
    // Before
    use state_redis::RedisStateBackend;

    // After
    #[allow(unused_imports)]
    use state_redis::EnterpriseRedisBackend;

    // All existing code works the same
    backend.put(b"key", b"value").await?;

    let before: &RedisStateBackend = backend;
    assert_eq!(before.get(b"key").await?.as_deref(), Some(&b"value"[..]));
    Ok(())
}

async fn adopted_features(backend: &EnterpriseRedisBackend) -> StateResult<()> {
    let (ttl, pairs) = (Duration::from_secs(30), [(&b"key1"[..], &b"value2"[..])]);

    // Use batch operations
    backend.batch_put_optimized(&pairs).await?;

    // Use distributed locking
    let guard = backend.acquire_lock("resource", ttl).await?;

    // Monitor with metrics
    let stats = backend.stats().await;

    assert!(stats.locks.acquired > 0 && guard.is_valid(), "{stats:?}");
    guard.release().await;
    Ok(())
}

async fn monitoring(backend: &EnterpriseRedisBackend) -> StateResult<()> {
    if !backend.health_check().await? {
        alert!("Redis backend unhealthy");
    }
    Ok(())
}

/// The figures, under the names and of the types that the specification gives them.
#[allow(unreachable_pub)]
mod specified {
    #[derive(Debug)]
    pub struct BackendStats {
        pub operations_total: u64,
        pub operations_success: u64,
        pub operations_failed: u64,
        pub bytes_read: u64,
        pub bytes_written: u64,
        pub bytes_compressed: u64,
        pub cache_hits: u64,
        pub cache_misses: u64,
        pub avg_latency_us: u64,
        pub slow_queries: u64,
    }
}

async fn figures(backend: &EnterpriseRedisBackend) {
    let stats = backend.stats().await;
    let stats = specified::BackendStats {
        operations_total: stats.operations_total,
        operations_success: stats.operations_success,
        operations_failed: stats.operations_failed,
        bytes_read: stats.bytes_read,
        bytes_written: stats.bytes_written,
        bytes_compressed: stats.bytes_compressed,
        cache_hits: stats.cache_hits,
        cache_misses: stats.cache_misses,
        avg_latency_us: stats.avg_latency_us,
        slow_queries: stats.slow_queries,
    };
    assert_eq!((stats.operations_success, stats.operations_failed), (stats.operations_total, 0), "{stats:?}");
    assert!(stats.cache_hits >= 6 && stats.cache_misses >= 3 && stats.avg_latency_us > 0, "{stats:?}");
    assert!(stats.bytes_written > 20_000 && stats.bytes_read > 10_000, "{stats:?}");
    let compresses = backend.config().compression != CompressionAlgorithm::None;
    assert_eq!(stats.bytes_compressed > 0 && stats.bytes_compressed < stats.bytes_written, compresses, "{stats:?}");
    assert!(stats.slow_queries <= stats.operations_total, "{stats:?}");
}
