//! Installing a server with the system's package manager.

use std::{
    env,
    io::{IsTerminal, Write, stdin, stdout},
};

use xshell::{Shell, cmd};

use crate::{Result, server::is_program};

/// Who allows an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    /// `--yes`, or root under `CI=true`.
    Given,
    /// Whoever sits at the terminal; nobody, if there is none.
    Ask,
}

impl Consent {
    /// The consent of a command line with or without `--yes`.
    pub(crate) fn from_yes(yes: bool) -> Self {
        let ci = env::var("CI").is_ok_and(|ci| ci == "true");
        if yes || (ci && is_root()) { Self::Given } else { Self::Ask }
    }
}

/// A package manager: the command before an installation, the installation, and the packages to try in this
/// order.
struct Manager {
    program: &'static str,
    prepare: &'static [&'static str],
    install: &'static [&'static str],
    packages: &'static [&'static str],
    wants_root: bool,
}

/// Another apt may hold the lock, on a machine that has just started, so ours waits for it.
const MANAGERS: [Manager; 4] = [
    Manager {
        program: "apt-get",
        prepare: &["-o", "DPkg::Lock::Timeout=300", "update"],
        install: &["-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends"],
        packages: &["redis-server", "valkey-server"],
        wants_root: true,
    },
    Manager {
        program: "dnf",
        prepare: &[],
        install: &["install", "-y"],
        packages: &["valkey", "redis"],
        wants_root: true,
    },
    Manager {
        program: "apk",
        prepare: &[],
        install: &["add", "--no-cache"],
        packages: &["valkey", "redis"],
        wants_root: true,
    },
    Manager {
        program: "brew",
        prepare: &[],
        install: &["install"],
        packages: &["redis", "valkey"],
        wants_root: false,
    },
];

/// Installs a server.
///
/// The package may start a service on port 6379. Nothing here talks to that one: every server these commands
/// use is a process of their own on another port.
///
/// # Errors
/// Without consent, without a known package manager, or when it fails.
pub(crate) fn server(consent: Consent) -> Result {
    let Some(manager) = MANAGERS.iter().find(|manager| on_path(manager.program)) else {
        return Err("no package manager found: neither apt-get nor dnf, apk or brew is on the PATH".into());
    };
    let plan = format!("{} {} {}", manager.program, manager.install.join(" "), manager.packages[0]);
    if consent == Consent::Ask && !ask(&plan)? {
        return Err("not installed: that takes a yes on a terminal, --yes, or root under CI=true".into());
    }
    println!("installing a Redis server: {plan}");
    let shell = Shell::new()?;
    // Both take a variable for the command they run.
    let prefix = if manager.wants_root && !is_root() { "sudo" } else { "env" };
    let run = |arguments: &[&str], package: &[&str]| {
        let program = manager.program;
        cmd!(shell, "{prefix} DEBIAN_FRONTEND=noninteractive {program} {arguments...} {package...}").run()
    };
    if !manager.prepare.is_empty() {
        // Without a network the lists at hand may still do.
        let _ = run(manager.prepare, &[]).inspect_err(|error| eprintln!("{error}; going on"));
    }
    let installed = manager.packages.iter().any(|package| run(manager.install, &[package]).is_ok());
    if installed {
        Ok(())
    } else {
        Err(format!("{} could not install {:?}", manager.program, manager.packages).into())
    }
}

fn ask(plan: &str) -> Result<bool> {
    if !stdin().is_terminal() || !stdout().is_terminal() {
        return Ok(false);
    }
    print!("No Redis server found. Run `{plan}`? [y/N] ");
    stdout().flush()?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| is_program(&folder.join(program)))
}

fn is_root() -> bool {
    let id = Shell::new().and_then(|shell| cmd!(shell, "id -u").quiet().read());
    id.is_ok_and(|id| id.trim() == "0")
}
