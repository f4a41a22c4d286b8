//! The files again under each algorithm: how small, how fast, and every byte the same.

use std::time::Instant;

use futures_util::future::try_join_all;
use state_core::{PutItem, StateBackend};
use state_redis::{CompressionAlgorithm, Idempotency, RedisBackend, RedisConfig};

use crate::{
    Result, explain,
    files::File,
    screen::Screen,
    table::{size, time},
    transfer::{batches, verify},
};

const ALGORITHMS: [(&str, CompressionAlgorithm); 4] = [
    ("none", CompressionAlgorithm::None),
    ("LZ4", CompressionAlgorithm::Lz4),
    ("Snappy", CompressionAlgorithm::Snappy),
    ("Zstd", CompressionAlgorithm::Zstd { level: 3 }),
];

/// Stores and reads all files under each algorithm, and says what that takes.
pub(crate) async fn compare(screen: &Screen, url: &str, files: &[File]) -> Result {
    screen.title("compression: values of 1,024 bytes and more; shorter ones stay as they are");
    let mut plain = 0;
    for (name, algorithm) in ALGORITHMS {
        let config = RedisConfig::builder()
            .url(url)
            .key_prefix(format!("demo:{name}:"))
            .compression(algorithm)
            .build();
        let backend = RedisBackend::new(config.map_err(explain)?).await.map_err(explain)?;
        let since = Instant::now();
        store(&backend, files).await?;
        let stored_in = since.elapsed();
        let since = Instant::now();
        read(&backend, files).await?;
        let read_in = since.elapsed();

        let stored = stored_bytes(&backend, name, files).await?;
        backend.clear().await.map_err(explain)?;
        backend.close().await;
        if algorithm == CompressionAlgorithm::None {
            plain = stored;
        } else if stored > plain {
            return Err(format!("{name} has made {plain} bytes {stored}"));
        }
        let (ratio, saved) = (plain as f64 / stored as f64, 100.0 - 100.0 * stored as f64 / plain as f64);
        let (stored, stored_in, read_in) = (size(stored), time(stored_in), time(read_in));
        screen.say(&format!(
            "  {name:6}  {stored:>8}, ratio {ratio:.2}, {saved:4.1} % saved; stored in {stored_in}, read in {read_in}"
        ));
    }
    Ok(())
}

async fn store(backend: &RedisBackend, files: &[File]) -> Result {
    for batch in batches(files) {
        let items: Vec<_> = batch.iter().map(|file| PutItem::new(&file.key, &file.content)).collect();
        backend
            .batch_put(&items)
            .await
            .into_iter()
            .collect::<std::result::Result<(), _>>()
            .map_err(explain)?;
    }
    Ok(())
}

async fn read(backend: &RedisBackend, files: &[File]) -> Result {
    for batch in batches(files) {
        let keys: Vec<&[u8]> = batch.iter().map(|file| file.key.as_slice()).collect();
        let found = backend.batch_get_optimized(&keys).await.map_err(explain)?;
        for (file, content) in batch.iter().zip(found) {
            verify(file, content.as_deref())?;
        }
    }
    Ok(())
}

/// What the server itself says that the values are long.
async fn stored_bytes(backend: &RedisBackend, name: &str, files: &[File]) -> Result<u64> {
    let lengths = files.iter().map(async |file| {
        let mut key = format!("demo:{name}:d|").into_bytes();
        key.extend_from_slice(&file.key);
        let mut command = redis::cmd("STRLEN");
        command.arg(key);
        let length = backend.command(&command, Idempotency::Safe).await.map_err(explain)?;
        redis::from_redis_value::<u64>(length).map_err(|error| error.to_string())
    });
    Ok(try_join_all(lengths).await?.into_iter().sum())
}
