//! What is transferred: entries that follow from their number, so that any process can check each byte.

use std::time::{Duration, Instant};

use futures_util::stream::TryStreamExt;
use state_redis::{
    Expiry, MemoryBackend, PutItem, RedisBackend, RedisConfig, ScanOptions, StateBackend, Ttl,
};

const HOUR: Duration = Duration::from_secs(3_600);
/// How much later than its fill a test may check TTLs.
const SLACK: Duration = Duration::from_secs(600);

/// How many entries are transferred.
pub(crate) fn size() -> u64 {
    let is_long = std::env::var_os("STATE_REDIS_LONG").is_some_and(|value| value == "1");
    if is_long { 1_000_000 } else { 100_000 }
}

/// The bytes of all keys and values.
pub(crate) fn bytes() -> u64 {
    (0..size()).map(|n| (key(n).len() + value_len(n)) as u64).sum()
}

/// A backend on the servers behind `url`.
pub(crate) async fn open(url: &str) -> RedisBackend {
    // A cluster waits this long, twice, for a master that was killed; a request takes a fraction of a second.
    let config = RedisConfig::builder().url(url).command_timeout(Duration::from_secs(6));
    RedisBackend::new(config.build().expect("valid settings")).await.expect("a connection")
}

/// All entries, in memory.
pub(crate) async fn in_memory() -> MemoryBackend {
    let memory = MemoryBackend::new();
    fill(&memory).await;
    memory
}

/// Stores all entries in `backend`.
pub(crate) async fn fill(backend: &dyn StateBackend) {
    let numbers: Vec<u64> = (0..size()).collect();
    for numbers in numbers.chunks(1_000) {
        let entries: Vec<_> = numbers.iter().map(|&n| (key(n), value(n), ttl(n))).collect();
        let items: Vec<_> =
            entries.iter().map(|(key, value, ttl)| PutItem::new(key, value).with_ttl(*ttl)).collect();
        for result in backend.batch_put(&items).await {
            result.expect("an entry is stored");
        }
    }
}

/// Checks that `backend` holds all entries, each byte and each TTL, and nothing else.
pub(crate) async fn assert_whole(backend: &dyn StateBackend) {
    let since = Instant::now();
    let mut seen = vec![false; size() as usize];
    let mut entries = backend.scan_entries(b"", ScanOptions::default());
    while let Some(entry) = entries.try_next().await.expect("the entries can be read") {
        let n = number(&entry.key);
        assert!(!std::mem::replace(&mut seen[n as usize], true), "entry {n} came twice");
        assert!(entry.value == value(n), "entry {n} has another value");
        let is_right = match (entry.ttl, ttl(n)) {
            (Some(left), Ttl::After(ttl)) => left <= ttl && left + SLACK >= ttl,
            (None, Ttl::Never) => true,
            _ => false,
        };
        assert!(is_right, "entry {n} expires after {:?}, not {:?}", entry.ttl, ttl(n));
    }
    let missing = seen.iter().filter(|seen| !**seen).count();
    assert_eq!(missing, 0, "entries are missing");
    assert_eq!(backend.ttl(&key(1)).await.expect("a TTL"), Expiry::Never);
    println!("{} entries checked in {:.1} s", size(), since.elapsed().as_secs_f64());
}

fn key(n: u64) -> Vec<u8> {
    format!("entry:{n}").into_bytes()
}

fn number(key: &[u8]) -> u64 {
    let number = std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix("entry:")?.parse().ok());
    number.filter(|&n| n < size()).unwrap_or_else(|| panic!("a key that was never stored: {key:?}"))
}

/// 200 to 1,199 bytes, and 64 KiB in one of a thousand.
fn value_len(n: u64) -> usize {
    if n.is_multiple_of(1_000) { 65_536 } else { 200 + (n * 7_919 % 1_000) as usize }
}

fn value(n: u64) -> Vec<u8> {
    let mut value = vec![n as u8; value_len(n)];
    value[..8].copy_from_slice(&n.to_be_bytes());
    value
}

/// Every third entry expires, each at another time.
fn ttl(n: u64) -> Ttl {
    if n.is_multiple_of(3) { Ttl::After(HOUR + Duration::from_millis(n)) } else { Ttl::Never }
}
