//! Operations with an id on a server that is well.

use std::time::Duration;

use integration_tests::{Cluster, SentinelGroup, Server};
use redis::Value;
use state_redis::codec::{Cipher, EncryptionKey, KeyRing};
use state_redis::{
    CasOutcome, CompressionAlgorithm, ErrorKind, Layout, MAX_ID_LEN, RedisBackend, StateBackend, Ttl,
};

use crate::support::{WINDOW, backend, keys_on, on};

#[tokio::test]
async fn an_increment_with_an_id_counts_once_and_answers_the_same() {
    let server = Server::start().await;
    let backend = backend(on(server.url())).await;
    counts_once(&backend).await;
    assert_eq!(backend.list_keys(b"").await.expect("a result").len(), HOSTILE.len(), "ids are no data");
    backend.clear().await.expect("a result");
    assert_eq!(keys_on(&server).await.len(), 2 * HOSTILE.len(), "clear leaves ids alone");
    let repeat = backend.increment_once(b"k", 5, b"id-1", WINDOW).await.expect("a result");
    assert_eq!((repeat.result, repeat.is_repeat), (5, true), "a repeat does nothing, even after clear");
    assert!(!backend.contains(b"k").await.expect("a result"));
}

#[tokio::test]
async fn ids_work_behind_sentinels() {
    let group = SentinelGroup::start().await;
    counts_once(&backend(on(group.url())).await).await;
}

#[tokio::test]
async fn ids_work_on_a_cluster_for_keys_with_braces() {
    let cluster = Cluster::start().await;
    counts_once(&backend(on(cluster.url())).await).await;
    counts_once(&backend(on(cluster.url()).key_prefix("{tenant}:")).await).await;
    counts_once(&backend(on(cluster.url()).layout(Layout::Plain).key_prefix("pl{ain:")).await).await;
}

#[tokio::test]
async fn ids_are_no_data_in_the_plain_layout() {
    let server = Server::start().await;
    let backend = backend(on(server.url()).layout(Layout::Plain).key_prefix("app:")).await;
    let _ = backend.increment_once(b"k", 1, b"id", WINDOW).await.expect("a result");
    backend.clear().await.expect("a result");
    let left = keys_on(&server).await;
    assert!(left.len() == 1 && left[0].starts_with("ids|app:"), "{left:?}");
}

/// Keys that a hash tag made of the key itself would not do for.
const HOSTILE: [&[u8]; 7] = [b"k", b"a}b", b"{", b"}{", b"{}", b"{x}y", b"\xff\x00{\r\n"];

async fn counts_once(backend: &RedisBackend) {
    for key in HOSTILE {
        let first = backend.increment_once(key, 5, b"id-1", WINDOW).await.expect("a result");
        assert_eq!((first.result, first.is_repeat), (5, false));
        let other = backend.increment_once(key, 2, b"id-2", WINDOW).await.expect("a result");
        assert_eq!((other.result, other.is_repeat), (7, false));
        let repeat = backend.increment_once(key, 5, b"id-1", WINDOW).await.expect("a result");
        assert_eq!((repeat.result, repeat.is_repeat), (5, true), "the first result, not today's");
        assert_eq!(backend.get(key).await.expect("a result").as_deref(), Some(&b"7"[..]));
    }
}

#[tokio::test]
async fn an_id_is_forgotten_after_its_window() {
    let server = Server::start().await;
    let backend = backend(on(server.url())).await;
    let window = Duration::from_secs(5);
    assert_eq!(backend.increment_once(b"n", 1, b"id", window).await.expect("a result").result, 1);
    let record =
        keys_on(&server).await.into_iter().find(|key| key.starts_with("state:o|")).expect("a record");
    let left: i64 = server.command(redis::cmd("PTTL").arg(&record)).await;
    assert!((1..=5_000).contains(&left), "{left} ms");
    integration_tests::eventually("the record is gone", Duration::from_secs(30), async || {
        let found: u64 = server.command(redis::cmd("EXISTS").arg(&record)).await;
        if found == 0 { Ok(()) } else { Err("still there".to_owned()) }
    })
    .await;
    let again = backend.increment_once(b"n", 1, b"id", window).await.expect("a result");
    assert_eq!((again.result, again.is_repeat), (2, false));
}

#[tokio::test]
async fn an_id_used_for_something_else_is_a_conflict() {
    let server = Server::start().await;
    let backend = backend(on(server.url())).await;
    let _ = backend.increment_once(b"k", 1, b"id", WINDOW).await.expect("a result");
    let errors = [
        backend.increment_once(b"k", 2, b"id", WINDOW).await.expect_err("an error"),
        backend.compare_and_swap_once(b"k", Some(b"1"), None, b"id", WINDOW).await.expect_err("an error"),
        backend.put_if_absent_once(b"k", b"v", Ttl::Default, b"id", WINDOW).await.expect_err("an error"),
        backend.script_once("return 1", b"k", &[], b"id", WINDOW).await.expect_err("an error"),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Conflict, false), "{error:?}");
    }
    assert_eq!(backend.get(b"k").await.expect("a result").as_deref(), Some(&b"1"[..]));
    assert!(
        !backend.increment_once(b"other", 2, b"id", WINDOW).await.expect("a result").is_repeat,
        "ids belong to a key"
    );
}

#[tokio::test]
async fn ids_and_windows_have_bounds() {
    let server = Server::start().await;
    let backend = backend(on(server.url())).await;
    let long = [b'i'; MAX_ID_LEN + 1];
    assert!(backend.increment_once(b"n", 1, &long[1..], WINDOW).await.is_ok());
    for (id, window) in [
        (&b""[..], WINDOW),
        (&long[..], WINDOW),
        (b"id", Duration::ZERO),
        (b"id", Duration::from_millis(2_999)),
        (b"id", Duration::MAX),
    ] {
        let error = backend.increment_once(b"n", 1, id, window).await.expect_err("an error");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert_eq!(backend.increment(b"n", 0).await.expect("a result"), 1);
}

#[tokio::test]
async fn a_swap_with_an_id_answers_what_it_found_the_first_time() {
    let server = Server::start().await;
    let plain = backend(on(server.url())).await;
    let packed = on(server.url())
        .key_prefix("packed:")
        .compression(CompressionAlgorithm::Lz4)
        .compression_threshold(16)
        .default_ttl(Duration::from_secs(60));
    let key = EncryptionKey::new(1, Cipher::XChaCha20Poly1305, &[7; 32]);
    let sealed = on(server.url()).key_prefix("sealed:").encryption_keys(KeyRing::new(key));
    for backend in [plain, backend(packed).await, backend(sealed).await] {
        swaps_once(&backend).await;
    }
    let left: i64 = server.command(redis::cmd("PTTL").arg("packed:d|s")).await;
    assert!((1..=60_000).contains(&left), "the key it created got the default TTL: {left}");
}

async fn swaps_once(backend: &RedisBackend) {
    let (a, b, c) = ([b'a'; 500], [b'b'; 500], [b'c'; 500]);
    let swap = async |expected: Option<&[u8]>, new: Option<&[u8]>, id: &[u8]| {
        let once = backend.compare_and_swap_once(b"s", expected, new, id, WINDOW).await.expect("a result");
        (once.result, once.is_repeat)
    };
    assert_eq!(swap(None, Some(&a), b"1").await, (CasOutcome::Swapped, false));
    assert_eq!(swap(Some(&a), Some(&b), b"2").await, (CasOutcome::Swapped, false));
    assert_eq!(swap(Some(&a), Some(&b), b"2").await, (CasOutcome::Swapped, true));
    let missed = CasOutcome::Mismatch { current: Some(b.to_vec()) };
    assert_eq!(swap(Some(&a), Some(&c), b"3").await, (missed.clone(), false));
    backend.put(b"s", &a).await.expect("a result");
    assert_eq!(swap(Some(&a), Some(&c), b"3").await, (missed, true), "its time is over");
    assert_eq!(backend.get(b"s").await.expect("a result").as_deref(), Some(&a[..]));
    assert_eq!(swap(Some(&a), None, b"4").await, (CasOutcome::Swapped, false));
    assert_eq!(swap(Some(&a), Some(b""), b"5").await, (CasOutcome::Mismatch { current: None }, false));
    assert_eq!(swap(Some(&a), Some(b""), b"5").await, (CasOutcome::Mismatch { current: None }, true));
    assert_eq!(swap(None, Some(&a), b"6").await, (CasOutcome::Swapped, false));
}

#[tokio::test]
async fn a_put_with_an_id_is_not_taken_for_another_event() {
    let server = Server::start().await;
    let backend = backend(on(server.url())).await;
    let put = async |value: &[u8], id: &[u8]| {
        let ttl = Ttl::After(Duration::from_secs(90));
        let once = backend.put_if_absent_once(b"event", value, ttl, id, WINDOW).await.expect("a result");
        (once.result, once.is_repeat)
    };
    assert_eq!(put(b"v", b"1").await, (true, false));
    assert_eq!(put(b"v", b"1").await, (true, true), "it was this request that stored it");
    assert_eq!(put(b"v", b"2").await, (false, false));
    let left: i64 = server.command(redis::cmd("PTTL").arg("state:d|event")).await;
    assert!((60_000..=90_000).contains(&left), "{left}");
}

#[tokio::test]
async fn a_script_with_an_id_answers_the_same_whatever_it_answers() {
    let server = Server::start().await;
    let backend = backend(on(server.url())).await;
    let text = |text: &[u8]| Value::BulkString(text.to_vec());
    let answers = [
        ("return 42", Value::Int(42)),
        ("return -9007199254740992", Value::Int(-9_007_199_254_740_992)),
        ("return 'a\\0\\255b'", text(b"a\0\xffb")),
        ("return redis.status_reply('OK')", Value::Okay),
        ("return nil", Value::Nil),
        ("return false", Value::Nil),
        ("local unused = 1 -- and no answer", Value::Nil),
        (
            "return {1, {'x', false, {}}, ARGV[1]} -- list",
            Value::Array(vec![
                Value::Int(1),
                Value::Array(vec![text(b"x"), Value::Nil, Value::Array(vec![])]),
                text(b"arg"),
            ]),
        ),
        ("return 1, true", Value::Int(1)),
    ];
    for (number, (script, expected)) in answers.into_iter().enumerate() {
        let source = format!("redis.call('INCR', KEYS[1])\n{script}");
        let id = format!("id {number}");
        for is_repeat in [false, true, true] {
            let once = backend
                .script_once(&source, b"runs", &[b"arg"], id.as_bytes(), WINDOW)
                .await
                .expect("a result");
            assert_eq!((&once.result, once.is_repeat), (&expected, is_repeat), "{script}");
        }
        assert_eq!(backend.increment(b"runs", 0).await.expect("a result"), number as i64 + 1);
    }
}

#[tokio::test]
async fn errors_of_an_operation_are_remembered_like_results() {
    let server = Server::start().await;
    let backend = backend(on(server.url())).await;
    backend.put(b"n", b"no number").await.expect("a result");
    for _ in 0..2 {
        let error = backend.increment_once(b"n", 1, b"id", WINDOW).await.expect_err("an error");
        assert_eq!(error.kind(), ErrorKind::WrongType, "{error:?}");
        backend.put(b"n", b"1").await.expect("a result");
    }
    let half = "redis.call('INCR', KEYS[1]) return redis.call('LPUSH', KEYS[1], 'x')";
    for _ in 0..2 {
        let error = backend.script_once(half, b"n", &[], b"half", WINDOW).await.expect_err("an error");
        assert!(matches!(error.kind(), ErrorKind::WrongType | ErrorKind::Internal), "{error:?}");
    }
    assert_eq!(backend.increment(b"n", 0).await.expect("a result"), 2, "the half that ran, ran once");
    let shebang = backend.script_once("#!lua flags=no-writes\nreturn 1", b"n", &[], b"s", WINDOW).await;
    assert_eq!(shebang.expect_err("an error").kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_full_server_remembers_nothing_and_does_nothing() {
    let server = Server::start().await;
    let backend = backend(on(server.url())).await;
    backend.put(b"n", b"1").await.expect("a result");
    let limit = async |bytes: u64| -> () {
        server.command(redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes)).await
    };
    limit(1).await;
    let error = backend.increment_once(b"n", 1, b"id", WINDOW).await.expect_err("an error");
    assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::ReadOnly, false), "{error:?}");
    let error =
        backend.compare_and_swap_once(b"n", Some(b"x"), None, b"cas", WINDOW).await.expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error:?}");
    limit(0).await;
    let done = backend.increment_once(b"n", 1, b"id", WINDOW).await.expect("a result");
    assert_eq!((done.result, done.is_repeat), (2, false));
}

#[tokio::test]
async fn an_id_takes_about_200_bytes() {
    let server = Server::start().await;
    let backend = backend(on(server.url())).await;
    let used = async || -> u64 {
        server.info("used_memory").await.expect("a result").expect("a result").parse().expect("a result")
    };
    let before = used().await;
    let ids = 10_000;
    for number in 0..ids {
        let _ =
            backend.increment_once(b"n", 1, format!("{number}").as_bytes(), WINDOW).await.expect("a result");
    }
    let each = (used().await - before) / ids;
    println!("{each} bytes for each id");
    assert!(each < 400, "{each}");
}
