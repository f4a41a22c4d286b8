//! A snapshot to a file, changes, and the way back.

use std::time::Instant;

use state_core::{RestoreMode, StateBackend, StateBackendExt, TransferOptions};

use crate::{
    Result, explain,
    files::File,
    screen::Screen,
    table::{Row, Table, size},
    transfer::read_in_batches,
};

/// Takes a snapshot, removes a third of the files, changes another third, adds a key, restores, and verifies
/// all.
pub(crate) async fn there_and_back(
    screen: &Screen,
    state: &dyn StateBackend,
    files: &[File],
    table: &mut Table,
) -> Result {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("demo.snapshot");

    let (mut row, since) = (Row::start("snapshot, an entry"), Instant::now());
    let taken = state.snapshot_to_file(&path, &TransferOptions::default()).await.map_err(explain)?;
    row.call(since, taken.entries as usize, taken.bytes);
    table.push(row);

    for (index, file) in files.iter().enumerate() {
        match index % 3 {
            0 => state.delete(&file.key).await.map_err(explain)?,
            1 => state.put(&file.key, b"changed").await.map_err(explain)?,
            _ => {}
        }
    }
    state.put(b"demo:added", b"after the snapshot").await.map_err(explain)?;

    let (mut row, since) = (Row::start("restore, an entry"), Instant::now());
    let options = TransferOptions::default();
    let restored = state.restore_from_file(&path, RestoreMode::Replace, &options).await.map_err(explain)?;
    row.call(since, restored.entries as usize, restored.bytes);
    table.push(row);

    read_in_batches(screen, state, files).await?;
    let count = state.count().await.map_err(explain)?;
    if count != files.len() {
        return Err(format!("{count} keys after the restore, not {}", files.len()));
    }
    let file = tokio::fs::metadata(&path).await.map_err(|error| error.to_string())?;
    let (entries, bytes) = (taken.entries, size(file.len()));
    screen.say(&format!("snapshot: {entries} entries, {bytes}; restored after changes, every byte the same"));
    Ok(())
}
