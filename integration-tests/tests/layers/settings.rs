//! Settings whose effect no other test shows. `crates/state-redis/src/covered.rs` names the test of each.

use std::sync::Arc;

use integration_tests::{Certificates, Server, ServerConfig, eventually};
use state_redis::codec::{Dictionary, DictionaryStore, MemoryDictionaryStore};
use state_redis::{CompressionAlgorithm, Credentials, ErrorKind};

use crate::support::{backend, calls, ms, on};

#[tokio::test]
async fn credentials_are_preferred_over_those_of_the_url() {
    let server = ServerConfig::default().with_password("right").start().await;
    let url = format!("redis://:wrong@{}", server.address());
    let config = on(&server).url(url.clone()).build().unwrap();
    assert_eq!(state_redis::RedisBackend::new(config).await.unwrap_err().kind(), ErrorKind::Auth);
    let right = backend(on(&server).url(url).credentials(Credentials::password("right"))).await;
    right.put(b"k", b"v").await.expect("the credentials of the settings are used");
}

#[tokio::test]
async fn who_cannot_connect_reads_where_and_why() {
    let server = Server::start().await;
    let gone = Server::start().await;
    gone.kill();
    let secured = ServerConfig::default().with_tls(Certificates::generate()).start().await;
    for (url, kind, says) in [
        (
            format!("rediss://{}", server.address()),
            ErrorKind::Timeout,
            "may not speak TLS, which rediss needs".to_owned(),
        ),
        (
            format!("redis://{}", secured.address()),
            ErrorKind::Unavailable,
            "if it demands TLS, write rediss".to_owned(),
        ),
        (gone.url(), ErrorKind::Unavailable, format!("cannot connect to {}", gone.address())),
        (format!("{}99", server.url()), ErrorKind::InvalidConfig, "no such database".to_owned()),
        (format!("redis+cluster://{}", server.address()), ErrorKind::Unsupported, "cluster mode".to_owned()),
    ] {
        let settings = on(&server).url(url).connect_timeout(ms(1_000));
        let settings = settings.connection(|connection| connection.with_dial_timeout(ms(300)));
        let config = settings.build().unwrap();
        let error = state_redis::RedisBackend::new(config).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(&says), "{error}");
    }
}

#[tokio::test]
async fn health_is_checked_in_the_interval() {
    let server = Server::start().await;
    let rare = backend(on(&server).health_interval(ms(3_600_000))).await;
    rare.get(b"k").await.unwrap();
    let before = calls(&server, "role").await;
    let often = backend(on(&server).health_interval(ms(20))).await;
    eventually("health is asked for again and again", ms(30_000), async || {
        let asked = calls(&server, "role").await - before;
        if asked >= 20 { Ok(()) } else { Err(format!("{asked} times")) }
    })
    .await;
    often.close().await;
    let after = calls(&server, "role").await;
    rare.get(b"k").await.unwrap();
    assert_eq!(calls(&server, "role").await, after, "once an hour is not now");
}

#[tokio::test]
async fn further_settings_of_the_connection_are_applied() {
    let server = Server::start().await;
    let settings = on(&server).connection(|connection| connection.with_client_name("orders".to_owned()));
    let backend = backend(settings).await;
    backend.get(b"k").await.unwrap();
    let list: String = server.command(redis::cmd("CLIENT").arg("LIST")).await;
    assert!(list.contains("name=orders"), "{list}");
}

#[tokio::test]
async fn dictionaries_go_to_the_store_that_is_given() {
    let server = Server::start().await;
    let samples: Vec<String> =
        (0..2_000).map(|n| format!(r#"{{"id":{n},"kind":"sample","n":{}}}"#, n * 7)).collect();
    let dictionary = Dictionary::train(&samples, 4_096).expect("samples to train on");
    let store = Arc::new(MemoryDictionaryStore::default());
    let settings = on(&server).compression(CompressionAlgorithm::ZSTD).compression_threshold(16);
    let settings = settings.dictionary(dictionary.clone());
    let writer = backend(settings.dictionary_store(Arc::clone(&store) as Arc<dyn DictionaryStore>)).await;
    // Long enough to be smaller in spite of its envelope.
    let value = samples[100..120].concat().into_bytes();
    writer.put(b"k", &value).await.unwrap();
    let keys: Vec<String> = server.command(redis::cmd("KEYS").arg("*")).await;
    assert_eq!(keys, ["state:d|k"], "no dictionary on the server");
    assert!(store.load(dictionary.id()).await.unwrap().is_some());
    let reader = backend(on(&server).dictionary_store(store as Arc<dyn DictionaryStore>)).await;
    assert_eq!(reader.get(b"k").await.unwrap().as_deref(), Some(&value[..]));
    assert_eq!(backend(on(&server)).await.get(b"k").await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn without_metrics_figures_are_counted_and_not_published() {
    let server = Server::start().await;
    let silent = backend(on(&server).enable_metrics(false)).await;
    silent.get(b"k").await.unwrap();
    assert!(silent.metrics().is_none());
    assert_eq!(silent.stats().await.cache_misses, 1);
    assert!(backend(on(&server)).await.metrics().is_some());
}

#[tokio::test]
async fn the_slow_log_keeps_what_takes_longer_than_its_threshold() {
    let server = Server::start().await;
    for (enabled, threshold, kept) in [(true, 0, 2), (true, 60_000, 0), (false, 0, 0)] {
        let backend = backend(on(&server).slow_query_log(enabled, ms(threshold))).await;
        backend.put(b"k", b"v").await.unwrap();
        backend.get(b"k").await.unwrap();
        assert_eq!(backend.slow_operations().len(), kept, "{enabled} {threshold}");
        assert_eq!(backend.stats().await.slow_queries, kept as u64);
    }
}

#[tokio::test]
async fn the_settings_of_locks_are_kept() {
    let server = Server::start().await;
    let mut settings = on(&server).build().unwrap();
    settings.locks = settings.locks.with_max_ttl(ms(1_000));
    let strict = state_redis::RedisBackend::new(settings).await.unwrap();
    let error = strict.acquire_lock("job", ms(1_001)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    drop(strict.acquire_lock("job", ms(1_000)).await.expect("the maximum itself is allowed"));
    drop(backend(on(&server)).await.acquire_lock("other", ms(600_000)).await.expect("10 min by default"));
}
