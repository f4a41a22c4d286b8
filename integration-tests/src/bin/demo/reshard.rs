//! Slots move from one node of a cluster to another, while tasks read and count.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use integration_tests::{Cluster, slot_of};
use state_core::{PutItem, StateBackend};
use state_redis::RedisBackend;

use crate::{
    Result, explain,
    files::File,
    screen::Screen,
    table::time,
    transfer::{batches, verify},
};

const SLOTS: u16 = 100;
const COUNTERS: usize = 32;

/// Moves slots under load: no call fails, no increment is lost or counted twice, every byte stays the same.
pub(crate) async fn survive(screen: &Screen, cluster: &Cluster, files: &[File]) -> Result {
    screen.title("reshard: a cluster of 3 masters, every file in it; slots move while tasks read and count");
    let config = state_redis::RedisConfig::builder().url(cluster.url()).build().map_err(explain)?;
    let backend = RedisBackend::new(config).await.map_err(explain)?;
    for batch in batches(files) {
        let items: Vec<_> = batch.iter().map(|file| PutItem::new(&file.key, &file.content)).collect();
        for result in backend.batch_put(&items).await {
            result.map_err(explain)?;
        }
    }
    let stop = Arc::new(AtomicBool::new(false));
    let counters = counters();
    let counting = tokio::spawn(count(backend.clone(), counters.clone(), Arc::clone(&stop)));
    let reading = read(&backend, files, &stop);
    let moving = async {
        let since = Instant::now();
        let moved = files.iter().filter(|file| is_moving(&file.key)).count() + counters.len();
        let target = cluster.owner_of(16_383).await;
        cluster.reshard(0..=SLOTS - 1, target).await;
        screen.say(&format!("  {SLOTS} slots with {moved} keys moved in {}", time(since.elapsed())));
        stop.store(true, Relaxed);
    };
    let (reads, ()) = tokio::join!(reading, moving);
    let (reads, counted) = (reads?, counting.await.map_err(|error| error.to_string())??);

    let mut found = 0;
    for counter in &counters {
        found += backend.increment(counter, 0).await.map_err(explain)?;
    }
    if found != counted {
        return Err(format!("{counted} increments acknowledged, {found} counted"));
    }
    screen.say(&format!("  meanwhile {reads} reads and {counted} increments, none failed"));
    screen.say("  every increment counted once, every byte of every file the same");
    backend.close().await;
    Ok(())
}

/// Reads all files over and over until told to stop, once more after that, and verifies every byte.
async fn read(backend: &RedisBackend, files: &[File], stop: &AtomicBool) -> Result<usize> {
    let mut reads = 0;
    loop {
        let is_last = stop.load(Relaxed);
        for batch in batches(files) {
            let keys: Vec<&[u8]> = batch.iter().map(|file| file.key.as_slice()).collect();
            let contents = backend.batch_get_optimized(&keys).await.map_err(explain)?;
            for (file, content) in batch.iter().zip(contents) {
                verify(file, content.as_deref())?;
                reads += 1;
            }
        }
        if is_last {
            return Ok(reads);
        }
    }
}

async fn count(backend: RedisBackend, counters: Vec<Vec<u8>>, stop: Arc<AtomicBool>) -> Result<i64> {
    let mut counted = 0;
    while !stop.load(Relaxed) {
        for counter in &counters {
            backend.increment(counter, 1).await.map_err(explain)?;
            counted += 1;
        }
    }
    Ok(counted)
}

/// Counters that are all in slots that move.
fn counters() -> Vec<Vec<u8>> {
    let names = (0..).map(|n: usize| format!("counter:{n}").into_bytes());
    names.filter(|name| is_moving(name)).take(COUNTERS).collect()
}

/// Whether the key, as it stands on the server, is in a slot that moves.
fn is_moving(key: &[u8]) -> bool {
    slot_of(&[b"state:d|", key].concat()) < SLOTS
}
