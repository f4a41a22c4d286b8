//! Deduplication: of each event, however often and to however many processors it is delivered, one is processed.
//!
//! `cargo run -p state-redis --example dedup` runs in memory; give it a URL, or set `REDIS_URL`, for a server.

use std::sync::Arc;
use std::time::Duration;

use state_redis::{PutItem, ScanOptions, StateBackend, StateResult, Ttl, open};

const EVENTS: u64 = 1_000;
const PROCESSORS: u64 = 4;
const BATCH: usize = 100;
/// For how long a repeated delivery is recognized.
const WINDOW: Ttl = Ttl::After(Duration::from_secs(600));

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> StateResult<()> {
    let url = std::env::args().nth(1).or_else(|| std::env::var("REDIS_URL").ok());
    let state: Arc<dyn StateBackend> = open(url.as_deref().unwrap_or("memory:")).await?;

    // Every processor is delivered every event, each beginning elsewhere.
    let processors: Vec<_> = (0..PROCESSORS)
        .map(|n| {
            let events = (0..EVENTS).map(|event| (event + n * EVENTS / PROCESSORS) % EVENTS).collect();
            tokio::spawn(process(Arc::clone(&state), events))
        })
        .collect();
    let mut total = 0;
    for (n, processor) in processors.into_iter().enumerate() {
        let fresh = processor.await.expect("the task ran to its end")?;
        println!("processor {n}: {fresh} of {EVENTS} deliveries were new");
        total += fresh;
    }
    println!("{total} events processed out of {} deliveries", PROCESSORS * EVENTS);
    assert_eq!(total, EVENTS, "each event once");
    clean_up(&*state).await
}

/// Processes those of `events` that nobody has claimed before, and returns how many those were.
async fn process(state: Arc<dyn StateBackend>, events: Vec<u64>) -> StateResult<u64> {
    let mut fresh = 0;
    for batch in events.chunks(BATCH) {
        let keys: Vec<_> = batch.iter().map(|event| format!("example:dedup:{event}").into_bytes()).collect();
        let items: Vec<_> = keys.iter().map(|key| PutItem::new(key, b"").with_ttl(WINDOW)).collect();
        // One request for the whole batch. An ambiguous error leaves open who claimed the event: whether to process
        // it then, once too often or once too few, is for the application to say.
        for is_new in state.batch_put_if_absent(&items).await {
            fresh += u64::from(is_new?);
        }
    }
    Ok(fresh)
}

async fn clean_up(state: &dyn StateBackend) -> StateResult<()> {
    use futures_util::TryStreamExt as _;

    let mut pages = state.scan(b"example:dedup:", ScanOptions::default()).try_chunks(BATCH);
    while let Some(page) = pages.try_next().await.map_err(|cut_short| cut_short.1)? {
        let keys: Vec<_> = page.iter().map(Vec::as_slice).collect();
        for removed in state.batch_delete(&keys).await {
            removed?;
        }
    }
    Ok(())
}
