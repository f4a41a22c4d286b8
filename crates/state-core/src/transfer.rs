//! Moving entries between backends and snapshots, a batch at a time.

use std::fmt;
use std::sync::Arc;

use futures_util::stream::{Stream, TryStreamExt};
use tokio::io::{AsyncRead, AsyncSeek, AsyncSeekExt, AsyncWrite};

use crate::transfer::format::{SnapshotReader, SnapshotWriter};
use crate::transfer::target::Tally;
use crate::{Entry, ScanOptions, StateResult};

pub(crate) mod file;
mod format;
mod target;

pub(crate) use crate::transfer::target::{Target, store};

/// What a snapshot, restore or copy covers and how it goes about it.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct TransferOptions {
    /// Only keys that begin with these bytes are read, written or removed. Default: empty, all keys.
    pub prefix: Vec<u8>,
    /// How many keys the scan looks at in one step, and how many entries are stored in one batch, which is closed
    /// earlier once it holds 4 MiB. Default: that of [`ScanOptions`].
    pub scan: ScanOptions,
    /// What becomes of keys that are in the source and already in the target of a restore or copy. Default:
    /// [`Existing::Overwrite`].
    pub existing: Existing,
    progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
}

impl TransferOptions {
    /// The same options for the keys that begin with `prefix`.
    #[must_use]
    pub fn with_prefix(self, prefix: impl Into<Vec<u8>>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// The same options with `scan`.
    #[must_use]
    pub fn with_scan(self, scan: ScanOptions) -> Self {
        Self { scan, ..self }
    }

    /// The same options with `existing`.
    #[must_use]
    pub fn with_existing(self, existing: Existing) -> Self {
        Self { existing, ..self }
    }

    /// The same options with a callback, called after each batch and at the end.
    #[must_use]
    pub fn with_progress(self, progress: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self { progress: Some(Arc::new(progress)), ..self }
    }

    fn report(&self, progress: Progress) {
        if let Some(callback) = &self.progress {
            callback(progress);
        }
    }
}

impl fmt::Debug for TransferOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransferOptions")
            .field("prefix_len", &self.prefix.len())
            .field("scan", &self.scan)
            .field("existing", &self.existing)
            .finish_non_exhaustive()
    }
}

/// How far a transfer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Entries transferred so far.
    pub entries: u64,
    /// Bytes of keys and values transferred so far.
    pub bytes: u64,
}

/// What becomes of the keys that are in the target and not in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreMode {
    /// They are removed, after all entries are stored: at no moment is the target emptier than before and after.
    Replace,
    /// They stay.
    Merge,
}

/// What becomes of the keys that are in the source and already in the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// They get the source's value and TTL.
    #[default]
    Overwrite,
    /// They stay as they are, and their values are not sent. This resumes a transfer that was cut short, whoever died:
    /// what the target holds is asked of the target. It brings over the same as one that was not, provided that the
    /// target held none of the keys before the first attempt; where it may have, repeat with
    /// [`Overwrite`](Self::Overwrite).
    Keep,
}

/// What a transfer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferReport {
    /// Entries written.
    pub entries: u64,
    /// Bytes of keys and values written.
    pub bytes: u64,
    /// Entries left out because they had expired.
    pub expired: u64,
    /// Entries left out because their keys were in the target already, with [`Existing::Keep`].
    pub present: u64,
    /// Keys removed from the target by [`RestoreMode::Replace`].
    pub removed: u64,
}

/// Writes `entries` as a snapshot.
pub(crate) async fn write<W>(
    entries: impl Stream<Item = StateResult<Entry>> + Unpin,
    writer: &mut W,
    options: &TransferOptions,
) -> StateResult<TransferReport>
where
    W: AsyncWrite + Unpin + Send,
{
    let mut entries = entries;
    let mut snapshot = SnapshotWriter::begin(writer).await?;
    let mut tally = Tally::default();
    while let Some(entry) = entries.try_next().await? {
        snapshot.write(&entry).await?;
        tally.add(&entry);
        if tally.report.entries.is_multiple_of(options.scan.page_size as u64) {
            options.report(tally.progress());
        }
    }
    snapshot.finish().await?;
    options.report(tally.progress());
    Ok(tally.report)
}

/// Verifies the snapshot in `reader` from its beginning to its end, then stores its entries in `target`.
pub(crate) async fn read<R>(reader: &mut R, target: Target<'_>) -> StateResult<TransferReport>
where
    R: AsyncRead + AsyncSeek + Unpin + Send,
{
    let mut verified = SnapshotReader::open(rewind(reader).await?).await?;
    while verified.next().await?.is_some() {}
    let snapshot = SnapshotReader::open(rewind(reader).await?).await?;
    store(Box::pin(snapshot.into_entries()), target).await
}

async fn rewind<R: AsyncSeek + Unpin>(reader: &mut R) -> StateResult<&mut R> {
    reader.rewind().await.map_err(|error| file::failed("rewind", error))?;
    Ok(reader)
}
