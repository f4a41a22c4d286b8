//! What else the contract offers: expiry, compare-and-swap, increment, scan.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{TryStreamExt, future::try_join_all};
use integration_tests::eventually;
use state_core::{CasOutcome, Expiry, ScanOptions, StateBackend, StateBackendExt, StateError};

use crate::{
    Result, explain,
    files::File,
    screen::Screen,
    table::{Row, Table},
};

const TASKS: usize = 16;
const SWAPS_EACH: usize = 20;
const INCREMENTS_EACH: usize = 100;

/// A key with 400 ms to live is there, then it is gone: for reads, for `contains` and for `count`.
pub(crate) async fn expiry(screen: &Screen, state: &dyn StateBackend, files: usize) -> Result {
    let (key, ttl) = (b"demo:expiring", Duration::from_millis(400));
    let since = Instant::now();
    state.put_with_ttl(key, b"for a moment", ttl).await.map_err(explain)?;
    match state.ttl(key).await.map_err(explain)? {
        Expiry::After(left) if left <= ttl => {}
        // A machine that was busy for so long has missed the moment; what must not happen is a key that
        // stays.
        Expiry::Absent if since.elapsed() >= ttl => {}
        other => return Err(format!("a key stored for {ttl:?} has this expiry: {other:?}")),
    }
    let gone = async || match state.contains(key).await {
        Ok(false) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    eventually("the key has expired", Duration::from_secs(10), gone).await;
    let lived = since.elapsed();
    let count = state.count().await.map_err(explain)?;
    if lived < ttl || state.get(key).await.map_err(explain)?.is_some() || count != files {
        return Err(format!(
            "a key stored for {ttl:?} lived {lived:?}, and {count} keys are counted, not {files}"
        ));
    }
    screen.say(&format!("expiry: a key stored for {ttl:?} was gone after {}", crate::table::time(lived)));
    Ok(())
}

/// Tasks that read, change and swap the same value lose no update.
pub(crate) async fn swaps(screen: &Screen, state: &Arc<dyn StateBackend>, table: &mut Table) -> Result {
    let mut row = Row::start("compare and swap");
    let tasks = (0..TASKS).map(|_| tokio::spawn(swap_repeatedly(Arc::clone(state))));
    let mut lost = 0;
    for task in try_join_all(tasks).await.map_err(|error| error.to_string())? {
        let (calls, races) = task.map_err(explain)?;
        row.calls(calls);
        lost += races;
    }
    table.push(row);
    let expected = (TASKS * SWAPS_EACH).to_string();
    let found = state.get_and_delete(b"demo:swapped").await.map_err(explain)?;
    if found.as_deref() != Some(expected.as_bytes()) {
        return Err(format!("after {expected} swaps the value is {found:?}"));
    }
    screen.say(&format!(
        "compare and swap: {expected} changes by {TASKS} tasks, {lost} lost races, no lost update"
    ));
    Ok(())
}

/// Counts up by compare-and-swap. Returns how long each call took, and how many races were lost.
async fn swap_repeatedly(
    state: Arc<dyn StateBackend>,
) -> std::result::Result<(Vec<Duration>, usize), StateError> {
    let (mut calls, mut lost) = (Vec::new(), 0);
    let mut current: Option<Vec<u8>> = state.get(b"demo:swapped").await?;
    while calls.len() - lost < SWAPS_EACH {
        let number: u64 =
            current.as_deref().and_then(|text| str::from_utf8(text).ok()?.parse().ok()).unwrap_or(0);
        let next = (number + 1).to_string().into_bytes();
        let since = Instant::now();
        let outcome = state.compare_and_swap(b"demo:swapped", current.as_deref(), Some(&next)).await?;
        calls.push(since.elapsed());
        current = match outcome {
            CasOutcome::Swapped => Some(next),
            CasOutcome::Mismatch { current } => {
                lost += 1;
                current
            }
        };
    }
    Ok((calls, lost))
}

/// Tasks that increment the same counter lose no increment.
pub(crate) async fn increments(screen: &Screen, state: &Arc<dyn StateBackend>, table: &mut Table) -> Result {
    let mut row = Row::start("increment");
    let tasks = (0..TASKS).map(|_| {
        let state = Arc::clone(state);
        tokio::spawn(async move {
            let mut calls = Vec::new();
            for _ in 0..INCREMENTS_EACH {
                let since = Instant::now();
                state.increment(b"demo:counter", 1).await?;
                calls.push(since.elapsed());
            }
            Ok::<_, StateError>(calls)
        })
    });
    for task in try_join_all(tasks).await.map_err(|error| error.to_string())? {
        row.calls(task.map_err(explain)?);
    }
    table.push(row);
    let expected = (TASKS * INCREMENTS_EACH) as i64;
    let found = state.increment(b"demo:counter", 0).await.map_err(explain)?;
    state.delete(b"demo:counter").await.map_err(explain)?;
    if found != expected {
        return Err(format!("after {expected} increments the counter is {found}"));
    }
    screen.say(&format!("increment: {expected} by {TASKS} tasks, none lost"));
    Ok(())
}

/// A scan yields every key once.
pub(crate) async fn scan(
    screen: &Screen,
    state: &dyn StateBackend,
    files: &[File],
    table: &mut Table,
) -> Result {
    let mut row = Row::start("scan, a key");
    let mut stream = state.scan(b"", ScanOptions::default().with_page_size(100));
    let (mut seen, mut since) = (HashSet::new(), Instant::now());
    while let Some(key) = stream.try_next().await.map_err(explain)? {
        row.call(since, 1, 0);
        if !seen.insert(key) {
            return Err("a scan yielded a key twice".to_owned());
        }
        since = Instant::now();
    }
    table.push(row);
    let stored: HashSet<Vec<u8>> = files.iter().map(|file| file.key.clone()).collect();
    if seen != stored {
        return Err(format!("a scan yielded {} keys, and not the {} stored ones", seen.len(), stored.len()));
    }
    screen.say(&format!("scan: {} keys, each once", seen.len()));
    Ok(())
}
