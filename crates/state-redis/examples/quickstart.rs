//! Quickstart: what everybody needs, on one server.
//!
//! `cargo run -p state-redis --example quickstart`, with a server on localhost or the one that `REDIS_URL` names.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use state_redis::{
    CompressionAlgorithm, RedisBackend, RedisConfig, StateBackend, StateBackendExt, StateResult, Ttl,
};

#[tokio::main]
async fn main() -> StateResult<()> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://localhost:6379".to_owned());
    let config = RedisConfig::builder()
        .url(url)
        .key_prefix("example:quickstart:")
        .default_ttl(Duration::from_secs(3_600))
        .compression(CompressionAlgorithm::Lz4)
        .build()?;
    let state = RedisBackend::new(config).await?;

    state.put(b"greeting", b"hello").await?;
    println!("a value: {}", text(state.get(b"greeting").await?));
    state.put_with_ttl(b"moment", b"soon gone", Duration::from_millis(1_500)).await?;
    println!("a value that expires: {:?}", state.ttl(b"moment").await?);

    println!("a counter: {}", state.increment(b"visits", 1).await?);
    let first = state.put_if_absent(b"event:17", b"", Ttl::Default).await?;
    let again = state.put_if_absent(b"event:17", b"", Ttl::Default).await?;
    println!("an event is new the first time: {first}, and not again: {again}");
    // Read, change and swap, from the beginning when somebody else was faster.
    let now = state.update(b"greeting", |old| old.map(|text| [text, b", world"].concat())).await?;
    println!("a change that loses no other: {}", text(now));

    let pairs: [(&[u8], &[u8]); 2] = [(b"user:1", b"Ada"), (b"user:2", b"Grace")];
    state.batch_put_optimized(&pairs).await?;
    let mut users = state.list_keys(b"user:").await?;
    users.sort();
    let keys: Vec<&[u8]> = users.iter().map(Vec::as_slice).collect();
    for (key, value) in keys.iter().zip(state.batch_get_optimized(&keys).await?) {
        println!("one request for all users: {} is {}", String::from_utf8_lossy(key), text(value));
    }

    state.put(b"report", &b"all is well; ".repeat(1_000)).await?;
    let stats = state.stats().await;
    println!("13,000 bytes take {} after compression", stats.bytes_compressed);
    println!(
        "{} operations, {} failed, {} us each",
        stats.operations_total, stats.operations_failed, stats.avg_latency_us
    );

    println!("{} keys, and after clear() {}", state.count().await?, cleared(&state).await?);
    state.close().await;
    Ok(())
}

/// Removes what stands under the prefix, and nothing else of the server.
async fn cleared(state: &RedisBackend) -> StateResult<usize> {
    state.clear().await?;
    state.count().await
}

fn text(value: Option<Vec<u8>>) -> String {
    value.map_or_else(|| "(absent)".to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}
