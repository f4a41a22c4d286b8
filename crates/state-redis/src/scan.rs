//! Scans, over one server or all masters of a cluster: escaped patterns, checked prefixes, each key once.

use std::collections::VecDeque;
use std::convert::identity;
use std::time::Duration;

use futures_util::future::ready;
use futures_util::stream::{self, StreamExt};
use redis::{Pipeline, Value};
use redis_conn::Scan;
use state_core::{
    Entry, EntryStream, Fingerprints, KeyStream, ScanOptions, StateResult, check_prefix, check_scan,
};

use crate::exec::{Door, Operation};
use crate::keyspace::Keyspace;
use crate::reply;
use crate::script::ENTRY;

// How much a scan of entries reads at a time, as far as the sizes it has seen tell what is coming.
const STEP_BYTES: usize = 4 * 1024 * 1024;
const FIRST_STEP: usize = 32;
const LONGEST_STEP: usize = 1_000;

/// The keys that begin with `prefix`.
pub(crate) fn keys<'a>(
    door: &'a Door,
    keyspace: &'a Keyspace,
    prefix: &[u8],
    options: ScanOptions,
) -> KeyStream<'a> {
    let scan = match Pages::new(door, keyspace, Operation::Scan, prefix, options) {
        Ok(pages) => KeyScan::new(pages),
        Err(error) => return stream::once(ready(Err(error))).boxed(),
    };
    let next = async |mut scan: KeyScan<'a>| Ok(scan.next().await?.map(|key| (key, scan)));
    stream::try_unfold(scan, next).boxed()
}

/// The entries whose keys begin with `prefix`.
pub(crate) fn entries<'a>(
    door: &'a Door,
    keyspace: &'a Keyspace,
    prefix: &[u8],
    options: ScanOptions,
) -> EntryStream<'a> {
    let scan = match Pages::new(door, keyspace, Operation::ScanEntries, prefix, options) {
        Ok(pages) => EntryScan::new(pages),
        Err(error) => return stream::once(ready(Err(error))).boxed(),
    };
    let next = async |mut scan: EntryScan<'a>| Ok(scan.next().await?.map(|entry| (entry, scan)));
    // An error of one entry is an item like others, one of the scan itself is the last.
    stream::try_unfold(scan, next).map(|item| item.and_then(identity)).boxed()
}

/// The keys of a namespace as the server hands them out, a page at a time; some may come twice.
pub(crate) struct Pages<'a> {
    door: &'a Door,
    keyspace: &'a Keyspace,
    operation: Operation,
    prefix: Vec<u8>,
    scan: Scan,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(
        door: &'a Door,
        keyspace: &'a Keyspace,
        operation: Operation,
        prefix: &[u8],
        options: ScanOptions,
    ) -> StateResult<Self> {
        check_prefix(prefix)?;
        check_scan(options)?;
        let pattern = keyspace.pattern(prefix);
        let walk = redis_conn::ScanOptions::default().with_pattern(pattern).with_page(options.page_size);
        Ok(Self { door, keyspace, operation, prefix: prefix.to_vec(), scan: door.scan(walk) })
    }

    /// The next page of the server's keys, `None` after the last.
    pub(crate) async fn next(&mut self) -> StateResult<Option<Vec<Vec<u8>>>> {
        let Some(mut keys) = self.door.page(self.operation, &mut self.scan).await? else { return Ok(None) };
        // The pattern is escaped; should a server read it otherwise, nothing outside of the namespace is touched.
        keys.retain(|stored| self.key(stored).is_some());
        Ok(Some(keys))
    }

    fn key<'k>(&self, stored: &'k [u8]) -> Option<&'k [u8]> {
        self.keyspace.decode(stored).filter(|key| !key.is_empty() && key.starts_with(&self.prefix))
    }
}

struct KeyScan<'a> {
    pages: Pages<'a>,
    seen: Fingerprints,
    fresh: VecDeque<Vec<u8>>,
}

impl<'a> KeyScan<'a> {
    fn new(pages: Pages<'a>) -> Self {
        Self { pages, seen: Fingerprints::new(), fresh: VecDeque::new() }
    }

    /// The next key that was not seen before.
    async fn next(&mut self) -> StateResult<Option<Vec<u8>>> {
        Ok(self.fill().await?.then(|| self.fresh.pop_front()).flatten())
    }

    /// Turns pages until there are fresh keys; `false` after the last page.
    async fn fill(&mut self) -> StateResult<bool> {
        while self.fresh.is_empty() {
            let Some(page) = self.pages.next().await? else { return Ok(false) };
            for stored in page {
                if let Some(key) = self.pages.key(&stored).filter(|key| self.seen.insert(key)) {
                    self.fresh.push_back(key.to_vec());
                }
            }
        }
        Ok(true)
    }
}

struct EntryScan<'a> {
    keys: KeyScan<'a>,
    ready: VecDeque<StateResult<Entry>>,
    /// How many values to read next.
    step: usize,
}

impl<'a> EntryScan<'a> {
    fn new(pages: Pages<'a>) -> Self {
        Self { keys: KeyScan::new(pages), ready: VecDeque::new(), step: FIRST_STEP }
    }

    async fn next(&mut self) -> StateResult<Option<StateResult<Entry>>> {
        while self.ready.is_empty() {
            if !self.keys.fill().await? {
                return Ok(None);
            }
            self.read_step().await?;
        }
        Ok(self.ready.pop_front())
    }

    /// Reads the values of some fresh keys, fewer at a time the larger they are.
    async fn read_step(&mut self) -> StateResult<()> {
        let Pages { door, keyspace, operation, .. } = self.keys.pages;
        let step = self.step.min(self.keys.fresh.len());
        let keys: Vec<Vec<u8>> = self.keys.fresh.drain(..step).collect();
        let mut pipeline = Pipeline::with_capacity(keys.len());
        for key in &keys {
            pipeline.add_command(ENTRY.whole(&keyspace.encode(key)?, &[]));
        }
        let replies = door.pipeline(operation, &pipeline).await?;
        let mut bytes = 0;
        for (key, reply) in keys.into_iter().zip(replies) {
            let entry = reply.and_then(|reply| entry(operation, key, reply)).transpose();
            bytes +=
                entry.as_ref().and_then(|entry| entry.as_ref().ok()).map_or(0, |entry| entry.value.len());
            self.ready.extend(entry);
        }
        let average = (bytes / step).max(1);
        self.step = (STEP_BYTES / average).clamp(1, LONGEST_STEP);
        Ok(())
    }
}

/// The entry that a reply of `lua/entry.lua` describes; `None` when the key is gone meanwhile.
fn entry(operation: Operation, key: Vec<u8>, reply: Value) -> StateResult<Option<Entry>> {
    let (value, ttl) = reply::pair(operation, reply)?;
    let (value, ttl) = (reply::bytes(operation, value)?, reply::integer(operation, ttl)?);
    // -1 is "no expiry", -2 "no such key".
    let ttl = u64::try_from(ttl).ok().map(Duration::from_millis);
    Ok(value.map(|value| Entry { key, value, ttl }))
}
