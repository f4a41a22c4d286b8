//! Makes sure of a Redis server.

use xshell::{Shell, cmd};

use crate::{Result, install::Consent, server};

/// Finds or installs a server and says which.
pub(crate) fn run(consent: Consent) -> Result {
    let server = server::ensure(consent)?;
    let shell = Shell::new()?;
    let version = cmd!(shell, "{server} --version").quiet().read()?;
    println!("{}: {version}", server.display());
    Ok(())
}
