//! Cluster: batches, scans and atomic operations over all nodes, as on one server.
//!
//! `cargo run -p state-redis --example cluster`, with nodes on localhost from 7000 on, or those that `REDIS_URL` names.
//! `cargo xtask up cluster` starts some.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Instant;

use futures_util::{StreamExt, TryStreamExt};
use state_redis::{RedisBackend, RedisConfig, ScanOptions, StateBackend, StateResult};

const KEYS: usize = 3_000;

#[tokio::main]
async fn main() -> StateResult<()> {
    let url = std::env::var("REDIS_URL")
        .unwrap_or_else(|_| "redis+cluster://localhost:7000,localhost:7001,localhost:7002".to_owned());
    let config = RedisConfig::builder().url(url).key_prefix("example:cluster:").build()?;
    let state = RedisBackend::new(config).await?;

    // Keys of one batch live on all masters: it is split by node and put together again, one result a key.
    let keys: Vec<Vec<u8>> = (0..KEYS).map(|n| format!("item:{n}").into_bytes()).collect();
    let pairs: Vec<(&[u8], &[u8])> = keys.iter().map(|key| (key.as_slice(), &b"value"[..])).collect();
    let since = Instant::now();
    state.batch_put_optimized(&pairs).await?;
    println!("{KEYS} keys stored in a batch, over all masters, in {:?}", since.elapsed());

    let found = state.batch_get_optimized(&keys.iter().map(Vec::as_slice).collect::<Vec<_>>()).await?;
    println!("{} of them read in another", found.iter().flatten().count());

    // A scan walks all masters and yields each key once, even while slots move from one to another.
    let pages = state.scan(b"item:", ScanOptions::default()).try_chunks(500);
    let scanned =
        pages.map(|page| page.map_or(0, |page| page.len())).fold(0, async |sum, page| sum + page).await;
    println!("{scanned} keys scanned, {} counted", state.count().await?);

    println!("a counter on the node of its key: {}", state.increment(b"counter", 1).await?);
    let swapped = state.compare_and_swap(b"item:7", Some(b"value"), Some(b"another")).await?;
    println!("a swap on the node of its key: {swapped:?}");

    state.clear().await?;
    println!("{} keys after clear()", state.count().await?);
    state.close().await;
    Ok(())
}
