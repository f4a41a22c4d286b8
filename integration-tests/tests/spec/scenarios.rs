//! The seventeen scenarios of the original's integration tests.

use std::time::Duration;

use futures_util::future::join_all;
use integration_tests::{Server, eventually};
use state_redis::{
    CompressionAlgorithm, RedisBackend, RedisConfig, RedisConfigBuilder, StateBackend, StateResult,
};

use crate::SOON;
use crate::support::{backend, borrowed, pairs};

async fn on_a_server(
    settings: impl FnOnce(RedisConfigBuilder) -> RedisConfigBuilder,
) -> (Server, RedisBackend) {
    let server = Server::start().await;
    let backend = backend(settings(RedisConfig::builder().url(server.url()).key_prefix("test:"))).await;
    (server, backend)
}

async fn plain() -> (Server, RedisBackend) {
    on_a_server(|builder| builder).await
}

#[tokio::test]
async fn a_value_is_put_got_overwritten_and_deleted() -> StateResult<()> {
    let (_server, backend) = plain().await;
    backend.put(b"key", b"value").await?;
    assert_eq!(backend.get(b"key").await?.as_deref(), Some(&b"value"[..]));
    backend.put(b"key", b"another").await?;
    assert_eq!(backend.get(b"key").await?.as_deref(), Some(&b"another"[..]));
    backend.delete(b"key").await?;
    assert_eq!(backend.get(b"key").await?, None);
    Ok(())
}

/// Stores `value`, and reads it back with the same and with another backend. Returns the bytes written, and those that
/// were stored of them.
async fn round_trip(algorithm: CompressionAlgorithm, value: &[u8]) -> StateResult<(u64, u64)> {
    let (server, backend) =
        on_a_server(|builder| builder.compression(algorithm).compression_threshold(100)).await;
    backend.put(b"key", value).await?;
    assert_eq!(backend.get(b"key").await?.as_deref(), Some(value));
    let others = crate::support::backend(RedisConfig::builder().url(server.url()).key_prefix("test:")).await;
    assert_eq!(others.get(b"key").await?.as_deref(), Some(value), "whatever the reader is set to");
    let stats = backend.stats().await;
    let stored: u64 = server.command(redis::cmd("STRLEN").arg("test:d|key")).await;
    assert_eq!(stored, stats.bytes_compressed, "{stats:?}");
    Ok((stats.bytes_written, stored))
}

#[tokio::test]
async fn lz4_comes_back_and_is_smaller() -> StateResult<()> {
    let (written, stored) = round_trip(CompressionAlgorithm::Lz4, &[b'x'; 10_000]).await?;
    assert!(written == 10_000 && stored < 200, "{stored} of {written}");
    Ok(())
}

#[tokio::test]
async fn snappy_comes_back_and_is_smaller() -> StateResult<()> {
    let (written, stored) = round_trip(CompressionAlgorithm::Snappy, &b"Hello, World! ".repeat(100)).await?;
    assert!(written == 1_400 && stored < 280, "{stored} of {written}");
    Ok(())
}

#[tokio::test]
async fn zstd_comes_back_and_is_smaller() -> StateResult<()> {
    let value = b"A sentence that repeats itself.. ".repeat(100);
    let (written, stored) = round_trip(CompressionAlgorithm::Zstd { level: 3 }, &value).await?;
    assert!(written == 3_300 && stored < 330, "{stored} of {written}");
    Ok(())
}

#[tokio::test]
async fn a_batch_of_a_thousand_is_all_there() -> StateResult<()> {
    let (_server, backend) = plain().await;
    let pairs = pairs(1_000);
    backend.batch_put_optimized(&borrowed(&pairs)).await?;
    let keys: Vec<&[u8]> = pairs.iter().map(|(key, _)| key.as_slice()).collect();
    let values = backend.batch_get_optimized(&keys).await?;
    let stored: Vec<_> = pairs.iter().map(|(_, value)| Some(value.clone())).collect();
    assert_eq!(values, stored);
    Ok(())
}

#[tokio::test]
async fn a_lock_is_held_until_its_guard_is_dropped() -> StateResult<()> {
    let (_server, backend) = plain().await;
    let ttl = Duration::from_secs(60);
    let guard = backend.acquire_lock("resource", ttl).await?;
    assert!(backend.try_acquire_lock("resource", ttl).await?.is_none());
    drop(guard);
    eventually("the lock is free", SOON, async || {
        let tried = backend.try_acquire_lock("resource", ttl).await.map_err(|error| error.to_string())?;
        tried.map(|_guard| ()).ok_or_else(|| "held".to_owned())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn exactly_one_of_ten_racers_holds_the_lock() -> StateResult<()> {
    let (_server, backend) = plain().await;
    let tries = (0..10).map(|_| backend.try_acquire_lock("resource", Duration::from_secs(60)));
    // All guards live until all have tried.
    let guards = join_all(tries).await.into_iter().collect::<StateResult<Vec<_>>>()?;
    assert_eq!(guards.iter().flatten().count(), 1);
    Ok(())
}

#[tokio::test]
async fn a_server_that_serves_is_healthy() -> StateResult<()> {
    let (_server, backend) = plain().await;
    assert!(backend.health_check().await?);
    Ok(())
}

#[tokio::test]
async fn statistics_are_exact() -> StateResult<()> {
    let (_server, backend) = plain().await;
    backend.put(b"key1", b"value1").await?;
    backend.put(b"key2", b"value2").await?;
    backend.get(b"key1").await?;
    backend.get(b"key2").await?;
    backend.get(b"missing").await?;
    let stats = backend.stats().await;
    assert_eq!((stats.cache_hits, stats.cache_misses), (2, 1));
    assert_eq!((stats.operations_total, stats.operations_success, stats.operations_failed), (5, 5, 0));
    assert_eq!((stats.bytes_read, stats.bytes_written, stats.bytes_compressed), (12, 12, 0));
    Ok(())
}

#[tokio::test]
async fn keys_are_listed_by_prefix() -> StateResult<()> {
    let (_server, backend) = plain().await;
    for key in ["user:1", "user:2", "user:3", "order:1"] {
        backend.put(key.as_bytes(), b"").await?;
    }
    let mut listed = backend.list_keys(b"user:").await?;
    listed.sort();
    assert_eq!(listed, [b"user:1", b"user:2", b"user:3"]);
    Ok(())
}

#[tokio::test]
async fn ten_keys_are_counted_as_ten() -> StateResult<()> {
    let (_server, backend) = plain().await;
    for n in 0..10_u8 {
        backend.put(&[n], b"").await?;
    }
    assert_eq!(backend.count().await?, 10);
    Ok(())
}

#[tokio::test]
async fn what_is_stored_is_contained_and_nothing_else() -> StateResult<()> {
    let (_server, backend) = plain().await;
    backend.put(b"there", b"").await?;
    assert!(backend.contains(b"there").await?);
    assert!(!backend.contains(b"elsewhere").await?);
    Ok(())
}

/// The original looked at calls that succeed at once; here the server is gone while they are made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_repeated_until_a_restarted_server_answers() -> StateResult<()> {
    let (server, backend) = on_a_server(|builder| {
        builder
            .retry_config(1_000, Duration::from_millis(20), Duration::from_millis(50), 0.3)
            .retry_budget(None)
            .command_timeout(SOON)
    })
    .await;
    backend.put(b"before", b"").await?;
    server.kill();
    let call = tokio::spawn({
        let backend = backend.clone();
        async move { backend.put(b"key", b"value").await }
    });
    eventually("the call is repeated", SOON, async || {
        if backend.metrics().is_some_and(|metrics| metrics.stats().resilience.retries > 0)
            || call.is_finished()
        {
            return Ok(());
        }
        Err("no repeat yet".to_owned())
    })
    .await;
    server.restart().await;
    call.await.expect("the task ran to its end")?;
    assert_eq!(backend.get(b"key").await?.as_deref(), Some(&b"value"[..]));
    assert!(backend.stats().await.resilience.retries > 0);
    Ok(())
}

#[tokio::test]
async fn only_values_from_the_threshold_on_are_compressed() -> StateResult<()> {
    let (server, backend) =
        on_a_server(|builder| builder.compression(CompressionAlgorithm::Lz4).compression_threshold(1_000))
            .await;
    for (length, compressed) in [(999, false), (1_000, true), (1_001, true)] {
        let value = vec![b'x'; length];
        backend.put(b"key", &value).await?;
        let stored: Vec<u8> = server.command(redis::cmd("GET").arg("test:d|key")).await;
        assert_eq!(stored != value, compressed, "{length} bytes are stored as {}", stored.len());
        assert_eq!(backend.get(b"key").await?, Some(value));
    }
    Ok(())
}

#[tokio::test]
async fn metrics_are_there_and_count() -> StateResult<()> {
    let (server, backend) = on_a_server(|builder| builder.enable_metrics(true)).await;
    backend.put(b"key", b"value").await?;
    let metrics = backend.metrics().expect("instruments");
    assert_eq!(metrics.stats().operations_total, 1);
    let off = RedisConfig::builder().url(server.url()).enable_metrics(false);
    assert!(crate::support::backend(off).await.metrics().is_none());
    Ok(())
}

#[tokio::test]
async fn clear_leaves_nothing_of_its_own_and_all_of_others() -> StateResult<()> {
    let (server, backend) = plain().await;
    let others =
        crate::support::backend(RedisConfig::builder().url(server.url()).key_prefix("test:sub:")).await;
    others.put(b"key", b"").await?;
    let pairs = pairs(50);
    backend.batch_put_optimized(&borrowed(&pairs)).await?;
    assert_eq!(backend.count().await?, 50);
    backend.clear().await?;
    assert_eq!((backend.count().await?, others.count().await?), (0, 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_tasks_of_fifty_puts_leave_a_thousand_keys() -> StateResult<()> {
    let (_server, backend) = plain().await;
    let tasks = (0..20).map(|task| {
        let backend = backend.clone();
        tokio::spawn(async move {
            for n in 0..50 {
                backend.put(format!("stress:{task}:{n}").as_bytes(), b"value").await?;
            }
            StateResult::Ok(())
        })
    });
    for task in join_all(tasks).await {
        task.expect("the task ran to its end")?;
    }
    assert_eq!(backend.count().await?, 1_000);
    Ok(())
}
