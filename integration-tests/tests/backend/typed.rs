//! Typed values, each test in memory and on Redis.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::TryStreamExt;
use integration_tests::Server;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use state_core::{KeyDigest, MemoryConfig};
use state_redis::{
    CompressionAlgorithm, ErrorKind, Expiry, MemoryBackend, NoPrevious, PutOptions, ScanOptions,
    SerializationFormat, StateBackend, StateBackendExt, Ttl, Typed, Versioned,
};

use crate::support::{backend, on};

const FORMATS: [SerializationFormat; 3] =
    [SerializationFormat::MessagePack, SerializationFormat::Json, SerializationFormat::Postcard];
const JSON: SerializationFormat = SerializationFormat::Json;
const HOUR: Duration = Duration::from_secs(3_600);
const MAX_VALUE_LEN: usize = 1_000;

type Backend = Arc<dyn StateBackend>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct UserV1 {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    first: String,
    last: String,
    logins: u64,
}

impl Versioned for UserV1 {
    const VERSION: u32 = 1;
    type Previous = NoPrevious;
    fn upcast(previous: NoPrevious) -> Self {
        match previous {}
    }
}

impl Versioned for User {
    const VERSION: u32 = 2;
    type Previous = UserV1;
    fn upcast(previous: UserV1) -> Self {
        let (first, last) = previous.name.split_once(' ').expect("two names");
        Self { first: first.to_owned(), last: last.to_owned(), logins: 0 }
    }
}

/// JSON has no keys but strings: only the empty table can be expressed in it.
type Table = BTreeMap<(u8, u8), String>;

/// The backends that every test runs on, and what keeps them alive.
async fn everywhere() -> (Server, [Backend; 2]) {
    let server = Server::start().await;
    let memory = MemoryBackend::with_config(MemoryConfig::default().with_max_value_len(MAX_VALUE_LEN));
    let redis = backend(on(&server).max_value_len(MAX_VALUE_LEN)).await;
    (server, [Arc::new(memory.expect("valid settings")), Arc::new(redis)])
}

fn ada_v1() -> UserV1 {
    UserV1 { name: "Ada Lovelace".to_owned() }
}

fn ada(logins: u64) -> User {
    User { first: "Ada".to_owned(), last: "Lovelace".to_owned(), logins }
}

fn log_in(old: Option<User>) -> Option<User> {
    old.map(|user| User { logins: user.logins + 1, ..user })
}

#[tokio::test]
async fn every_operation_carries_values_in_every_format() {
    let (_server, backends) = everywhere().await;
    for backend in backends {
        for format in FORMATS {
            operations(Typed::new(backend.clone(), format)).await;
            operations(Typed::versioned(backend.clone(), format)).await;
        }
    }
}

async fn operations(users: Typed<User, Backend>) {
    users.put(b"a", &ada(1)).await.unwrap();
    assert_eq!(users.get(b"a").await.unwrap(), Some(ada(1)));
    assert!(!users.put_if_absent(b"a", &ada(9), Ttl::Default).await.unwrap());
    let brief = PutOptions::default().with_ttl(Ttl::After(HOUR));
    assert!(users.put_with(b"b", &ada(2), brief).await.unwrap());
    assert!(matches!(users.backend().ttl(b"b").await.unwrap(), Expiry::After(left) if left <= HOUR));
    assert!(users.contains(b"b").await.unwrap());
    assert_eq!(users.get_and_delete(b"b").await.unwrap(), Some(ada(2)));
    assert_eq!(users.get_and_delete(b"b").await.unwrap(), None);

    let (one, two) = (ada(10), ada(20));
    let results = users.batch_put(&[(b"a", &one), (b"b", &two)], Ttl::After(HOUR)).await;
    assert!(results.iter().all(Result::is_ok));
    assert!(matches!(users.backend().ttl(b"a").await.unwrap(), Expiry::After(_)));
    let results = users.batch_put_if_absent(&[(b"b", &one), (b"c", &two)], Ttl::Never).await;
    assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [false, true]);
    let read = users.batch_get(&[b"c", b"nothing", b"a"]).await;
    let read: Vec<_> = read.into_iter().map(Result::unwrap).collect();
    assert_eq!(read, [Some(ada(20)), None, Some(ada(10))]);

    let mut entries: Vec<_> =
        users.entries(b"", ScanOptions::default()).try_collect::<Vec<_>>().await.unwrap();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [(b"a", ada(10)), (b"b", ada(20)), (b"c", ada(20))];
    assert_eq!(entries, expected.map(|(key, user)| (key.to_vec(), user)));

    assert_eq!(users.update(b"a", log_in).await.unwrap(), Some(ada(11)));
    assert_eq!(users.update(b"a", |_| None).await.unwrap(), None);
    assert!(!users.contains(b"a").await.unwrap());
    users.delete(b"b").await.unwrap();
    assert!(users.batch_delete(&[b"b", b"c"]).await.iter().all(Result::is_ok));
    assert_eq!(users.backend().count().await.unwrap(), 0);
}

#[tokio::test]
async fn an_old_record_is_read_updated_in_the_new_schema_and_refused_by_the_old_program() {
    let (_server, backends) = everywhere().await;
    for backend in backends {
        for format in FORMATS {
            upgrade(backend.clone(), format).await;
        }
    }
}

async fn upgrade(backend: Backend, format: SerializationFormat) {
    let before = Typed::<UserV1, _>::versioned(backend.clone(), format);
    let after = Typed::<User, _>::versioned(backend.clone(), format);
    let hour = PutOptions::default().with_ttl(Ttl::After(HOUR));
    before.put_with(b"user", &ada_v1(), hour).await.unwrap();
    let stored = backend.get(b"user").await.unwrap();

    assert_eq!(after.get(b"user").await.unwrap(), Some(ada(0)));
    assert_eq!(backend.get(b"user").await.unwrap(), stored, "reading rewrites nothing");
    assert_eq!(before.get(b"user").await.unwrap(), Some(ada_v1()));

    assert_eq!(after.update(b"user", log_in).await.unwrap(), Some(ada(1)));
    assert!(matches!(backend.ttl(b"user").await.unwrap(), Expiry::After(left) if left <= HOUR));
    let stored = backend.get(b"user").await.unwrap();
    let mut called = false;
    let refused = before.update(b"user", |old| {
        called = true;
        old
    });
    for error in [refused.await.unwrap_err(), before.get(b"user").await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.context().contains("update this program"), "{error}");
        assert!(error.context().contains(&KeyDigest::of(b"user").to_string()), "{error}");
        let cause = std::error::Error::source(&error).expect("a cause").to_string();
        assert!(cause.contains("version 2, this program's is 1"), "{cause}");
    }
    assert!(!called, "an update ran on a record that was not understood");
    assert_eq!(backend.get(b"user").await.unwrap(), stored, "the old program left the record alone");
    backend.delete(b"user").await.unwrap();
}

#[tokio::test]
async fn a_migration_rewrites_what_is_old_and_counts_what_it_cannot_read() {
    let (_server, backends) = everywhere().await;
    for backend in backends {
        let before = Typed::<UserV1, _>::versioned(backend.clone(), JSON);
        let after = Typed::<User, _>::versioned(backend.clone(), JSON);
        let hour = PutOptions::default().with_ttl(Ttl::After(HOUR));
        for n in 0..40 {
            before.put_with(format!("user:{n}").as_bytes(), &ada_v1(), hour).await.unwrap();
        }
        after.put(b"user:new", &ada(7)).await.unwrap();
        backend.put(b"user:damaged", b"{").await.unwrap();
        backend.put(b"user:later", br#"{"v":3,"data":{}}"#).await.unwrap();
        before.put(b"else", &ada_v1()).await.unwrap();

        let page = ScanOptions::default().with_page_size(7);
        let report = after.migrate(b"user:", page).await.unwrap();
        assert_eq!((report.rewritten, report.current), (40, 1));
        assert_eq!((report.unreadable, report.contended), (2, 0));
        assert_eq!(backend.get(b"user:damaged").await.unwrap().as_deref(), Some(&b"{"[..]));
        assert_eq!(before.get(b"else").await.unwrap(), Some(ada_v1()), "outside of the prefix");
        assert!(matches!(backend.ttl(b"user:3").await.unwrap(), Expiry::After(left) if left <= HOUR));
        let again = after.migrate(b"user:", page).await.unwrap();
        assert_eq!((again.rewritten, again.current, again.unreadable), (0, 41, 2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contended_updates_lose_nothing() {
    let (_server, backends) = everywhere().await;
    for backend in backends {
        let counters = Typed::<u64, _>::new(backend, SerializationFormat::Postcard);
        let writers: Vec<_> = (0..16)
            .map(|_| {
                let counters = counters.clone();
                tokio::spawn(async move {
                    for _ in 0..25 {
                        counters.update(b"n", |old| Some(old.unwrap_or(0) + 1)).await.unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(counters.get(b"n").await.unwrap(), Some(16 * 25));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_never_wins_gives_up_as_a_conflict() {
    let (_server, backends) = everywhere().await;
    for backend in backends {
        for attempts in [0, 1, 5] {
            let counters = Typed::<u32, _>::new(backend.clone(), JSON).with_attempts(attempts);
            let mut calls = 0_u32;
            let result = counters.update(b"n", |_| {
                calls += 1;
                // The rival writes first, and something new, every time.
                let rival = async { backend.increment(b"n", 1).await.unwrap() };
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(rival));
                Some(1_000_000)
            });
            let error = result.await.unwrap_err();
            assert_eq!((error.kind(), calls), (ErrorKind::Conflict, attempts.max(1)));
            assert!(!error.is_ambiguous());
        }
        assert_eq!(backend.get(b"n").await.unwrap().as_deref(), Some(&b"7"[..]), "one for each attempt");
    }
}

#[tokio::test]
async fn what_is_no_such_value_is_corrupt_and_stays() {
    let (_server, backends) = everywhere().await;
    for backend in backends {
        for format in FORMATS {
            backend.put(b"secret-key", b"secret-value").await.unwrap();
            let users = Typed::<User, _>::new(backend.clone(), format);
            refuses_damage(&users).await;
            refuses_damage(&Typed::<User, _>::versioned(backend.clone(), format)).await;
            backend.delete(b"secret-key").await.unwrap();
        }
    }
}

async fn refuses_damage<T: DeserializeOwned + std::fmt::Debug>(values: &Typed<T, Backend>) {
    let update = values.update(b"secret-key", |old| old).await.unwrap_err();
    let get = values.get(b"secret-key").await.unwrap_err();
    let batch = values.batch_get(&[b"secret-key"]).await.remove(0).unwrap_err();
    let entry = values.entries(b"", ScanOptions::default()).try_next().await.unwrap_err();
    for error in [update, get, batch, entry] {
        // The first byte of the text may be taken for a version that is not known.
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{error}");
        let shown = format!("{error} {error:?} {values:?}");
        assert!(!shown.contains("secret"), "{shown}");
    }
    let stored = values.backend().get(b"secret-key").await.unwrap();
    assert_eq!(stored.as_deref(), Some(&b"secret-value"[..]));
}

#[tokio::test]
async fn what_cannot_be_expressed_is_refused_item_by_item() {
    let (_server, backends) = everywhere().await;
    for backend in backends {
        let tables = Typed::<Table, _>::new(backend.clone(), JSON);
        let (good, bad) = (Table::new(), Table::from([((1, 2), "cell".to_owned())]));
        assert_eq!(tables.put(b"k", &bad).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        let update = tables.update(b"k", |_| Some(bad.clone())).await;
        assert_eq!(update.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(backend.count().await.unwrap(), 0);

        let items: [(&[u8], &Table); 4] = [(b"1", &good), (b"2", &bad), (b"3", &good), (b"4", &bad)];
        let kinds = |results: Vec<Result<(), state_redis::StateError>>| -> Vec<Option<ErrorKind>> {
            results.into_iter().map(|result| result.err().map(|error| error.kind())).collect()
        };
        let invalid = Some(ErrorKind::InvalidInput);
        let results = tables.batch_put(&items, Ttl::Default).await;
        assert_eq!(kinds(results), [None, invalid, None, invalid]);
        let results = tables.batch_put_if_absent(&items, Ttl::Default).await;
        let results = results.into_iter().map(|result| result.map(|stored| assert!(!stored))).collect();
        assert_eq!(kinds(results), [None, invalid, None, invalid]);
        assert_eq!(backend.count().await.unwrap(), 2);
        // In another format it can be expressed.
        let tables = Typed::<Table, _>::new(backend, SerializationFormat::MessagePack);
        tables.put(b"k", &bad).await.unwrap();
        assert_eq!(tables.get(b"k").await.unwrap(), Some(bad));
    }
}

#[tokio::test]
async fn the_backends_own_bounds_hold() {
    let (_server, backends) = everywhere().await;
    for backend in backends {
        let texts = Typed::<String, _>::new(backend.clone(), JSON);
        // Two quotes are part of the bytes.
        texts.put(b"k", &"x".repeat(MAX_VALUE_LEN - 2)).await.unwrap();
        let long = "x".repeat(MAX_VALUE_LEN - 1);
        assert_eq!(texts.put(b"k", &long).await.unwrap_err().kind(), ErrorKind::TooLarge);
        let update = texts.update(b"k", |_| Some(long.clone())).await;
        assert_eq!(update.unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(texts.put(b"", &String::new()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        let borrowed = Typed::<String, _>::new(&backend, JSON);
        assert_eq!(borrowed.get(b"k").await.unwrap().map(|text| text.len()), Some(MAX_VALUE_LEN - 2));
        backend.put_with_ttl(b"k", b"null", HOUR).await.unwrap();
        assert_eq!(texts.get(b"k").await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn the_setting_chooses_the_format_of_a_backends_own_views() {
    let server = Server::start().await;
    for format in FORMATS {
        let backend = backend(on(&server).serialization(format)).await;
        backend.typed::<User>().put(b"plain", &ada(1)).await.unwrap();
        backend.versioned::<User>().put(b"record", &ada(2)).await.unwrap();
        // Read back by views that are told the format.
        let plain = Typed::<User, _>::new(&backend, format);
        assert_eq!(plain.get(b"plain").await.unwrap(), Some(ada(1)));
        let records = Typed::<User, _>::versioned(&backend, format);
        assert_eq!(records.get(b"record").await.unwrap(), Some(ada(2)));
        let is_json = backend.get(b"plain").await.unwrap().expect("a value").starts_with(b"{\"first\"");
        assert_eq!(is_json, format == JSON);
    }
}

#[tokio::test]
async fn long_values_pass_through_the_backends_compression_once() {
    let server = Server::start().await;
    let backend = backend(on(&server).compression(CompressionAlgorithm::Lz4)).await;
    let texts = backend.typed::<String>();
    let text = "state ".repeat(10_000);
    texts.put(b"k", &text).await.unwrap();
    let stored: usize = server.command(redis::cmd("STRLEN").arg("state:d|k")).await;
    assert!(stored < text.len() / 50, "{stored} bytes are stored");
    let longer = texts.update(b"k", |old| old.map(|text| text + "!")).await.unwrap();
    assert_eq!(longer, Some(format!("{text}!")));
    assert_eq!(texts.get(b"k").await.unwrap(), longer);
}
