//! All files in, all files out: one by one, and in batches.

use std::time::Instant;

use state_core::{PutItem, StateBackend};

use crate::{
    Result, explain,
    files::File,
    screen::Screen,
    table::{Row, Table},
};

/// How many operations go into one batch, and how many bytes at most; a larger file goes alone.
const BATCH_OPERATIONS: usize = 100;
const BATCH_BYTES: u64 = 1_000_000;

const PUT: &str = "put";
const GET: &str = "get";

/// Stores and reads each file with a call of its own.
pub(crate) async fn one_by_one(
    screen: &Screen,
    state: &dyn StateBackend,
    files: &[File],
    table: &mut Table,
) -> Result {
    let (mut row, bar) = (Row::start(PUT), screen.bar("storing one by one", files.len()));
    for file in files {
        let since = Instant::now();
        state.put(&file.key, &file.content).await.map_err(explain)?;
        row.call(since, 1, file.size());
        bar.advance(1);
    }
    table.push(row);
    drop(bar);

    let (mut row, bar) = (Row::start(GET), screen.bar("reading one by one", files.len()));
    for file in files {
        let since = Instant::now();
        let found = state.get(&file.key).await.map_err(explain)?;
        row.call(since, 1, file.size());
        verify(file, found.as_deref())?;
        bar.advance(1);
    }
    table.push(row);
    drop(bar);
    screen.say(&format!("one by one: {} files stored, read back, every byte the same", files.len()));
    Ok(())
}

/// Removes everything, and stores and reads the files again in batches.
pub(crate) async fn batched(
    screen: &Screen,
    state: &dyn StateBackend,
    files: &[File],
    table: &mut Table,
) -> Result {
    state.clear().await.map_err(explain)?;
    match state.count().await.map_err(explain)? {
        0 => {}
        left => return Err(format!("{left} keys are left after clear()")),
    }

    let (mut row, bar) = (Row::start("put in batches"), screen.bar("storing in batches", files.len()));
    for batch in batches(files) {
        let items: Vec<PutItem<'_>> =
            batch.iter().map(|file| PutItem::new(&file.key, &file.content)).collect();
        let since = Instant::now();
        let results = state.batch_put(&items).await;
        row.call(since, batch.len(), batch.iter().map(File::size).sum());
        results.into_iter().collect::<std::result::Result<(), _>>().map_err(explain)?;
        bar.advance(batch.len());
    }
    table.push_compared(row, PUT);
    drop(bar);

    let row = read_in_batches(screen, state, files).await?;
    table.push_compared(row, GET);
    screen.say(&format!("in batches: {} files stored, read back, every byte the same", files.len()));
    Ok(())
}

/// Reads all files in batches and compares every byte.
pub(crate) async fn read_in_batches(
    screen: &Screen,
    state: &dyn StateBackend,
    files: &[File],
) -> Result<Row> {
    let (mut row, bar) = (Row::start("get in batches"), screen.bar("reading in batches", files.len()));
    for batch in batches(files) {
        let keys: Vec<&[u8]> = batch.iter().map(|file| file.key.as_slice()).collect();
        let since = Instant::now();
        let results = state.batch_get(&keys).await;
        row.call(since, batch.len(), batch.iter().map(File::size).sum());
        if results.len() != batch.len() {
            return Err(format!("{} results for {} keys", results.len(), batch.len()));
        }
        for (file, found) in batch.iter().zip(results) {
            verify(file, found.map_err(explain)?.as_deref())?;
        }
        bar.advance(batch.len());
    }
    Ok(row)
}

pub(crate) fn verify(file: &File, found: Option<&[u8]>) -> Result {
    match found {
        Some(content) if content == file.content => Ok(()),
        Some(content) => {
            let place = content.iter().zip(&file.content).position(|(found, stored)| found != stored);
            let place = place.unwrap_or_else(|| content.len().min(file.content.len()));
            Err(format!("{} came back different from byte {place} on", file.name()))
        }
        None => Err(format!("{} is not there", file.name())),
    }
}

pub(crate) fn batches(files: &[File]) -> Vec<&[File]> {
    let (mut batches, mut rest) = (Vec::new(), files);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |file: &&File| {
            bytes += file.size();
            bytes <= BATCH_BYTES
        };
        let length = rest.iter().take(BATCH_OPERATIONS).take_while(fits).count();
        let (batch, others) = rest.split_at(length.max(1));
        batches.push(batch);
        rest = others;
    }
    batches
}
