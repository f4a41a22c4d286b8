//! Removing a namespace: page by page, in steps of bounded size.

use state_core::{ErrorKind, ScanOptions, StateError, StateResult};

use crate::backend::Inner;
use crate::exec::Task;
use crate::reply;
use crate::scan::{Counted, Pages};

// UNLINK takes a key out of the table at once and frees it elsewhere; so many hold the server for well below 1 ms.
const STEP: usize = 500;

/// Removes every key of the backend's keyspace.
pub(crate) async fn all(backend: &Inner, task: &Task<'_>) -> StateResult<()> {
    if backend.keyspace.is_everything() && !backend.config.clear_whole_database {
        return Err(StateError::new(
            ErrorKind::InvalidInput,
            "clear would empty the whole database, since key_prefix is empty and the layout is plain; \
             allow it by clear_whole_database",
        ));
    }
    let mut pages = Pages::new(backend, Counted::Within(task), b"", ScanOptions::default())?;
    while let Some(page) = pages.next().await? {
        for step in page.chunks(STEP) {
            let mut unlink = redis::cmd("UNLINK");
            unlink.arg(step);
            reply::integer(task.operation(), task.command(&unlink).await?)?;
        }
    }
    Ok(())
}
