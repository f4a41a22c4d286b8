//! Storing a stream of entries in a backend.

use futures_util::stream::{Stream, TryStreamExt};

use crate::transfer::{Existing, Progress, RestoreMode, TransferOptions, TransferReport};
use crate::{Entry, Fingerprints, PutItem, StateBackend, StateResult, Ttl, check_scan};

const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Where entries go, and what becomes of what is there already.
pub(crate) struct Target<'a> {
    backend: Backend<'a>,
    mode: RestoreMode,
    options: &'a TransferOptions,
}

// A type-erased reference would need `B: Sized`; boxing it by reference keeps `dyn` backends possible.
type Backend<'a> = Box<dyn StateBackend + 'a>;

impl<'a> Target<'a> {
    pub(crate) fn new<B: StateBackend + ?Sized>(
        backend: &'a B,
        mode: RestoreMode,
        options: &'a TransferOptions,
    ) -> Self {
        Self { backend: Box::new(backend), mode, options }
    }

    /// Stores `items`, and tells of each whether it was stored.
    async fn put(&self, items: &[PutItem<'_>]) -> StateResult<Vec<bool>> {
        match self.options.existing {
            Existing::Keep => self.backend.batch_put_if_absent(items).await.into_iter().collect(),
            Existing::Overwrite => {
                let results = self.backend.batch_put(items).await;
                results.into_iter().map(|result| result.map(|()| true)).collect()
            }
        }
    }
}

/// Counts what went through.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) report: TransferReport,
}

impl Tally {
    pub(super) fn add(&mut self, entry: &Entry) {
        self.report.entries += 1;
        self.report.bytes += (entry.key.len() + entry.value.len()) as u64;
    }

    pub(super) fn progress(&self) -> Progress {
        Progress { entries: self.report.entries, bytes: self.report.bytes }
    }
}

/// Stores `entries` in `target`.
pub(crate) async fn store(
    entries: impl Stream<Item = StateResult<Entry>> + Unpin,
    target: Target<'_>,
) -> StateResult<TransferReport> {
    check_scan(target.options.scan)?;
    let mut entries = entries;
    let mut tally = Tally::default();
    let mut kept = Fingerprints::new();
    let present = present_keys(&target).await?;
    let mut batch = Batch::default();
    while let Some(entry) = entries.try_next().await? {
        if !entry.key.starts_with(&target.options.prefix) {
            continue;
        }
        if entry.ttl.is_some_and(|ttl| ttl.is_zero()) {
            tally.report.expired += 1;
            continue;
        }
        if target.mode == RestoreMode::Replace {
            kept.insert(&entry.key);
        }
        if present.contains(&entry.key) {
            tally.report.present += 1;
            continue;
        }
        batch.push(entry);
        if batch.is_full(target.options) {
            batch.store(&target, &mut tally).await?;
        }
    }
    batch.store(&target, &mut tally).await?;
    if target.mode == RestoreMode::Replace {
        tally.report.removed = remove_others(&target, &kept).await?;
    }
    Ok(tally.report)
}

/// The keys of `target` that need not be sent: where they stay as they are, all that it holds.
async fn present_keys(target: &Target<'_>) -> StateResult<Fingerprints> {
    let mut present = Fingerprints::new();
    if target.options.existing == Existing::Keep {
        let mut keys = target.backend.scan(&target.options.prefix, target.options.scan);
        while let Some(key) = keys.try_next().await? {
            present.insert(&key);
        }
    }
    Ok(present)
}

/// Removes the keys of `target` that are not in `kept`.
async fn remove_others(target: &Target<'_>, kept: &Fingerprints) -> StateResult<u64> {
    let options = target.options.scan;
    let mut pages = target.backend.scan(&target.options.prefix, options).try_chunks(options.page_size);
    let mut removed = 0;
    while let Some(page) = pages.try_next().await.map_err(|chunk_error| chunk_error.1)? {
        let others: Vec<&[u8]> = page.iter().filter(|key| !kept.contains(key)).map(Vec::as_slice).collect();
        for result in target.backend.batch_delete(&others).await {
            result?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, entry: Entry) {
        self.bytes += entry.key.len() + entry.value.len();
        self.entries.push(entry);
    }

    fn is_full(&self, options: &TransferOptions) -> bool {
        self.entries.len() >= options.scan.page_size || self.bytes >= BATCH_BYTES
    }

    async fn store(&mut self, target: &Target<'_>, tally: &mut Tally) -> StateResult<()> {
        let items: Vec<_> = self.entries.iter().map(item).collect();
        let stored = target.put(&items).await?;
        for (entry, stored) in self.entries.drain(..).zip(stored) {
            match stored {
                true => tally.add(&entry),
                // Somebody wrote it since the target's keys were listed.
                false => tally.report.present += 1,
            }
        }
        self.bytes = 0;
        target.options.report(tally.progress());
        Ok(())
    }
}

fn item(entry: &Entry) -> PutItem<'_> {
    let ttl = entry.ttl.map_or(Ttl::Never, Ttl::After);
    PutItem::new(&entry.key, &entry.value).with_ttl(ttl)
}
