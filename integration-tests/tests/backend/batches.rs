//! The shorthands for batches, and what batching brings.

use std::time::Duration;

use integration_tests::{Server, ServerConfig, eventually};
use state_redis::{ErrorKind, Expiry, PutItem, StateBackend};
use tokio::time::Instant;

use crate::support::{backend, keys_on, on};

#[tokio::test]
async fn shorthands_store_and_read_pairs_in_order() {
    let server = Server::start().await;
    let backend = backend(on(&server)).await;
    let pairs: [(&[u8], &[u8]); 3] = [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")];
    backend.batch_put_optimized(&pairs).await.unwrap();
    let values = backend.batch_get_optimized(&[b"b", b"none", b"a"]).await.unwrap();
    assert_eq!(values, [Some(b"2".to_vec()), None, Some(b"3".to_vec())]);
    assert_eq!(backend.ttl(b"a").await.unwrap(), Expiry::Never);
    let ttl = Duration::from_secs(600);
    backend.batch_put_optimized_with_ttl(&pairs, ttl).await.unwrap();
    for key in [b"a", b"b"] {
        assert!(matches!(backend.ttl(key).await.unwrap(), Expiry::After(left) if left <= ttl));
    }
}

#[tokio::test]
async fn shorthands_report_the_first_error() {
    let server = Server::start().await;
    let backend = backend(on(&server)).await;
    let error = backend.batch_put_optimized(&[(b"a", b"1"), (b"", b"2")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = backend.batch_put_optimized_with_ttl(&[(b"b", b"1")], Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let _: i64 = server.command(redis::cmd("RPUSH").arg("state:d|list").arg("x")).await;
    let error = backend.batch_get_optimized(&[b"a", b"list"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongType);
    assert_eq!(keys_on(&server).await, ["state:d|a", "state:d|list"]);
}

#[tokio::test]
async fn values_without_a_ttl_are_stored_by_one_command_a_request() {
    let server = Server::start().await;
    let backend = backend(on(&server).pipeline_batch_size(10)).await;
    let keys: Vec<Vec<u8>> = (0..25).map(|n| format!("key:{n}").into_bytes()).collect();
    let pairs: Vec<(&[u8], &[u8])> = keys.iter().map(|key| (key.as_slice(), key.as_slice())).collect();
    backend.batch_put_optimized(&pairs).await.unwrap();
    backend.batch_put_optimized_with_ttl(&pairs[..5], Duration::from_secs(60)).await.unwrap();
    let stats: String = server.command(redis::cmd("INFO").arg("commandstats")).await;
    for (command, calls) in [("mset", 3), ("set", 5)] {
        let line = format!("cmdstat_{command}:calls={calls},");
        assert!(stats.contains(&line), "{line} {stats}");
    }
    let refs: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let values = backend.batch_get_optimized(&refs).await.unwrap();
    assert_eq!(values.into_iter().map(Option::unwrap).collect::<Vec<_>>(), keys);
}

#[tokio::test]
async fn a_key_that_may_not_be_written_is_an_error_for_its_item_alone() {
    let user = "app on >pw ~state:d|open:* +@all";
    let server = ServerConfig::default().with_acl(format!("user {user}")).start().await;
    let backend = backend(on(&server).url(format!("redis://app:pw@{}/", server.address()))).await;
    let items = [b"open:a".as_slice(), b"closed", b"open:b"].map(|key| PutItem::new(key, b"v"));
    let kinds =
        backend.batch_put(&items).await.into_iter().map(|result| result.map_err(|error| error.kind()));
    assert_eq!(kinds.collect::<Vec<_>>(), [Ok(()), Err(ErrorKind::Auth), Ok(())]);
    assert_eq!(keys_on(&server).await, ["state:d|open:a", "state:d|open:b"]);
}

#[tokio::test]
async fn batches_work_on_a_server_that_is_a_cluster_by_itself() {
    let server = ServerConfig::default().with_option("cluster-enabled", "yes").start().await;
    let slots = redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16_383).clone();
    server.command::<()>(&slots).await;
    let backend = backend(on(&server)).await;
    eventually("the slots are served", Duration::from_secs(30), async || {
        backend.get(b"k").await.map_err(|error| format!("{error:?}"))
    })
    .await;
    let pairs: [(&[u8], &[u8]); 3] = [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")];
    backend.batch_put_optimized(&pairs).await.unwrap();
    let values = backend.batch_get_optimized(&[b"a", b"b", b"c"]).await.unwrap();
    assert_eq!(values, [Some(b"1".to_vec()), Some(b"2".to_vec()), Some(b"3".to_vec())]);
    assert!(backend.batch_delete(&[b"a", b"b"]).await.iter().all(Result::is_ok));
    assert_eq!(keys_on(&server).await, ["state:d|c"]);
}

#[tokio::test]
async fn a_batch_is_faster_than_single_calls() {
    let server = ServerConfig::default().with_option("appendfsync", "no").start().await;
    let backend = backend(on(&server)).await;
    let keys: Vec<Vec<u8>> = (0..1_000).map(|n| format!("key:{n}").into_bytes()).collect();
    let pairs: Vec<(&[u8], &[u8])> = keys.iter().map(|key| (key.as_slice(), &[0; 100][..])).collect();
    let refs: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    // The best of some rounds: the machine may stand still during any of them.
    let (mut single, mut batch) = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        let start = Instant::now();
        for (key, value) in &pairs {
            backend.put(key, value).await.unwrap();
        }
        single = single.min(start.elapsed());
        let start = Instant::now();
        backend.batch_put_optimized(&pairs).await.unwrap();
        batch = batch.min(start.elapsed());
    }
    let start = Instant::now();
    let values = backend.batch_get_optimized(&refs).await.unwrap();
    println!("1,000 keys: {single:?} one by one, {batch:?} batched, read in {:?}", start.elapsed());
    assert!(values.iter().all(Option::is_some));
    assert!(batch < single, "batched {batch:?}, one by one {single:?}");
}
