//! Bringing stored records to the present version of their schema, all of them.

use futures_util::stream::StreamExt;
use state_core::{CasOutcome, ErrorKind, ScanOptions, StateBackend, StateResult};

use crate::typed::Typed;

/// What [`Typed::migrate`] found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migration {
    /// Records that were up to date.
    pub current: u64,
    /// Records that were written anew.
    pub rewritten: u64,
    /// Records that another writer changed or removed meanwhile; run the migration again to be sure of them.
    pub contended: u64,
    /// Records that this view cannot read: damaged, of another type, or of a version that it does not know. They were
    /// left as they are.
    pub unreadable: u64,
}

impl<T, B: StateBackend> Typed<T, B> {
    /// Writes the records whose keys begin with `prefix` as this view would write them today, so that the types of
    /// older schema versions may go once no program writes them and a run finds none.
    ///
    /// Each record is swapped for its new bytes and keeps its TTL; what another writer stored meanwhile stays. It may
    /// run beside everything else, and again after a failure.
    ///
    /// # Errors
    /// Those of [`scan_entries`](StateBackend::scan_entries) and [`compare_and_swap`](StateBackend::compare_and_swap),
    /// but for records that cannot be read: those are counted. `InvalidInput` when the format cannot express a record.
    pub async fn migrate(&self, prefix: &[u8], options: ScanOptions) -> StateResult<Migration> {
        self.format().check()?;
        let mut report = Migration::default();
        let mut entries = self.backend.scan_entries(prefix, options);
        while let Some(entry) = entries.next().await {
            let read = entry.and_then(|entry| Ok((self.decode(&entry.key, &entry.value)?, entry)));
            let (record, entry) = match read {
                Err(error) if is_of_one_record(error.kind()) => {
                    report.unreadable += 1;
                    continue;
                }
                read => read?,
            };
            let new = self.encode(&entry.key, &record)?;
            if new == entry.value {
                report.current += 1;
                continue;
            }
            match self.backend.compare_and_swap(&entry.key, Some(&entry.value), Some(&new)).await? {
                CasOutcome::Swapped => report.rewritten += 1,
                CasOutcome::Mismatch { .. } => report.contended += 1,
            }
        }
        Ok(report)
    }
}

fn is_of_one_record(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Corrupt | ErrorKind::WrongType | ErrorKind::Unsupported)
}
