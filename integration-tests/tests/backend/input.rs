//! Wrong configuration and wrong input: typed errors that name what to do, no secret in them, nothing written.

use std::time::Duration;

use integration_tests::{Port, Server, ServerConfig, margin};
use state_redis::{
    ErrorKind, Layout, PutItem, RedisBackend, RedisConfig, RedisMode, StateBackend, StateError, open,
};
use tokio::time::Instant;

use crate::support::{backend, keys_on, on};

const SECRET: &str = "s3cret-canary";

/// Everything an error shows, its causes included.
fn shown(error: &StateError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(&format!(" {inner} {inner:?}"));
        cause = inner.source();
    }
    text
}

async fn refused(url: &str) -> StateError {
    let error = open(url).await.err().unwrap_or_else(|| panic!("{url} was accepted"));
    assert!(!shown(&error).contains(SECRET), "{}", shown(&error));
    error
}

#[tokio::test]
async fn wrong_urls_are_refused_and_not_repeated() {
    for url in [
        "",
        SECRET,
        "http://localhost:6379",
        &format!("redis://:{SECRET}@localhost:port"),
        &format!("redis://:{SECRET}@localhost:6379/database"),
        &format!("redis://{SECRET}@localhost:6379"),
        &format!("redis://:{SECRET}%zz@localhost:6379"),
        &format!("redis://localhost:6379?{SECRET}=1"),
        "redis://",
        "memory:/somewhere",
    ] {
        let error = refused(url).await;
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{url}: {error}");
        assert!(error.context().contains("mode.url"), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_unavailable_in_time() {
    let port = Port::reserve();
    let url = format!("redis://:{SECRET}@127.0.0.1:{}", port.number());
    let config = RedisConfig::builder().url(url).connect_timeout(Duration::from_millis(300)).build().unwrap();
    let start = Instant::now();
    let error = RedisBackend::new(config).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error}");
    assert!(error.is_retryable() && !error.is_ambiguous());
    assert!(start.elapsed() < Duration::from_millis(300) + margin(), "{:?}", start.elapsed());
    assert!(!shown(&error).contains(SECRET), "{}", shown(&error));
}

#[tokio::test]
async fn a_wrong_password_is_an_auth_error() {
    let server = ServerConfig::default().with_password("right").start().await;
    for url in [
        format!("redis://:{SECRET}@{}", server.address()),
        format!("redis://{SECRET}:{SECRET}@{}", server.address()),
        format!("redis://{}", server.address()),
    ] {
        let error = refused(&url).await;
        assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
        assert!(!error.is_retryable());
    }
    open(&server.url()).await.expect("the right password opens");
}

#[tokio::test]
async fn a_missing_permission_is_an_auth_error() {
    let acl = "user reader on >pw ~* &* +@read +@connection +role +info";
    let server = ServerConfig::default().with_acl(acl).start().await;
    let reader = backend(on(&server).url(format!("redis://reader:pw@{}", server.address()))).await;
    assert_eq!(reader.get(b"k").await.unwrap(), None);
    let error = reader.put(b"k", b"v").await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Auth, false), "{error}");
    let error = reader.increment(b"k", 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
}

#[tokio::test]
async fn a_key_without_permission_is_an_error_of_its_own_in_a_batch() {
    let acl = "user some on >pw ~app:d|own* &* +@read +@write +@connection +role +info";
    let server = ServerConfig::default().with_acl(acl).start().await;
    let url = format!("redis://some:pw@{}", server.address());
    let backend = backend(on(&server).url(url).key_prefix("app:")).await;
    backend.put(b"own", b"v").await.unwrap();
    let keys: [&[u8]; 3] = [b"other", b"own", b"other"];
    let refused = |error: &StateError| error.kind() == ErrorKind::Auth;

    let read = backend.batch_get(&keys).await;
    assert_eq!(read[1].as_ref().unwrap().as_deref(), Some(&b"v"[..]));
    assert!(read[0].as_ref().is_err_and(refused) && read[2].as_ref().is_err_and(refused), "{read:?}");

    let deleted = backend.batch_delete(&keys).await;
    assert!(deleted[1].is_ok(), "{deleted:?}");
    assert!(deleted[0].as_ref().is_err_and(refused) && deleted[2].as_ref().is_err_and(refused));
    assert_eq!(backend.get(b"own").await.unwrap(), None);
}

#[tokio::test]
async fn what_is_too_long_is_refused_and_not_written() {
    let server = Server::start().await;
    let backend = backend(on(&server).max_value_len(1_000)).await;
    backend.put(b"k", &[0; 1_000]).await.expect("the maximum itself is allowed");
    let long = [0; 1_001];
    let mut errors = vec![
        backend.put(b"new", &long).await.unwrap_err(),
        backend.compare_and_swap(b"new", None, Some(&long)).await.unwrap_err(),
    ];
    let results = backend.batch_put(&[PutItem::new(b"new", &long), PutItem::new(b"ok", b"v")]).await;
    errors.extend(results.into_iter().filter_map(Result::err));
    let results = backend.batch_put_if_absent(&[PutItem::new(b"new", &long)]).await;
    errors.extend(results.into_iter().filter_map(Result::err));
    assert_eq!(errors.len(), 4, "the good item of the batch passes");
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.context().contains("1001") && error.context().contains("1000"), "{error}");
    }
    let key = vec![b'k'; state_core::MAX_KEY_LEN + 1];
    assert_eq!(backend.put(&key, b"v").await.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(keys_on(&server).await, ["state:d|k", "state:d|ok"]);
}

#[tokio::test]
async fn a_maximum_lowered_later_leaves_old_values_usable() {
    let server = Server::start().await;
    backend(on(&server)).await.put(b"k", &[7; 5_000]).await.unwrap();
    let strict = backend(on(&server).max_value_len(1_000)).await;
    assert_eq!(strict.get(b"k").await.unwrap(), Some(vec![7; 5_000]));
    assert!(strict.compare_and_swap(b"k", Some(&[7; 5_000]), Some(b"small")).await.unwrap().is_swapped());
}

#[tokio::test]
async fn clearing_a_whole_database_has_to_be_allowed() {
    let server = Server::start().await;
    let everything = || on(&server).layout(Layout::Plain).key_prefix("");
    let careful = backend(everything()).await;
    careful.put(b"k", b"v").await.unwrap();
    let error = careful.clear().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.context().contains("clear_whole_database"), "{error}");
    assert_eq!(keys_on(&server).await, ["k"]);
    backend(everything().clear_whole_database(true)).await.clear().await.unwrap();
    assert_eq!(keys_on(&server).await, Vec::<String>::new());
}

#[tokio::test]
async fn debug_output_hides_credentials() {
    let server = ServerConfig::default().with_password(SECRET).start().await;
    let mode = RedisMode::Standalone { url: server.url() };
    let backend = backend(RedisConfig::builder().mode(mode)).await;
    let text = format!("{backend:?} {:?}", backend.config());
    assert!(!text.contains(SECRET), "{text}");
}
