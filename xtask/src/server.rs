//! Finding a Redis server, and getting one where there is none.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use crate::{
    Result,
    install::{self, Consent},
};

const THREE_WAYS_OUT: &str = "no Redis server found. Three ways out:
  1. set REDIS_SERVER to the path of a redis-server or valkey-server program
  2. put redis-server or valkey-server on the PATH
  3. let the system's package manager install one: cargo xtask setup --yes";

/// A server program, installed if need be and if `consent` allows it.
///
/// # Errors
/// When there is none and none can be had: the three ways out, and why the third one failed.
pub(crate) fn ensure(consent: Consent) -> Result<PathBuf> {
    if let Some(server) = find(env::var_os("REDIS_SERVER"), env::var_os("PATH"))? {
        return Ok(server);
    }
    if let Err(reason) = install::server(consent) {
        return Err(format!("{THREE_WAYS_OUT}\n({reason})").into());
    }
    find(None, env::var_os("PATH"))?
        .ok_or_else(|| "the package is installed, but there is no server on the PATH".into())
}

/// The program `named` by `REDIS_SERVER`, else the first of the two known ones on the `PATH`.
fn find(named: Option<OsString>, path: Option<OsString>) -> Result<Option<PathBuf>> {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        let complaint = || format!("REDIS_SERVER names {}, which is no program", named.display());
        return if is_program(&named) { Ok(Some(named)) } else { Err(complaint().into()) };
    }
    let folders: Vec<PathBuf> = env::split_paths(&path.unwrap_or_default()).collect();
    let candidates = ["redis-server", "valkey-server"];
    let mut paths = candidates.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    Ok(paths.find(|path| is_program(path)))
}

/// Whether this is a file that may be run.
pub(crate) fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use tempfile::TempDir;

    use super::*;

    fn program(folder: &TempDir, name: &str) -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn the_variable_comes_first_then_redis_then_valkey() {
        let (first, second) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let path = env::join_paths([first.path(), second.path()]).unwrap();
        assert_eq!(find(None, Some(path.clone())).unwrap(), None);
        let valkey = program(&first, "valkey-server");
        assert_eq!(find(None, Some(path.clone())).unwrap(), Some(valkey.clone()));
        let redis = program(&second, "redis-server");
        assert_eq!(find(None, Some(path.clone())).unwrap(), Some(redis));
        assert_eq!(find(Some(valkey.clone().into()), Some(path)).unwrap(), Some(valkey));
    }

    #[test]
    fn a_variable_that_names_no_program_is_an_error_and_not_ignored() {
        let folder = TempDir::new().unwrap();
        let path = Some(folder.path().as_os_str().to_owned());
        program(&folder, "redis-server");
        fs::write(folder.path().join("plain"), "").unwrap();
        for name in ["absent", "plain"] {
            let error = find(Some(folder.path().join(name).into()), path.clone()).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(find(Some(OsString::new()), path).unwrap().is_some(), "an empty variable is none");
    }
}
