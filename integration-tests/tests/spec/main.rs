//! The specification's code blocks and the scenarios of the original's tests, on real servers.
//!
//! `blocks.md` holds the blocks word for word, `blocks.rs` and `usage.rs` run them on a single server, behind sentinels and on a
//! cluster. What differs between the two is in [`SUBSTITUTIONS`] and nowhere else; the module `words` checks that.

use std::time::Duration;

/// What is replaced in the blocks, and by what.
const SUBSTITUTIONS: &[(&str, &str)] = &[
    // The crate.
    ("processor::state", "state_redis"),
    // The servers.
    ("\"redis://localhost:6379\"", "urls.standalone"),
    ("\"redis://sentinel1:26379\"", "urls.sentinel1"),
    ("\"redis://sentinel2:26379\"", "urls.sentinel2"),
    ("\"redis://sentinel3:26379\"", "urls.sentinel3"),
    // `{ ... }`, filled in.
    ("RedisMode::Sentinel { ... }", "RedisMode::Sentinel { sentinels, service_name }"),
    // Arguments with names: Rust has none.
    ("min: 10,", "10,"),
    ("max: 100,", "100,"),
    ("timeout: Duration::from_secs(30)", "Duration::from_secs(30)"),
    ("max: 3,", "3,"),
    ("initial_delay: Duration", "Duration"),
    ("max_delay: Duration", "Duration"),
    ("jitter: 0.3", "0.3"),
    // Signatures, turned into calls that give what the signature says.
    (
        "backend.get(key: &[u8]) -> StateResult<Option<Vec<u8>>>;",
        "let got: StateResult<Option<Vec<u8>>> = backend.get(key).await;",
    ),
    (
        "backend.put(key: &[u8], value: &[u8]) -> StateResult<()>;",
        "let put: StateResult<()> = backend.put(key, value).await;",
    ),
    (
        "backend.delete(key: &[u8]) -> StateResult<()>;",
        "let deleted: StateResult<()> = backend.delete(key).await;",
    ),
    (
        "backend.list_keys(prefix: &[u8]) -> StateResult<Vec<Vec<u8>>>;",
        "let listed: StateResult<Vec<Vec<u8>>> = backend.list_keys(prefix).await;",
    ),
    ("backend.clear() -> StateResult<()>;", "let cleared: StateResult<()> = backend.clear().await;"),
    ("backend.count() -> StateResult<usize>;", "let counted: StateResult<usize> = backend.count().await;"),
    (
        "backend.contains(key: &[u8]) -> StateResult<bool>;",
        "let contained: StateResult<bool> = backend.contains(key).await;",
    ),
    (
        "backend.batch_get_optimized(keys: &[&[u8]]) -> StateResult<Vec<Option<Vec<u8>>>>;",
        "let values: StateResult<Vec<Option<Vec<u8>>>> = backend.batch_get_optimized(keys).await;",
    ),
    (
        "backend.batch_put_optimized(pairs: &[(&[u8], &[u8])]) -> StateResult<()>;",
        "let stored: StateResult<()> = backend.batch_put_optimized(pairs).await;",
    ),
    (
        "backend.acquire_lock(resource: &str, ttl: Duration) -> StateResult<RedlockGuard>;",
        "let held: StateResult<RedlockGuard> = backend.acquire_lock(resource, ttl).await;",
    ),
    (
        "backend.try_acquire_lock(resource: &str, ttl: Duration) -> StateResult<Option<RedlockGuard>>;",
        "let tried: StateResult<Option<RedlockGuard>> = backend.try_acquire_lock(resource, ttl).await;",
    ),
    (
        "backend.health_check() -> StateResult<bool>;",
        "let healthy: StateResult<bool> = backend.health_check().await;",
    ),
    ("backend.stats() -> BackendStats;", "let stats: BackendStats = backend.stats().await;"),
    (
        "backend.metrics() -> Option<Arc<RedisMetrics>>;",
        "let metrics: Option<Arc<RedisMetrics>> = backend.metrics();",
    ),
];

// The blocks, compiled and run, laid out as the specification lays them out.
#[rustfmt::skip]
mod blocks;
#[rustfmt::skip]
mod usage;
// Nothing but the substitutions differs.
mod words;

// What the original's tests did, seventeen scenarios.
mod scenarios;
// What it promised to be fast at, and by how much that is exceeded.
mod floors;
mod support;

/// Within what a test waits for what has to come.
const SOON: Duration = Duration::from_secs(30);
