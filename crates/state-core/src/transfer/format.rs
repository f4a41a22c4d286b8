//! The bytes of a snapshot, format version 1; integers are little-endian.
//!
//! ```text
//! header   "STATSNAP", version u32, zero u32
//! entry    key length u32 (1..), value length u32, expiry u64 (Unix ms, 0 = never), key, value
//! end      u32::MAX, zero u32, number of entries u64
//! checksum XXH3-128 of everything before it, 16 bytes
//! ```

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::stream::{self, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use xxhash_rust::xxh3::Xxh3;

use crate::transfer::file::failed;
use crate::{Entry, ErrorKind, MAX_KEY_LEN, MAX_VALUE_LEN, StateError, StateResult};

const MAGIC: &[u8; 8] = b"STATSNAP";
const VERSION: u32 = 1;
const END: u32 = u32::MAX;
const HEAD_LEN: usize = 16;

// A damaged length must not make the reader allocate more than the file can hold.
const FIRST_ALLOCATION: usize = 64 * 1024;

pub(super) struct SnapshotWriter<W> {
    writer: W,
    checksum: Xxh3,
    entries: u64,
}

impl<W: AsyncWrite + Unpin> SnapshotWriter<W> {
    pub(super) async fn begin(writer: W) -> StateResult<Self> {
        let mut snapshot = Self { writer, checksum: Xxh3::new(), entries: 0 };
        let mut header = [0; HEAD_LEN];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        snapshot.push(&header).await?;
        Ok(snapshot)
    }

    pub(super) async fn write(&mut self, entry: &Entry) -> StateResult<()> {
        let expiry = entry.ttl.map_or(0, |ttl| unix_millis().saturating_add(ttl.as_millis() as u64).max(1));
        self.push(&head(entry.key.len() as u32, entry.value.len() as u32, expiry)).await?;
        self.push(&entry.key).await?;
        self.push(&entry.value).await?;
        self.entries += 1;
        Ok(())
    }

    pub(super) async fn finish(mut self) -> StateResult<()> {
        let end = head(END, 0, self.entries);
        self.push(&end).await?;
        let checksum = self.checksum.digest128().to_le_bytes();
        self.writer.write_all(&checksum).await.map_err(write_failed)?;
        self.writer.flush().await.map_err(write_failed)
    }

    async fn push(&mut self, bytes: &[u8]) -> StateResult<()> {
        self.checksum.update(bytes);
        self.writer.write_all(bytes).await.map_err(write_failed)
    }
}

pub(super) struct SnapshotReader<R> {
    reader: R,
    checksum: Xxh3,
    entries: u64,
}

impl<R: AsyncRead + Unpin> SnapshotReader<R> {
    pub(super) async fn open(reader: R) -> StateResult<Self> {
        let mut snapshot = Self { reader, checksum: Xxh3::new(), entries: 0 };
        let header = snapshot.take_head().await?;
        if header[..8] != *MAGIC {
            return Err(corrupt("the data is no snapshot"));
        }
        let version = u32_at(&header, 8);
        if version != VERSION || u32_at(&header, 12) != 0 {
            return Err(corrupt(format!("the snapshot has format version {version}, this reads {VERSION}")));
        }
        Ok(snapshot)
    }

    /// The next entry; `None` once the end is reached and the checksum holds.
    pub(super) async fn next(&mut self) -> StateResult<Option<Entry>> {
        let head = self.take_head().await?;
        let key_len = u32_at(&head, 0);
        let value_len = u32_at(&head, 4);
        let last = u64_at(&head, 8);
        if key_len == END {
            self.verify_end(last).await?;
            return Ok(None);
        }
        if key_len == 0 || key_len as usize > MAX_KEY_LEN || value_len as usize > MAX_VALUE_LEN {
            return Err(corrupt("an entry's length is out of bounds"));
        }
        let key = self.take(key_len as usize).await?;
        let value = self.take(value_len as usize).await?;
        self.entries += 1;
        let ttl = (last != 0).then(|| Duration::from_millis(last.saturating_sub(unix_millis())));
        Ok(Some(Entry { key, value, ttl }))
    }

    /// The entries that are left, ending with the check of the checksum.
    pub(super) fn into_entries(self) -> impl Stream<Item = StateResult<Entry>> {
        stream::try_unfold(self, async |mut snapshot| {
            Ok(snapshot.next().await?.map(|entry| (entry, snapshot)))
        })
    }

    async fn verify_end(&mut self, entries: u64) -> StateResult<()> {
        let computed = self.checksum.digest128().to_le_bytes();
        let stored = self.take(computed.len()).await?;
        if entries != self.entries || stored != computed {
            return Err(corrupt("the snapshot's checksum does not match its content"));
        }
        match self.reader.read(&mut [0]).await.map_err(read_failed)? {
            0 => Ok(()),
            _ => Err(corrupt("something follows the snapshot's end")),
        }
    }

    async fn take_head(&mut self) -> StateResult<[u8; HEAD_LEN]> {
        let mut head = [0; HEAD_LEN];
        self.reader.read_exact(&mut head).await.map_err(read_failed)?;
        self.checksum.update(&head);
        Ok(head)
    }

    async fn take(&mut self, len: usize) -> StateResult<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len.min(FIRST_ALLOCATION));
        let mut limited = (&mut self.reader).take(len as u64);
        let read = limited.read_to_end(&mut bytes).await.map_err(read_failed)?;
        if read < len {
            return Err(read_failed(io::ErrorKind::UnexpectedEof.into()));
        }
        self.checksum.update(&bytes);
        Ok(bytes)
    }
}

fn head(key_len: u32, value_len: u32, last: u64) -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    head[..4].copy_from_slice(&key_len.to_le_bytes());
    head[4..8].copy_from_slice(&value_len.to_le_bytes());
    head[8..].copy_from_slice(&last.to_le_bytes());
    head
}

fn u32_at(head: &[u8; HEAD_LEN], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|n| head[at + n]))
}

fn u64_at(head: &[u8; HEAD_LEN], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|n| head[at + n]))
}

fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
}

fn write_failed(error: io::Error) -> StateError {
    failed("write", error)
}

fn read_failed(error: io::Error) -> StateError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => corrupt("the snapshot is cut off"),
        _ => failed("read", error),
    }
}

fn corrupt(context: impl Into<std::borrow::Cow<'static, str>>) -> StateError {
    StateError::new(ErrorKind::Corrupt, context)
}
