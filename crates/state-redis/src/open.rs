//! A backend by URL.

use std::sync::Arc;

use state_core::{MemoryBackend, StateBackend, StateResult};

use crate::backend::RedisBackend;
use crate::config::RedisConfig;

/// Opens the backend that `url` names, with default settings:
///
/// - `memory:` is a new [`MemoryBackend`], with nothing in it;
/// - every other URL is a [`RedisBackend`] on the servers it names: `redis://[[user]:password@]host[:port][/db]`,
///   `rediss://` for TLS, `redis+unix:///path/to/socket`, `redis+sentinel://host1,host2/service/db`,
///   `redis+cluster://host1,host2`.
///
/// # Errors
/// `InvalidConfig` for a wrong URL, without repeating it; for Redis those of [`RedisBackend::new`].
pub async fn open(url: &str) -> StateResult<Arc<dyn StateBackend>> {
    if url == "memory:" || url == "memory://" {
        return Ok(Arc::new(MemoryBackend::new()));
    }
    let config = RedisConfig::builder().url(url).build()?;
    Ok(Arc::new(RedisBackend::new(config).await?))
}
