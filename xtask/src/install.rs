//! Installing what a verb needs with the system's package manager.

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

/// A package manager: the command before an installation, the installation, and the packages with a server,
/// to try in this order.
struct Manager {
    program: &'static str,
    prepare: &'static [&'static str],
    install: &'static [&'static str],
    servers: &'static [&'static str],
    wants_root: bool,
}

/// Another apt may hold the lock, on a machine that has just started, so ours waits for it.
const MANAGERS: [Manager; 4] = [
    Manager {
        program: "apt-get",
        prepare: &["-o", "DPkg::Lock::Timeout=300", "update"],
        install: &["-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends"],
        servers: &["redis-server", "valkey-server"],
        wants_root: true,
    },
    Manager {
        program: "dnf",
        prepare: &[],
        install: &["install", "-y"],
        servers: &["valkey", "redis"],
        wants_root: true,
    },
    Manager {
        program: "apk",
        prepare: &[],
        install: &["add", "--no-cache"],
        servers: &["valkey", "redis"],
        wants_root: true,
    },
    Manager {
        program: "brew",
        prepare: &[],
        install: &["install"],
        servers: &["redis", "valkey"],
        wants_root: false,
    },
];

/// Installs a server.
///
/// The package may start a service on port 6379. Nothing here talks to that one: every server these commands
/// use is a process of their own on another port.
///
/// # Errors
/// Those of [`package`].
pub(crate) fn server(consent: Consent) -> Result {
    package("a Redis server", manager()?.servers, consent)
}

/// Installs the first of `packages` that the system's package manager has.
///
/// # Errors
/// Without consent, without a known package manager, or when it fails.
pub(crate) fn package(what: &str, packages: &[&str], consent: Consent) -> Result {
    let manager = manager()?;
    let plan = format!("{} {} {}", manager.program, manager.install.join(" "), packages[0]);
    if consent == Consent::Ask && !ask(what, &plan)? {
        return Err("not installed: that takes a yes on a terminal, --yes, or root under CI=true".into());
    }
    println!("installing {what}: {plan}");
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
    if packages.iter().any(|package| run(manager.install, &[package]).is_ok()) {
        Ok(())
    } else {
        Err(format!("{} could not install {packages:?}", manager.program).into())
    }
}

fn manager() -> Result<&'static Manager> {
    let none = "no package manager found: neither apt-get nor dnf, apk or brew is on the PATH";
    Ok(MANAGERS.iter().find(|manager| on_path(manager.program)).ok_or(none)?)
}

fn ask(what: &str, plan: &str) -> Result<bool> {
    if !stdin().is_terminal() || !stdout().is_terminal() {
        return Ok(false);
    }
    print!("{what} is missing. Run `{plan}`? [y/N] ");
    stdout().flush()?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Whether `program` is on the `PATH`.
pub(crate) fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| is_program(&folder.join(program)))
}

fn is_root() -> bool {
    let id = Shell::new().and_then(|shell| cmd!(shell, "id -u").quiet().read());
    id.is_ok_and(|id| id.trim() == "0")
}
