//! fmt, clippy and rustdoc, with warnings refused; the facade also with each of its layers alone.

use xshell::cmd;

use crate::{Result, step::Step, workspace::Workspace};

/// The layers of the facade, of which any may be left out.
const LAYERS: &[&str] = &["codec", "resilience", "metrics", "locks"];

/// Runs them all.
pub(crate) fn run(workspace: &Workspace) -> Result {
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    let doc = ["doc", "--workspace", "--no-deps", "--all-features"];
    Step::cargo(workspace, "fmt", ["fmt", "--all", "--check"]).run()?;
    Step::cargo(workspace, "clippy", clippy).run()?;
    clippy_facade(workspace, "")?;
    for layer in LAYERS {
        clippy_facade(workspace, layer)?;
    }
    Step::cargo(workspace, "rustdoc", doc).env("RUSTDOCFLAGS", "-D warnings").run()
}

fn clippy_facade(workspace: &Workspace, features: &str) -> Result {
    let alone = ["clippy", "-p", "state-redis", "--no-default-features", "--features", features];
    let name = if features.is_empty() { "clippy, no layer" } else { "clippy, one layer" };
    Step::cargo(workspace, name, alone.into_iter().chain(["--", "-D", "warnings"])).run()
}

/// Whether the toolchain has the tools; the minimal one has neither.
pub(crate) fn is_available(workspace: &Workspace) -> Result<bool> {
    let shell = workspace.shell()?;
    let has = |tool: &str| cmd!(shell, "cargo {tool} --version").quiet().ignore_stderr().read().is_ok();
    Ok(has("fmt") && has("clippy"))
}
