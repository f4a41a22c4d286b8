//! Other data types under our keys, and data that other clients wrote.

use std::time::Duration;

use futures_util::StreamExt;
use integration_tests::Server;
use state_redis::{
    ErrorKind, Expiry, Layout, PutItem, RedisBackend, ScanOptions, StateBackend, StateBackendExt,
    StateResult, Ttl,
};

use crate::support::{backend, on};

async fn with_list(server: &Server) -> RedisBackend {
    let backend = backend(on(server)).await;
    let _: i64 = server.command(redis::cmd("RPUSH").arg("state:d|list").arg("a").arg("b")).await;
    backend
}

async fn list_len(server: &Server) -> i64 {
    server.command(redis::cmd("LLEN").arg("state:d|list")).await
}

#[track_caller]
fn assert_wrong_type<T: std::fmt::Debug>(result: StateResult<T>) {
    let error = result.expect_err("a list is no value");
    assert_eq!(error.kind(), ErrorKind::WrongType, "{error}");
    assert!(!error.is_retryable() && !error.is_ambiguous());
}

#[tokio::test]
async fn another_type_is_an_error_and_never_absent() {
    let server = Server::start().await;
    let plain = with_list(&server).await;
    let expiring = backend(on(&server).default_ttl(Duration::from_secs(60))).await;
    for backend in [&plain, &expiring] {
        assert_wrong_type(backend.get(b"list").await);
        assert_wrong_type(backend.get_and_delete(b"list").await);
        assert_wrong_type(backend.increment(b"list", 1).await);
        assert_wrong_type(backend.compare_and_swap(b"list", None, Some(b"v")).await);
        assert_wrong_type(backend.compare_and_swap(b"list", Some(b"v"), None).await);
        assert!(backend.contains(b"list").await.unwrap());
        assert_eq!(backend.ttl(b"list").await.unwrap(), Expiry::Never);
        assert!(!backend.put_if_absent(b"list", b"v", Ttl::Default).await.unwrap());
        assert_eq!(list_len(&server).await, 2, "an operation that failed changed the list");
    }
}

#[tokio::test]
async fn another_type_fails_alone_in_a_batch() {
    let server = Server::start().await;
    let backend = with_list(&server).await;
    backend.put(b"a", b"1").await.unwrap();
    let mut results = backend.batch_get(&[b"a", b"list", b"none", b"a"]).await;
    assert_eq!(results.remove(0).unwrap().as_deref(), Some(&b"1"[..]));
    assert_wrong_type(results.remove(0));
    assert_eq!(results.remove(0).unwrap(), None);
    assert_eq!(results.remove(0).unwrap().as_deref(), Some(&b"1"[..]));
    let stored = backend.batch_put_if_absent(&[PutItem::new(b"list", b"v"), PutItem::new(b"b", b"v")]).await;
    assert_eq!(stored.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn a_scan_of_entries_goes_on_behind_another_type() {
    let server = Server::start().await;
    let backend = with_list(&server).await;
    for n in 0..100_u8 {
        backend.put(&[n], b"v").await.unwrap();
    }
    let entries: Vec<_> = backend.scan_entries(b"", ScanOptions::default()).collect().await;
    let (good, bad): (Vec<_>, Vec<_>) = entries.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (100, 1));
    bad.into_iter().for_each(assert_wrong_type);
    assert_eq!(backend.count().await.unwrap(), 101, "keys are counted whatever stands under them");
}

#[tokio::test]
async fn puts_replace_another_type_and_deletes_remove_it() {
    let server = Server::start().await;
    let backend = with_list(&server).await;
    backend.put(b"list", b"v").await.unwrap();
    assert_eq!(backend.get(b"list").await.unwrap().as_deref(), Some(&b"v"[..]));
    backend.delete(b"list").await.unwrap();
    with_list(&server).await;
    backend.batch_put(&[PutItem::new(b"list", b"w")]).await.remove(0).unwrap();
    assert_eq!(backend.get_and_delete(b"list").await.unwrap().as_deref(), Some(&b"w"[..]));
    with_list(&server).await;
    backend.delete(b"list").await.unwrap();
    assert!(!backend.contains(b"list").await.unwrap());
    with_list(&server).await;
    backend.clear().await.unwrap();
    assert_eq!(backend.count().await.unwrap(), 0);
}

#[tokio::test]
async fn the_plain_layout_shares_data_with_other_clients() {
    let server = Server::start().await;
    let backend = backend(on(&server).layout(Layout::Plain).key_prefix("shop|")).await;
    let _: () = server.command(redis::cmd("SET").arg("shop|stock").arg("17")).await;
    let _: () = server.command(redis::cmd("SET").arg("shops|stock").arg("other")).await;
    assert_eq!(backend.get(b"stock").await.unwrap().as_deref(), Some(&b"17"[..]));
    assert_eq!(backend.increment(b"stock", 1).await.unwrap(), 18);
    let text: String = server.command(redis::cmd("GET").arg("shop|stock")).await;
    assert_eq!(text, "18");
    assert_eq!(backend.list_keys(b"").await.unwrap(), [b"stock"]);
    backend.clear().await.unwrap();
    let other: bool = server.command(redis::cmd("EXISTS").arg("shops|stock")).await;
    assert!(other, "clear reached another prefix");
}

#[tokio::test]
async fn values_are_stored_byte_for_byte() {
    let server = Server::start().await;
    let backend = backend(on(&server)).await;
    let all: Vec<u8> = (0..=255).collect();
    backend.put(b"k", &all).await.unwrap();
    let stored: Vec<u8> = server.command(redis::cmd("GET").arg("state:d|k")).await;
    assert_eq!(stored, all);
}
