//! The main job on real input: `integration-tests/src/bin/demo`.

use std::process::Command;

use crate::{Arguments, Result, install::Consent, server, workspace::Workspace};

/// What the command line asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// On the in-memory backend, without a server.
    pub(crate) embedded: bool,
    /// Built with optimizations, for honest figures.
    pub(crate) release: bool,
    /// Who allows to install a server.
    pub(crate) consent: Consent,
}

impl From<&Arguments> for Options {
    fn from(arguments: &Arguments) -> Self {
        let (embedded, release) = (arguments.has("embedded"), arguments.has("release"));
        Self { embedded, release, consent: arguments.consent() }
    }
}

/// Runs the demo; on the in-memory backend if that is asked for, or if no server can be had.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result {
    let mut command = Command::new("cargo");
    command.current_dir(workspace.root());
    command.args(["run", "--quiet", "--package", "integration-tests", "--bin", "demo"]);
    if options.release {
        command.arg("--release");
    }
    command.arg("--").arg(workspace.root());
    if options.embedded {
        command.arg("--embedded");
    } else {
        match server::ensure(options.consent) {
            Ok(server) => drop(command.env("REDIS_SERVER", server)),
            Err(reason) => {
                println!("{reason}\n\nGoing on without a server, as with --embedded.\n");
                command.arg("--embedded");
            }
        }
    }
    println!("building the demo ...");
    if command.status()?.success() { Ok(()) } else { Err("the demo failed".into()) }
}
