//! The workspace's commands: `cargo xtask <verb>`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

mod arrows;
mod bench;
mod ci;
mod dashboards;
mod demo;
mod down;
mod install;
mod lint;
mod locks;
mod loom;
mod output;
mod server;
mod setup;
mod step;
mod test;
#[cfg(test)]
mod test_workspace;
mod tidy;
mod tree;
mod unfinished;
mod up;
mod workspace;

use std::process::ExitCode;

use lexopt::ValueExt as _;

use crate::workspace::Workspace;

/// What a verb returns: nothing, or why it failed.
type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const USAGE: &str = "\
usage: cargo xtask <verb> [options]

  demo [--embedded] [--release] [--yes]  everything shown on real servers, or the main job on the in-memory backend
  test [--long] [--yes]                  tidy, arrows, lint, features, every test; --long: faults in their long form
  ci                                     test, then both demos
  lint                                   fmt, clippy and rustdoc, warnings refused
  locks [--long] [--yes]                 the lock experiments E1 to E19 and their figures, one at a time
  loom                                   model checks of the lock-free parts
  bench [--quick] [--suite NAME]... [--publish] [--check] [--yes]
                                         against other clients; --publish: into docs; --check: only lint it
  dashboards [--yes]                     every panel and rule on a real Prometheus
  arrows                                 which crate may depend on which
  tidy                                   first lines, file sizes, manifest keys
  up [standalone | sentinel | cluster] [--yes]
                                         leave servers running and print their URL
  down                                   end what `up` started
  setup [--yes]                          make sure of a Redis server

A server is taken from REDIS_SERVER, else redis-server or valkey-server on the PATH, else from the system's package
manager: without asking with --yes, or as root under CI=true; else after asking, on a terminal.";

fn main() -> ExitCode {
    match dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Every option of every verb. A verb refuses those it does not know.
#[derive(Debug, Default)]
struct Arguments {
    verb: String,
    operands: Vec<String>,
    options: Vec<String>,
}

fn dispatch() -> Result {
    let arguments = parse(lexopt::Parser::from_env())?;
    let workspace = Workspace::here();
    match arguments.verb.as_str() {
        "demo" => {
            demo::run(&workspace, &demo::Options::from(arguments.allow(&["embedded", "release", "yes"], 0)?))
        }
        "test" => {
            let arguments = arguments.allow(&["long", "yes"], 0)?;
            test::run(&workspace, arguments.consent(), arguments.has("long"))
        }
        "locks" => {
            let arguments = arguments.allow(&["long", "yes"], 0)?;
            locks::run(&workspace, arguments.consent(), arguments.has("long"))
        }
        "bench" => {
            let arguments = arguments.allow(&["quick", "suite", "publish", "check", "yes"], usize::MAX)?;
            bench::run(&workspace, arguments)
        }
        "loom" => arguments.allow(&[], 0).and_then(|_| loom::run(&workspace)),
        "dashboards" => dashboards::run(&workspace, arguments.allow(&["yes"], 0)?.consent()),
        "ci" => arguments.allow(&[], 0).and_then(|_| ci::run(&workspace)),
        "lint" => arguments.allow(&[], 0).and_then(|_| lint::run(&workspace)),
        "arrows" => arguments.allow(&[], 0).and_then(|_| arrows::run(&workspace)),
        "tidy" => arguments.allow(&[], 0).and_then(|_| tidy::run(&workspace)),
        "up" => up::run(&workspace, arguments.allow(&["yes"], 1)?),
        "down" => arguments.allow(&[], 0).and_then(|_| down::run(&workspace)),
        "setup" => setup::run(arguments.allow(&["yes"], 0)?.consent()),
        "" | "help" => {
            println!("{USAGE}");
            Ok(())
        }
        unknown => Err(format!("unknown verb `{unknown}`\n\n{USAGE}").into()),
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Arguments> {
    let mut arguments = Arguments::default();
    while let Some(argument) = parser.next()? {
        match argument {
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => arguments.verb = "help".to_owned(),
            lexopt::Arg::Long(name) => arguments.options.push(name.to_owned()),
            lexopt::Arg::Value(value) if arguments.verb.is_empty() => arguments.verb = value.string()?,
            lexopt::Arg::Value(value) => arguments.operands.push(value.string()?),
            lexopt::Arg::Short(_) => return Err(argument.unexpected().into()),
        }
    }
    Ok(arguments)
}

impl Arguments {
    /// Refuses options outside of `known`, and more than `operands` operands.
    fn allow(&self, known: &[&str], operands: usize) -> Result<&Self> {
        let verb = &self.verb;
        if let Some(option) = self.options.iter().find(|option| !known.contains(&option.as_str())) {
            return Err(format!("`{verb}` has no option --{option}\n\n{USAGE}").into());
        }
        match self.operands.get(operands) {
            Some(operand) => Err(format!("`{verb}` does not take `{operand}`\n\n{USAGE}").into()),
            None => Ok(self),
        }
    }

    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|given| given == option)
    }

    fn consent(&self) -> install::Consent {
        install::Consent::from_yes(self.has("yes"))
    }
}
