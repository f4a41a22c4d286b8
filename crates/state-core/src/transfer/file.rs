//! Snapshot files: written beside their place, synced, then moved there.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::fs::{self, File};
use tokio::io::{AsyncWriteExt, BufReader, BufWriter};

use crate::{ErrorKind, StateError, StateResult};

const BUFFER: usize = 256 * 1024;

/// A file that is not at its place yet, and is removed unless it gets there.
pub(crate) struct PendingFile {
    writer: BufWriter<File>,
    temporary: PathBuf,
    place: PathBuf,
    published: bool,
}

impl PendingFile {
    pub(crate) async fn create(place: &Path) -> StateResult<Self> {
        let temporary = temporary_beside(place)?;
        let file = File::create_new(&temporary).await.map_err(|error| failed("create", error))?;
        let writer = BufWriter::with_capacity(BUFFER, file);
        Ok(Self { writer, temporary, place: place.to_path_buf(), published: false })
    }

    pub(crate) fn writer(&mut self) -> &mut BufWriter<File> {
        &mut self.writer
    }

    /// Makes the file durable, moves it to its place, and makes that durable.
    pub(crate) async fn publish(mut self) -> StateResult<()> {
        self.writer.flush().await.map_err(|error| failed("write", error))?;
        self.writer.get_ref().sync_all().await.map_err(|error| failed("sync", error))?;
        fs::rename(&self.temporary, &self.place).await.map_err(|error| failed("rename", error))?;
        self.published = true;
        sync_directory(&self.place).await.map_err(|error| failed("sync the directory of", error))
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if !self.published {
            // Nothing better can be done about a failure here: the error that led here is already on its way.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Opens the snapshot at `path`.
pub(crate) async fn open(path: &Path) -> StateResult<BufReader<File>> {
    let file = File::open(path).await.map_err(|error| failed("open", error))?;
    Ok(BufReader::with_capacity(BUFFER, file))
}

pub(super) fn failed(what: &str, error: io::Error) -> StateError {
    StateError::new(ErrorKind::Io, format!("cannot {what} the snapshot")).with_source(error)
}

fn temporary_beside(place: &Path) -> StateResult<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = place
        .file_name()
        .ok_or_else(|| StateError::new(ErrorKind::InvalidInput, "the snapshot's path names no file"))?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    Ok(place.with_file_name(temporary))
}

#[cfg(unix)]
async fn sync_directory(place: &Path) -> io::Result<()> {
    let parent = match place.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent).await?.sync_all().await
}

// Other systems offer no handle to a directory that could be synced.
#[cfg(not(unix))]
async fn sync_directory(_place: &Path) -> io::Result<()> {
    Ok(())
}
