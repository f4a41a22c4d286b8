//! Everything that is checked: house rules, lints, each crate's features, every test and doctest.

use std::{path::Path, thread::available_parallelism, time::Duration};

use crate::{
    Result, arrows,
    install::Consent,
    lint, server,
    step::{Line, Step},
    tidy,
    workspace::Workspace,
};

/// How long the tests may print nothing before the one that hangs fails. A slow machine links for minutes without a
/// word; the longest of the tests in their long form take five minutes and more, one after the other.
pub(crate) fn patience(long: bool) -> Duration {
    Duration::from_secs(if long { 60 } else { 10 } * 60)
}

/// Runs all of it, to the end whatever fails, and the faults in their long form if `long`. The last line counts the
/// tests.
pub(crate) fn run(workspace: &Workspace, consent: Consent, long: bool) -> Result {
    let server = server::ensure(consent)?;
    println!("server: {}", server.display());
    let mut count = Count::default();
    let outcomes = [
        tidy::run(workspace),
        arrows::run(workspace),
        lint_if_possible(workspace),
        features(workspace),
        tests(workspace, &server, long, &mut count),
    ];
    let failures: Vec<String> =
        outcomes.into_iter().filter_map(Result::err).map(|error| error.to_string()).collect();
    failures.iter().for_each(|failure| println!("FAILED: {failure}"));
    println!("{} passed, {} failed", count.passed, count.failed);
    if failures.is_empty() { Ok(()) } else { Err("not everything is as it should be".into()) }
}

fn lint_if_possible(workspace: &Workspace) -> Result {
    if lint::is_available(workspace)? {
        return lint::run(workspace);
    }
    println!(
        "lint: left out, this toolchain has no rustfmt or no clippy (rustup component add rustfmt clippy)"
    );
    Ok(())
}

/// Each crate must build alone, with its default features and without any: inside the workspace its neighbours
/// may switch on what it forgot to ask for.
fn features(workspace: &Workspace) -> Result {
    for name in workspace.metadata()?.published() {
        Step::cargo(workspace, format!("{name} alone"), ["check", "--package", name]).run()?;
        let bare = ["check", "--package", name, "--no-default-features"];
        Step::cargo(workspace, format!("{name} without features"), bare).run()?;
    }
    Ok(())
}

/// Runs every test and doctest, one binary after the other, and counts them.
fn tests(workspace: &Workspace, server: &Path, long: bool, count: &mut Count) -> Result {
    let arguments = ["test", "--workspace", "--all-features", "--no-fail-fast"];
    let mut step =
        Step::cargo(workspace, "test", arguments).env("REDIS_SERVER", server).patience(patience(long));
    if long {
        // Their figures are asserted, so they run one at a time.
        step = step.env("STATE_REDIS_LONG", "1").env("RUST_TEST_THREADS", "1");
    } else if std::env::var_os("RUST_TEST_THREADS").is_none() {
        // Many of these tests start six servers; more than four of them at once measure the machine.
        let threads = available_parallelism().map_or(2, usize::from).min(4);
        step = step.env("RUST_TEST_THREADS", threads.to_string());
    }
    step.run_with(|line| count.look(line))
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
