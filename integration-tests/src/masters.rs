//! Independent masters, as quorum locks want them.

use futures_util::future::join_all;

use crate::{Server, ServerConfig};

/// Starts `count` servers that know nothing of each other.
///
/// # Panics
/// When one does not come up.
pub async fn independent_masters(count: usize) -> Vec<Server> {
    join_all((0..count).map(|_| ServerConfig::default().start())).await
}
