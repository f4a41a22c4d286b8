//! fmt, clippy and rustdoc, with warnings refused.

use xshell::cmd;

use crate::{Result, step::Step, workspace::Workspace};

/// Runs the three.
pub(crate) fn run(workspace: &Workspace) -> Result {
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    let doc = ["doc", "--workspace", "--no-deps", "--all-features"];
    Step::cargo(workspace, "fmt", ["fmt", "--all", "--check"]).run()?;
    Step::cargo(workspace, "clippy", clippy).run()?;
    Step::cargo(workspace, "rustdoc", doc).env("RUSTDOCFLAGS", "-D warnings").run()
}

/// Whether the toolchain has the tools; the minimal one has neither.
pub(crate) fn is_available(workspace: &Workspace) -> Result<bool> {
    let shell = workspace.shell()?;
    let has = |tool: &str| cmd!(shell, "cargo {tool} --version").quiet().ignore_stderr().read().is_ok();
    Ok(has("fmt") && has("clippy"))
}
