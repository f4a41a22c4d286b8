//! Checkpoints: a worker that fails half way goes on behind what it had finished, from a snapshot of its state.
//!
//! `cargo run -p state-redis --example checkpoint` runs in memory; give it a URL, or set `REDIS_URL`, for a server.

use std::path::Path;
use std::sync::Arc;

use state_redis::core::{RestoreMode, TransferOptions};
use state_redis::{StateBackend, StateBackendExt, StateResult, open};

const RECORDS: u64 = 1_000;
const EVERY: u64 = 250;
const OFFSET: &[u8] = b"example:checkpoint:offset";
const SUM: &[u8] = b"example:checkpoint:sum";

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> StateResult<()> {
    let url = std::env::args().nth(1).or_else(|| std::env::var("REDIS_URL").ok());
    let state: Arc<dyn StateBackend> = open(url.as_deref().unwrap_or("memory:")).await?;
    let file = std::env::temp_dir().join(format!("example-{}.snapshot", std::process::id()));
    // Only this worker's keys are part of the checkpoint.
    let part = TransferOptions::default().with_prefix("example:checkpoint:");
    for key in [OFFSET, SUM] {
        state.delete(key).await?;
    }

    work(&*state, &file, &part, 0..620).await?;
    println!("failed at offset {} with sum {}", read(&*state, OFFSET).await?, read(&*state, SUM).await?);

    // What was done since the checkpoint is undone, so that doing it again counts nothing twice.
    let report = state.restore_from_file(&file, RestoreMode::Replace, &part).await?;
    let offset = read(&*state, OFFSET).await?;
    println!("restored {} entries: back at offset {offset}", report.entries);
    work(&*state, &file, &part, offset..RECORDS).await?;

    let sum = read(&*state, SUM).await?;
    println!("finished with sum {sum}");
    assert_eq!(sum, (0..RECORDS).sum::<u64>(), "each record counts once");
    for key in [OFFSET, SUM] {
        state.delete(key).await?;
    }
    if let Err(error) = std::fs::remove_file(&file) {
        println!("{} stays behind: {error}", file.display());
    }
    Ok(())
}

/// Adds up `records`, with a checkpoint after every 250th.
async fn work(
    state: &dyn StateBackend,
    file: &Path,
    part: &TransferOptions,
    records: std::ops::Range<u64>,
) -> StateResult<()> {
    for record in records {
        state.increment(SUM, record as i64).await?;
        state.increment(OFFSET, 1).await?;
        if (record + 1).is_multiple_of(EVERY) {
            state.snapshot_to_file(file, part).await?;
        }
    }
    Ok(())
}

/// The number under `key`: an increment by nothing reads it, and checks that it is one.
async fn read(state: &dyn StateBackend, key: &[u8]) -> StateResult<u64> {
    Ok(state.increment(key, 0).await?.unsigned_abs())
}
