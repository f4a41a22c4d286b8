//! The dashboards and rules, on a real Prometheus.

use crate::{
    Result,
    install::{self, Consent},
    step::Step,
    test::patience,
    workspace::Workspace,
};

/// Makes sure of Prometheus and its promtool, checks the shipped files with them, and runs every query.
pub(crate) fn run(workspace: &Workspace, consent: Consent) -> Result {
    if !install::on_path("prometheus") || !install::on_path("promtool") {
        install::package("Prometheus", &["prometheus"], consent)?;
    }
    for arguments in [
        ["test", "--package", "state-metrics", "--test", "monitoring"],
        ["test", "--package", "state-metrics", "--test", "scrape"],
        ["test", "--package", "integration-tests", "--test", "metrics"],
    ] {
        let title = format!("{} of {}", arguments[4], arguments[2]);
        Step::cargo(workspace, title, arguments)
            .env("REQUIRE_PROMTOOL", "1")
            .patience(patience(false))
            .run()?;
    }
    Ok(())
}
