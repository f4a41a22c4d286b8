//! Which server program the tests run.

use std::{env, path::PathBuf};

const MISSING: &str = "no Redis server found. Three ways out:
  1. set REDIS_SERVER to the path of a redis-server or valkey-server program
  2. put redis-server or valkey-server on the PATH
  3. let the package manager install one: cargo xtask setup";

/// The server program: `REDIS_SERVER`, else `redis-server`, else `valkey-server` on the `PATH`.
///
/// # Panics
/// When there is none: a test without its server has failed, it is never skipped.
pub fn server_binary() -> PathBuf {
    if let Some(path) = env::var_os("REDIS_SERVER").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "REDIS_SERVER names {}, and there is no such file", path.display());
        return path;
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let in_folders = |name: &str| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    ["redis-server", "valkey-server"].into_iter().find_map(in_folders).unwrap_or_else(|| panic!("{MISSING}"))
}
