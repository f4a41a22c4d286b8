//! Comfort on top of the contract, for every backend: nothing here needs more than its methods.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite};

use crate::transfer::{self, file};
use crate::{
    CasOutcome, Condition, ErrorKind, KeyDigest, PutOptions, RestoreMode, StateBackend, StateError,
    StateResult, TransferOptions, TransferReport, Ttl,
};

// Each lost race means that another writer got on; so many in a row mean that something else is wrong.
const MAX_LOST_RACES: usize = 1_000;

/// What every [`StateBackend`] can do by way of its contract: shorthands, read-modify-write, snapshots, copies.
///
/// # Snapshots
/// A snapshot is not one moment: a key written while it is taken may be in it with its old or its new value.
/// Expiries are stored as points in time, so that time passed between snapshot and restore counts: an entry that
/// expired meanwhile is left out. Memory stays bounded: one batch of entries, 32 bytes for each key of the source when
/// a restore or copy replaces, and 32 bytes for each key of the target when it keeps what exists.
///
/// # Resuming
/// A snapshot that failed left no file: take it again. A restore or copy that failed, was dropped, or whose process or
/// server died left whole entries, each with its TTL, and removed nothing yet; run it again with the same mode. With
/// [`Existing::Keep`](crate::Existing::Keep) it does not send again what arrived.
pub trait StateBackendExt: StateBackend {
    /// Stores `value` for `ttl`.
    ///
    /// # Errors
    /// Those of [`put_with`](StateBackend::put_with).
    fn put_with_ttl(
        &self,
        key: &[u8],
        value: &[u8],
        ttl: Duration,
    ) -> impl Future<Output = StateResult<()>> + Send;

    /// Stores `value` if nothing stands under `key`, and tells whether it did.
    ///
    /// # Errors
    /// Those of [`put_with`](StateBackend::put_with).
    fn put_if_absent(
        &self,
        key: &[u8],
        value: &[u8],
        ttl: Ttl,
    ) -> impl Future<Output = StateResult<bool>> + Send;

    /// Replaces the value under `key` by what `change` makes of it, and returns the new value.
    ///
    /// `change` gets `None` when the key is absent and returns `None` to remove it; it runs again whenever another
    /// writer came first, so that no update is lost.
    ///
    /// # Errors
    /// Those of [`compare_and_swap`](StateBackend::compare_and_swap); `Conflict` after 1,000 lost races.
    fn update<F>(&self, key: &[u8], change: F) -> impl Future<Output = StateResult<Option<Vec<u8>>>> + Send
    where
        F: FnMut(Option<&[u8]>) -> Option<Vec<u8>> + Send;

    /// Writes a checksummed snapshot to `writer`.
    ///
    /// # Errors
    /// `Io` when writing fails; those of [`scan_entries`](StateBackend::scan_entries).
    fn snapshot_to<W>(
        &self,
        writer: &mut W,
        options: &TransferOptions,
    ) -> impl Future<Output = StateResult<TransferReport>> + Send
    where
        W: AsyncWrite + Unpin + Send;

    /// Stores the entries of a snapshot, after having read and verified it to its end.
    ///
    /// # Errors
    /// `Corrupt` when the snapshot is damaged, nothing was written then; `Io` when reading fails;
    /// those of [`batch_put`](StateBackend::batch_put), and with [`Existing::Keep`](crate::Existing::Keep) of
    /// [`scan`](StateBackend::scan).
    fn restore_from<R>(
        &self,
        reader: &mut R,
        mode: RestoreMode,
        options: &TransferOptions,
    ) -> impl Future<Output = StateResult<TransferReport>> + Send
    where
        R: AsyncRead + AsyncSeek + Unpin + Send;

    /// Writes a snapshot to the file at `path`, which appears there complete and synced to disk, or not at all.
    ///
    /// # Errors
    /// Those of [`snapshot_to`](Self::snapshot_to).
    fn snapshot_to_file(
        &self,
        path: impl AsRef<Path> + Send,
        options: &TransferOptions,
    ) -> impl Future<Output = StateResult<TransferReport>> + Send;

    /// Restores the snapshot in the file at `path`.
    ///
    /// # Errors
    /// Those of [`restore_from`](Self::restore_from).
    fn restore_from_file(
        &self,
        path: impl AsRef<Path> + Send,
        mode: RestoreMode,
        options: &TransferOptions,
    ) -> impl Future<Output = StateResult<TransferReport>> + Send;

    /// Copies the entries to `target`, TTLs included.
    ///
    /// # Errors
    /// Those of [`scan_entries`](StateBackend::scan_entries) and [`batch_put`](StateBackend::batch_put), and with
    /// [`Existing::Keep`](crate::Existing::Keep) of [`scan`](StateBackend::scan).
    fn copy_to(
        &self,
        target: &dyn StateBackend,
        mode: RestoreMode,
        options: &TransferOptions,
    ) -> impl Future<Output = StateResult<TransferReport>> + Send;
}

impl<B: StateBackend + ?Sized> StateBackendExt for B {
    async fn put_with_ttl(&self, key: &[u8], value: &[u8], ttl: Duration) -> StateResult<()> {
        self.put_with(key, value, PutOptions::default().with_ttl(Ttl::After(ttl))).await.map(|_stored| ())
    }

    async fn put_if_absent(&self, key: &[u8], value: &[u8], ttl: Ttl) -> StateResult<bool> {
        self.put_with(key, value, PutOptions { ttl, condition: Condition::IfAbsent }).await
    }

    async fn update<F>(&self, key: &[u8], mut change: F) -> StateResult<Option<Vec<u8>>>
    where
        F: FnMut(Option<&[u8]>) -> Option<Vec<u8>> + Send,
    {
        let mut current = self.get(key).await?;
        for _ in 0..MAX_LOST_RACES {
            let new = change(current.as_deref());
            match self.compare_and_swap(key, current.as_deref(), new.as_deref()).await? {
                CasOutcome::Swapped => return Ok(new),
                CasOutcome::Mismatch { current: newer } => current = newer,
            }
        }
        let context = format!("{MAX_LOST_RACES} other writers came first to {}", KeyDigest::of(key));
        Err(StateError::new(ErrorKind::Conflict, context))
    }

    async fn snapshot_to<W>(&self, writer: &mut W, options: &TransferOptions) -> StateResult<TransferReport>
    where
        W: AsyncWrite + Unpin + Send,
    {
        let entries = self.scan_entries(&options.prefix, options.scan);
        transfer::write(entries, writer, options).await
    }

    async fn restore_from<R>(
        &self,
        reader: &mut R,
        mode: RestoreMode,
        options: &TransferOptions,
    ) -> StateResult<TransferReport>
    where
        R: AsyncRead + AsyncSeek + Unpin + Send,
    {
        transfer::read(reader, transfer::Target::new(self, mode, options)).await
    }

    async fn snapshot_to_file(
        &self,
        path: impl AsRef<Path> + Send,
        options: &TransferOptions,
    ) -> StateResult<TransferReport> {
        let mut file = file::PendingFile::create(path.as_ref()).await?;
        let report = self.snapshot_to(file.writer(), options).await?;
        file.publish().await?;
        Ok(report)
    }

    async fn restore_from_file(
        &self,
        path: impl AsRef<Path> + Send,
        mode: RestoreMode,
        options: &TransferOptions,
    ) -> StateResult<TransferReport> {
        let mut reader = file::open(path.as_ref()).await?;
        self.restore_from(&mut reader, mode, options).await
    }

    async fn copy_to(
        &self,
        target: &dyn StateBackend,
        mode: RestoreMode,
        options: &TransferOptions,
    ) -> StateResult<TransferReport> {
        let entries = self.scan_entries(&options.prefix, options.scan);
        transfer::store(entries, transfer::Target::new(target, mode, options)).await
    }
}
