//! The benchmarks against other clients: `integration-tests/peers`, a package of its own.

use std::{path::Path, process::Command};

use crate::{Arguments, Result, server, step::Step, test::patience, workspace::Workspace};

const MANIFEST: &str = "integration-tests/peers/Cargo.toml";

/// Builds the benchmarks and runs them: all suites, or those named by `--suite`. Results go to `bench/` in cargo's
/// target folder, with `--publish` also to docs/benchmarks.md. Fails when a promised figure is missed.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result {
    let target = workspace.metadata()?.target();
    // A folder of its own in there: other features and versions than the workspace's would rebuild that each time.
    let build = target.join("peers");
    if arguments.has("check") {
        return check(workspace, &build);
    }
    // Before minutes of building.
    let suites = suites(arguments)?;
    let server = server::ensure(arguments.consent())?;
    // The second one has our facade without the layers whose cost is measured.
    for (title, programs) in [
        ("building the benchmarks", &["--bin", "bench", "--bin", "allocations"][..]),
        ("building them without layers", &["--bin", "bare", "--no-default-features"]),
    ] {
        let cargo = ["build", "--release", "--locked", "--manifest-path", MANIFEST];
        let cargo = [&cargo, programs, &["--target-dir"]].concat();
        Step::cargo(workspace, title, with_folder(&cargo, &build)).run()?;
    }
    let mut command = Command::new(build.join("release/bench"));
    command.current_dir(workspace.root()).env("REDIS_SERVER", server).arg("--out").arg(target.join("bench"));
    if arguments.has("quick") {
        command.arg("--quick");
    }
    if arguments.has("publish") {
        command.arg("--publish").arg(workspace.root().join("docs/benchmarks.md"));
    }
    for suite in suites {
        command.args(["--suite", suite]);
    }
    let verdict = "a figure that was promised is missed, or the run failed";
    if command.status()?.success() { Ok(()) } else { Err(verdict.into()) }
}

/// Lints the package with everything in it, and runs its own tests; nothing is measured.
fn check(workspace: &Workspace, build: &Path) -> Result {
    for (title, first, last) in [
        ("lint of the benchmarks", &["clippy", "--all-targets"][..], &["--", "-D", "warnings"][..]),
        ("tests of the benchmarks", &["test", "--lib"][..], &[][..]),
    ] {
        let cargo = [first, &["--locked", "--manifest-path", MANIFEST, "--target-dir"]].concat();
        let cargo = [with_folder(&cargo, build), last.iter().map(|&last| last.into()).collect()].concat();
        Step::cargo(workspace, title, cargo).patience(patience(false)).run()?;
    }
    Ok(())
}

fn with_folder(cargo: &[&str], folder: &Path) -> Vec<std::ffi::OsString> {
    cargo.iter().map(|&part| part.into()).chain([folder.into()]).collect()
}

/// The names that follow `--suite`.
fn suites(arguments: &Arguments) -> Result<&[String]> {
    let asked = arguments.options.iter().filter(|option| *option == "suite").count();
    let named = arguments.operands.as_slice();
    if asked == named.len() {
        Ok(named)
    } else {
        Err("`bench` takes a name after each --suite, and no others".into())
    }
}
