//! What stands on the server: reserved keys beside the data, TTLs in milliseconds, memory of long scans.

use std::time::Duration;

use futures_util::TryStreamExt;
use integration_tests::{Server, ServerConfig, long};
use state_redis::{PutItem, PutOptions, RedisBackend, ScanOptions, StateBackend, Ttl};
use tokio::time::Instant;

use crate::support::{backend, keys_on, on};

#[tokio::test]
async fn clear_leaves_reserved_keys_and_foreign_keys_alone() {
    let server = Server::start().await;
    let backend = backend(on(&server).key_prefix("app:")).await;
    for foreign in ["app:l|job", "app:o|id", "app:z|1", "app:x", "app:staging:d|k", "other"] {
        let _: () = server.command(redis::cmd("SET").arg(foreign).arg("v")).await;
    }
    backend.put(b"lock:job", b"data").await.unwrap();
    assert_eq!(backend.list_keys(b"").await.unwrap(), [b"lock:job"]);
    assert_eq!(backend.count().await.unwrap(), 1);
    backend.clear().await.unwrap();
    let expected = ["app:l|job", "app:o|id", "app:staging:d|k", "app:x", "app:z|1", "other"];
    assert_eq!(keys_on(&server).await, expected);
}

#[tokio::test]
async fn ttls_reach_the_server_in_milliseconds() {
    let server = Server::start().await;
    let backend = backend(on(&server).default_ttl(Duration::from_millis(90_500))).await;
    let pttl =
        async |key: &str| -> i64 { server.command(redis::cmd("PTTL").arg(format!("state:d|{key}"))).await };
    let about = |millis: i64, left: i64| left <= millis && left > millis - 30_000;
    backend.put(b"default", b"v").await.unwrap();
    assert!(about(90_500, pttl("default").await));
    backend.put_with_ttl(b"own", b"v", Duration::from_millis(70_250)).await.unwrap();
    assert!(about(70_250, pttl("own").await));
    let item = PutItem::new(b"batch", b"v").with_ttl(Ttl::After(Duration::from_micros(80_000_500)));
    backend.batch_put_if_absent(&[item]).await.remove(0).unwrap();
    assert!(about(80_001, pttl("batch").await));
    backend.increment(b"n", 1).await.unwrap();
    assert!(about(90_500, pttl("n").await), "a counter gets the default TTL when it is created");
    backend.put_with(b"own", b"w", PutOptions::default().with_ttl(Ttl::Keep)).await.unwrap();
    assert!(about(70_250, pttl("own").await), "keeping does not mean the default TTL");
    backend.put_with(b"new", b"w", PutOptions::default().with_ttl(Ttl::Keep)).await.unwrap();
    assert!(about(90_500, pttl("new").await));
}

#[tokio::test]
async fn counters_keep_all_64_bits_with_a_default_ttl() {
    let server = Server::start().await;
    let backend = backend(on(&server).default_ttl(Duration::from_secs(60))).await;
    // Beyond 2^53 a Lua number would round.
    assert_eq!(backend.increment(b"n", i64::MAX - 1).await.unwrap(), i64::MAX - 1);
    assert_eq!(backend.increment(b"n", 1).await.unwrap(), i64::MAX);
}

#[tokio::test]
async fn a_scan_of_many_keys_counts_each_once() {
    let server = ServerConfig::default().with_option("appendfsync", "no").start().await;
    let backend = backend(on(&server)).await;
    let number = if long() { 1_000_000 } else { 50_000 };
    let keys: Vec<Vec<u8>> = (0..number).map(|n| format!("key:{n}").into_bytes()).collect();
    let items: Vec<PutItem<'_>> = keys.iter().map(|key| PutItem::new(key, b"v")).collect();
    put_all(&backend, &items).await;
    let start = Instant::now();
    assert_eq!(backend.count().await.unwrap(), number);
    println!("counted {number} keys in {:?}", start.elapsed());
    // Removing most keys shrinks the server's table while the scan is under way, which repeats keys.
    let mut scan = backend.scan(b"key:", ScanOptions::default().with_page_size(100));
    let mut seen = std::collections::BTreeSet::new();
    while let Some(key) = scan.try_next().await.unwrap() {
        if seen.len() == 1_000 {
            let gone: Vec<&[u8]> = keys[5_000..].iter().map(Vec::as_slice).collect();
            assert!(backend.batch_delete(&gone).await.iter().all(Result::is_ok));
        }
        assert!(seen.insert(key), "a key came twice");
    }
    assert!(keys[..5_000].iter().all(|key| seen.contains(key)), "a key that stayed was missed");
    put_all(&backend, &items).await;
    let start = Instant::now();
    backend.clear().await.unwrap();
    println!("cleared {number} keys in {:?}", start.elapsed());
    assert_eq!(keys_on(&server).await, Vec::<String>::new());
}

async fn put_all(backend: &RedisBackend, items: &[PutItem<'_>]) {
    for (n, result) in backend.batch_put(items).await.into_iter().enumerate() {
        result.unwrap_or_else(|error| panic!("item {n}: {error:?}"));
    }
}
