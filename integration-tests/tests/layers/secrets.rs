//! Canaries: a password, a user, a key and a value must appear nowhere, in good times and bad.

use std::error::Error;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use integration_tests::{Port, ServerConfig, independent_masters};
use parking_lot::Mutex;
use state_redis::codec::{Cipher, EncryptionKey, KeyRing};
use state_redis::metrics::{HotKeysConfig, Naming, Prometheus};
use state_redis::{
    CompressionAlgorithm, Credentials, MemoryBackend, PutItem, RedisBackend, RedisConfig, StateBackend,
};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::support::ms;

const USER: &str = "c4nary-user";
const PASSWORD: &str = "c4nary-passw0rd";
const KEY: &str = "c4nary-key";
const VALUE: &str = "c4nary-value-c4nary-value-c4nary-value";
const SECRET: &[u8; 32] = b"c4nary-secret-c4nary-secret-c4na";

/// Everything logged and shown in the course of the test.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<u8>>>);

impl io::Write for Seen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Seen {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Seen {
    fn show(&self, shown: &(impl Debug + ?Sized)) {
        self.0.lock().extend_from_slice(format!("{shown:?}\n{shown:#?}\n").as_bytes());
    }

    /// An error with its whole chain of sources, if it is one.
    fn show_failure<T>(&self, result: Result<T, state_redis::StateError>) {
        let Err(error) = result else { return };
        let mut next: Option<&dyn Error> = Some(&error);
        while let Some(error) = next {
            self.0.lock().extend_from_slice(format!("{error}\n{error:?}\n").as_bytes());
            next = error.source();
        }
    }

    fn assert_clean(&self) {
        let seen = String::from_utf8_lossy(&self.0.lock()).into_owned();
        assert!(seen.contains("connected") && seen.lines().count() > 200, "the logs were not captured");
        println!("{} bytes of logs, errors and metrics searched", seen.len());
        // Byte arrays are shown as lists of numbers, too.
        let numbers = format!("{:?}", &SECRET[..8]);
        let numbers = numbers.trim_matches(['[', ']']);
        for canary in ["c4nary", &base64("c4nary")[..], numbers] {
            let found = seen.lines().find(|line| line.contains(canary));
            assert!(found.is_none(), "{canary} in: {}", found.unwrap_or_default());
        }
    }
}

/// Without the last group, which depends on what follows.
fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |group: &[u8]| {
        let bits = group.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63]))
    };
    text.as_bytes().chunks_exact(3).flat_map(digits).collect()
}

#[tokio::test]
async fn nothing_secret_is_shown_logged_or_exported() {
    let seen = Seen::default();
    // Other tests of this process log into the same buffer, which only adds to what is searched.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(seen.clone())
        .finish()
        .try_init()
        .expect("no other subscriber");
    let rule = format!("user {USER} on >{PASSWORD} ~* &* +@all");
    let server = ServerConfig::default().with_acl(rule).start().await;
    let url = format!("redis://{USER}:{PASSWORD}@{}", server.address());
    let nodes = independent_masters(3).await;
    let builder = RedisConfig::builder()
        .url(url)
        .credentials(Credentials::user(USER, PASSWORD))
        .command_timeout(ms(300))
        .compression(CompressionAlgorithm::Lz4)
        .encryption_keys(KeyRing::new(EncryptionKey::new(7, Cipher::default(), SECRET)))
        .slow_query_log(true, ms(0))
        .hot_keys(HotKeysConfig::default().with_sample_one_in(1_u32))
        .fallback(Arc::new(MemoryBackend::new()) as Arc<dyn StateBackend>)
        .redlock_nodes(nodes.iter().map(|node| format!("redis://:{PASSWORD}@{}", node.address())));
    seen.show(&builder);
    let config = builder.build().expect("valid settings");
    seen.show(&config);
    let backend = RedisBackend::new(config).await.expect("a connection");
    let prometheus = Prometheus::new(Naming::Prometheus).expect("a recorder");
    backend.metrics().expect("metrics are enabled").bind(prometheus.recorder());
    good_times(&backend, &seen).await;
    seen.show(&backend.locks().await.err());
    server.freeze();
    good_times(&backend, &seen).await;
    server.thaw();
    server.kill();
    good_times(&backend, &seen).await;
    report(&backend, &prometheus, &seen).await;
    refusals(&seen).await;
    backend.close().await;
    good_times(&backend, &seen).await;
    seen.assert_clean();
}

/// Operations of all sorts, and some that fail in good times too.
async fn good_times(backend: &RedisBackend, seen: &Seen) {
    let (key, value) = (KEY.as_bytes(), VALUE.as_bytes());
    seen.show_failure(backend.put(key, value).await);
    seen.show_failure(backend.get(key).await);
    seen.show_failure(backend.compare_and_swap(key, Some(value), Some(value)).await);
    seen.show_failure(backend.increment(key, 1).await);
    seen.show_failure(backend.put(&[key, &[0; 100_000]].concat(), value).await);
    seen.show_failure(backend.put_with_ttl(key, value, ms(0)).await);
    for result in backend.batch_put(&[PutItem::new(key, value), PutItem::new(b"", value)]).await {
        seen.show_failure(result);
    }
    seen.show_failure(backend.list_keys(key).await);
    let script = format!("return redis.error_reply('ERR {VALUE}')");
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(0);
    seen.show_failure(backend.command(&command, state_redis::Idempotency::Unsafe).await);
    let mut command = redis::cmd("INCRBY");
    command.arg("c4nary").arg(VALUE);
    seen.show_failure(backend.command(&command, state_redis::Idempotency::Unsafe).await);
    seen.show_failure(backend.acquire_lock(KEY, ms(1)).await);
    seen.show_failure(backend.try_acquire_lock(KEY, ms(500)).await);
}

async fn report(backend: &RedisBackend, prometheus: &Prometheus, seen: &Seen) {
    seen.show(backend);
    seen.show(&backend.stats().await);
    seen.show(&backend.slow_operations());
    seen.show(&backend.hot_keys());
    seen.show(&backend.metrics());
    seen.show(&backend.health().expect("one server"));
    assert!(!backend.slow_operations().is_empty() && !backend.hot_keys().is_empty());
    seen.0.lock().extend_from_slice(prometheus.render().as_bytes());
}

/// Settings that are refused.
async fn refusals(seen: &Seen) {
    for url in [
        format!("redis://{USER}:{PASSWORD}@host:port"),
        format!("redis://{PASSWORD}@host"),
        format!("redis://host?{USER}={PASSWORD}"),
        PASSWORD.to_owned(),
    ] {
        seen.show_failure(RedisConfig::builder().url(&url).build());
        seen.show_failure(RedisConfig::builder().redlock_nodes([&url, &url, &url]).build());
        seen.show_failure(state_redis::open(&url).await);
    }
    let nobody = format!("redis://{USER}:{PASSWORD}@127.0.0.1:{}", Port::reserve().number());
    let config = RedisConfig::builder().url(nobody).connect_timeout(ms(100)).build().expect("valid settings");
    seen.show_failure(RedisBackend::new(config).await);
}
