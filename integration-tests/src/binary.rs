//! Which server program the tests run.

use std::{
    env,
    path::{Path, PathBuf},
};

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
        return PathBuf::from(path);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    find(&env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_else(|| panic!("{MISSING}"))
}

fn find(folders: &[PathBuf]) -> Option<PathBuf> {
    let in_folders =
        |name: &str| folders.iter().map(|folder| folder.join(name)).find(|path| is_program(path));
    ["redis-server", "valkey-server"].into_iter().find_map(in_folders)
}

fn is_program(path: &Path) -> bool {
    path.is_file()
}
