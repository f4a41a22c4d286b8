//! Everything that is checked: house rules, lints, each crate's features, every test and doctest.

use std::thread::available_parallelism;

use crate::{
    Result, arrows,
    install::Consent,
    lint, server,
    step::{Line, Step},
    tidy,
    workspace::Workspace,
};

/// Runs all of it. The last line counts the tests.
pub(crate) fn run(workspace: &Workspace, consent: Consent) -> Result {
    let server = server::ensure(consent)?;
    println!("server: {}", server.display());
    tidy::run(workspace)?;
    arrows::run(workspace)?;
    if lint::is_available(workspace)? {
        lint::run(workspace)?;
    } else {
        println!(
            "lint: left out, this toolchain has no rustfmt or no clippy (rustup component add rustfmt clippy)"
        );
    }
    features(workspace)?;
    tests(workspace, &server)
}

/// Each crate must build alone, with its default features and without any: inside the workspace its
/// neighbours may switch on what it forgot to ask for.
fn features(workspace: &Workspace) -> Result {
    for name in workspace.metadata()?.published() {
        Step::cargo(workspace, format!("{name} alone"), ["check", "--package", name]).run()?;
        let bare = ["check", "--package", name, "--no-default-features"];
        Step::cargo(workspace, format!("{name} without features"), bare).run()?;
    }
    Ok(())
}

fn tests(workspace: &Workspace, server: &std::path::Path) -> Result {
    let arguments = ["test", "--workspace", "--all-features", "--no-fail-fast"];
    let mut step = Step::cargo(workspace, "test", arguments).env("REDIS_SERVER", server);
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        // Many of these tests start six servers; more than four of them at once measure the machine and not
        // the code.
        let threads = available_parallelism().map_or(2, usize::from).min(4);
        step = step.env("RUST_TEST_THREADS", threads.to_string());
    }
    let mut count = Count::default();
    let outcome = step.run_with(|line| count.look(line));
    println!("{} passed, {} failed", count.passed, count.failed);
    outcome
}

/// The sums over all test binaries and doctests.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
}

impl Count {
    /// Reads a line of `cargo test`.
    fn look(&mut self, line: &str) -> Line {
        if let Some((passed, failed)) = parse_result(line) {
            self.passed += passed;
            self.failed += failed;
            return Line::Lasting;
        }
        let stays = line.ends_with("FAILED") || line.trim_start().starts_with("Running");
        if stays { Line::Lasting } else { Line::Passing }
    }
}

/// Reads `test result: ok. 3 passed; 1 failed; ...`.
fn parse_result(line: &str) -> Option<(u64, u64)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = counts.split("; ");
    let passed = counts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = counts.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some((passed, failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_binaries_are_summed() {
        let mut count = Count::default();
        for line in [
            "     Running unittests src/lib.rs (target/debug/deps/x-1)",
            "test a ... ok",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.00s",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            count.look(line);
        }
        assert_eq!(count, Count { passed: 4, failed: 2 });
    }
}
