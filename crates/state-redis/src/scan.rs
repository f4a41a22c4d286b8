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

use crate::backend::Inner;
use crate::exec::{Door, Task};
use crate::keyspace::Keyspace;
use crate::operation::Operation;
use crate::reply;
use crate::script::ENTRY;

// How much a scan of entries reads at a time, as far as the sizes it has seen tell what is coming.
const STEP_BYTES: usize = 4 * 1024 * 1024;
const FIRST_STEP: usize = 32;
const LONGEST_STEP: usize = 1_000;

/// The keys that begin with `prefix`.
pub(crate) fn keys<'a>(backend: &'a Inner, prefix: &[u8], options: ScanOptions) -> KeyStream<'a> {
    let counted = Counted::Each(&backend.door, Operation::Scan);
    let scan = match KeyScan::new(backend, counted, prefix, options) {
        Ok(scan) => scan,
        Err(error) => return stream::once(ready(Err(error))).boxed(),
    };
    let next = async |mut scan: KeyScan<'a>| Ok(scan.next().await?.map(|key| (key, scan)));
    stream::try_unfold(scan, next).boxed()
}

/// The entries whose keys begin with `prefix`.
pub(crate) fn entries<'a>(backend: &'a Inner, prefix: &[u8], options: ScanOptions) -> EntryStream<'a> {
    let counted = Counted::Each(&backend.door, Operation::ScanEntries);
    let scan = match KeyScan::new(backend, counted, prefix, options) {
        Ok(keys) => EntryScan::new(backend, keys),
        Err(error) => return stream::once(ready(Err(error))).boxed(),
    };
    let next = async |mut scan: EntryScan<'a>| Ok(scan.next().await?.map(|entry| (entry, scan)));
    // An error of one entry is an item like others, one of the scan itself is the last.
    stream::try_unfold(scan, next).map(|item| item.and_then(identity)).boxed()
}

/// The steps of a walk, as the instruments see them.
#[derive(Clone, Copy)]
pub(crate) enum Counted<'a> {
    /// Parts of one operation.
    Within(&'a Task<'a>),
    /// An operation each: a stream takes as long as whoever reads it.
    Each(&'a Door, Operation),
}

impl Counted<'_> {
    async fn page(self, scan: &mut Scan) -> StateResult<Option<Vec<Vec<u8>>>> {
        match self {
            Self::Within(task) => task.page(scan).await,
            Self::Each(door, operation) => {
                let task = door.begin(operation);
                let page = task.page(scan).await;
                task.end(page)
            }
        }
    }

    async fn pipeline(self, pipeline: &Pipeline) -> StateResult<Vec<StateResult<Value>>> {
        match self {
            Self::Within(task) => task.pipeline(pipeline).await,
            Self::Each(door, operation) => {
                let task = door.begin(operation);
                let replies = task.pipeline(pipeline).await;
                task.end(replies)
            }
        }
    }

    fn operation(self) -> Operation {
        match self {
            Self::Within(task) => task.operation(),
            Self::Each(_, operation) => operation,
        }
    }
}

/// The keys of a namespace as the server hands them out, a page at a time; some may come twice.
pub(crate) struct Pages<'a> {
    counted: Counted<'a>,
    keyspace: &'a Keyspace,
    prefix: Vec<u8>,
    scan: Scan,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(
        backend: &'a Inner,
        counted: Counted<'a>,
        prefix: &[u8],
        options: ScanOptions,
    ) -> StateResult<Self> {
        check_prefix(prefix)?;
        check_scan(options)?;
        let pattern = backend.keyspace.pattern(prefix);
        let walk = redis_conn::ScanOptions::default().with_pattern(pattern).with_page(options.page_size);
        let scan = backend.door.scan(walk);
        Ok(Self { counted, keyspace: &backend.keyspace, prefix: prefix.to_vec(), scan })
    }

    /// The next page of the server's keys, `None` after the last.
    pub(crate) async fn next(&mut self) -> StateResult<Option<Vec<Vec<u8>>>> {
        let Some(mut keys) = self.counted.page(&mut self.scan).await? else { return Ok(None) };
        // The pattern is escaped; should a server read it otherwise, nothing outside of the namespace is touched.
        keys.retain(|stored| self.key(stored).is_some());
        Ok(Some(keys))
    }

    fn key<'k>(&self, stored: &'k [u8]) -> Option<&'k [u8]> {
        self.keyspace.decode(stored).filter(|key| !key.is_empty() && key.starts_with(&self.prefix))
    }
}

/// The keys of a namespace, each once.
pub(crate) struct KeyScan<'a> {
    pages: Pages<'a>,
    seen: Fingerprints,
    fresh: VecDeque<Vec<u8>>,
}

impl<'a> KeyScan<'a> {
    pub(crate) fn new(
        backend: &'a Inner,
        counted: Counted<'a>,
        prefix: &[u8],
        options: ScanOptions,
    ) -> StateResult<Self> {
        let pages = Pages::new(backend, counted, prefix, options)?;
        Ok(Self { pages, seen: Fingerprints::new(), fresh: VecDeque::new() })
    }

    /// The next key that was not seen before.
    pub(crate) async fn next(&mut self) -> StateResult<Option<Vec<u8>>> {
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
    backend: &'a Inner,
    keys: KeyScan<'a>,
    ready: VecDeque<StateResult<Entry>>,
    /// How many values to read next.
    step: usize,
}

impl<'a> EntryScan<'a> {
    fn new(backend: &'a Inner, keys: KeyScan<'a>) -> Self {
        Self { backend, keys, ready: VecDeque::new(), step: FIRST_STEP }
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
        let Pages { counted, keyspace, .. } = self.keys.pages;
        let step = self.step.min(self.keys.fresh.len());
        let keys: Vec<Vec<u8>> = self.keys.fresh.drain(..step).collect();
        let mut pipeline = Pipeline::with_capacity(keys.len());
        for key in &keys {
            pipeline.add_command(ENTRY.whole(&keyspace.encode(key)?, &[]));
        }
        let replies = counted.pipeline(&pipeline).await?;
        let mut decoder = self.backend.values.decoder();
        let mut bytes = 0;
        for (key, reply) in keys.into_iter().zip(replies) {
            let entry = match reply.and_then(|reply| entry(counted.operation(), key, reply)) {
                Ok(None) => continue,
                Ok(Some(Entry { key, value, ttl, .. })) => {
                    bytes += value.len();
                    let value = decoder.decode(counted.operation(), &key, value).await;
                    value.map(|value| Entry { key, value, ttl })
                }
                Err(error) => Err(error),
            };
            self.ready.push_back(entry);
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
