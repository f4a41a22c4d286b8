//! Scans: page after page of one shard after the other, each page under the shard's lock.

use std::collections::VecDeque;

use futures_util::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::memory::shard::{Key, Shard, Slot};
use crate::{ScanOptions, StateResult, check_prefix, check_scan};

/// What `item` makes of the live entries whose keys begin with `prefix`, each once.
pub(super) fn stream<'a, T: Send + 'a>(
    shards: &'a [Mutex<Shard>],
    prefix: &[u8],
    options: ScanOptions,
    item: fn(&[u8], &Slot) -> T,
) -> BoxStream<'a, StateResult<T>> {
    if let Err(error) = check_prefix(prefix).and_then(|()| check_scan(options)) {
        return stream::once(async { Err(error) }).boxed();
    }
    let scan = Scan {
        shards: shards.iter(),
        current: None,
        prefix: prefix.to_vec(),
        page_size: options.page_size,
        page: VecDeque::new(),
    };
    stream::unfold(scan, move |mut scan| async move {
        let (key, slot) = scan.next().await?;
        Some((Ok(item(&key, &slot)), scan))
    })
    .boxed()
}

struct Scan<'a> {
    shards: std::slice::Iter<'a, Mutex<Shard>>,
    /// The shard being read, and the key behind which its next page begins.
    current: Option<(&'a Mutex<Shard>, Option<Key>)>,
    prefix: Vec<u8>,
    page_size: usize,
    page: VecDeque<(Key, Slot)>,
}

impl Scan<'_> {
    async fn next(&mut self) -> Option<(Key, Slot)> {
        loop {
            let now = Instant::now();
            while let Some((key, slot)) = self.page.pop_front() {
                if slot.is_live(now) {
                    return Some((key, slot));
                }
            }
            // A page may be many keys; other tasks run between two of them.
            tokio::task::yield_now().await;
            self.turn_page()?;
        }
    }

    fn turn_page(&mut self) -> Option<()> {
        let (shard, after) = match self.current.take() {
            Some(current) => current,
            None => (self.shards.next()?, None),
        };
        let page = shard.lock().page(&self.prefix, after.as_deref(), self.page_size);
        if !page.is_last {
            self.current = Some((shard, page.last_key));
        }
        self.page = page.slots.into();
        Some(())
    }
}
