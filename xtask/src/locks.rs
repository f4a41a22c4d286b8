//! The experiments with locks, by name and with their figures.

use crate::{
    Result,
    install::Consent,
    server,
    step::{Line, Step},
    test::patience,
    workspace::Workspace,
};

/// Runs E1 to E19 one at a time, in their long form if `long`; a violated one fails.
pub(crate) fn run(workspace: &Workspace, consent: Consent, long: bool) -> Result {
    let server = server::ensure(consent)?;
    let arguments = ["test", "--package", "integration-tests", "--test", "locks", "--", "--nocapture", "::e"];
    let mut step = Step::cargo(workspace, "locks", arguments)
        .env("REDIS_SERVER", server)
        .env("RUST_TEST_THREADS", "1")
        .patience(patience(long));
    if long {
        step = step.env("STATE_REDIS_LONG", "1");
    }
    step.run_with(|line| {
        let is_experiment =
            line.starts_with('E') && line[1..].starts_with(|next: char| next.is_ascii_digit());
        if is_experiment || line.contains("FAILED") { Line::Lasting } else { Line::Passing }
    })
}
