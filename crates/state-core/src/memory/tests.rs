//! What only the in-memory backend promises; the contract itself is tested by the conformance suite.

use std::time::Duration;

use super::*;
use crate::StateBackendExt;

#[tokio::test(start_paused = true)]
async fn expired_entries_free_their_memory_without_a_background_task() {
    let backend = MemoryBackend::new();
    for n in 0..1_000_u32 {
        backend.put_with_ttl(&n.to_be_bytes(), &[0; 100], Duration::from_secs(1)).await.unwrap();
    }
    tokio::time::advance(Duration::from_secs(2)).await;
    for n in 0..2_000_u32 {
        backend.get(&n.to_be_bytes()).await.unwrap();
    }
    let held: usize = backend.inner.shards.iter().map(|shard| shard.lock().stored()).sum();
    assert_eq!(held, 0, "reads alone have to free expired entries");
}

#[tokio::test]
async fn settings_out_of_bounds_are_refused_by_name() {
    for (config, field) in [
        (MemoryConfig::default().with_default_ttl(Duration::ZERO), "default_ttl"),
        (MemoryConfig::default().with_default_ttl(Duration::MAX), "default_ttl"),
        (MemoryConfig::default().with_max_value_len(0), "max_value_len"),
        (MemoryConfig::default().with_max_value_len(usize::MAX), "max_value_len"),
    ] {
        let error = MemoryBackend::with_config(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.context().contains(field), "{error}");
    }
}

#[tokio::test]
async fn a_value_above_the_configured_maximum_is_refused() {
    let backend = MemoryBackend::with_config(MemoryConfig::default().with_max_value_len(4)).unwrap();
    backend.put(b"k", b"1234").await.unwrap();
    assert_eq!(backend.put(b"k", b"12345").await.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(backend.get(b"k").await.unwrap().as_deref(), Some(&b"1234"[..]));
}

#[tokio::test(start_paused = true)]
async fn keys_an_operation_creates_get_the_default_ttl() {
    let ttl = Duration::from_secs(9);
    let backend = MemoryBackend::with_config(MemoryConfig::default().with_default_ttl(ttl)).unwrap();
    backend.put(b"put", b"").await.unwrap();
    backend.increment(b"increment", 1).await.unwrap();
    assert!(backend.compare_and_swap(b"cas", None, Some(b"")).await.unwrap().is_swapped());
    backend.put_with(b"keep", b"", PutOptions::default().with_ttl(Ttl::Keep)).await.unwrap();
    for key in ["put", "increment", "cas", "keep"] {
        assert_eq!(backend.ttl(key.as_bytes()).await.unwrap(), Expiry::After(ttl), "{key}");
    }
    backend.put_with(b"never", b"", PutOptions::default().with_ttl(Ttl::Never)).await.unwrap();
    assert_eq!(backend.ttl(b"never").await.unwrap(), Expiry::Never);
}
