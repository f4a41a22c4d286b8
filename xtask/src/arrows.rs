//! Which crate may depend on which: the leaves know nothing of each other.

use crate::{
    Result,
    workspace::{Metadata, Workspace},
};

/// The one crate that depends on the leaves.
const FACADE: &str = "state-redis";
/// The tests, which may depend on any crate.
const TESTS: &str = "integration-tests";
/// These commands, which depend on none.
const COMMANDS: &str = "xtask";

/// Fails on every arrow that is not allowed, dev- and build-dependencies included.
pub(crate) fn run(workspace: &Workspace) -> Result {
    let metadata = workspace.metadata()?;
    let forbidden = forbidden(&metadata);
    if forbidden.is_empty() {
        println!("arrows: {} members, only {FACADE} and {TESTS} depend on others", metadata.members().len());
        return Ok(());
    }
    let lines: Vec<String> = forbidden.iter().map(|(from, to)| format!("  {from} -> {to}")).collect();
    Err(format!("these crates must not know each other:\n{}", lines.join("\n")).into())
}

fn forbidden(metadata: &Metadata) -> Vec<(&str, &str)> {
    let members = metadata.members();
    let between_members = metadata.dependencies().into_iter().filter(|(_, to)| members.contains(to));
    between_members.filter(|(from, to)| !is_allowed(from, to)).collect()
}

fn is_allowed(from: &str, to: &str) -> bool {
    match from {
        TESTS => to != COMMANDS,
        FACADE => to != COMMANDS && to != TESTS,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::{arrows, test_workspace::TestWorkspace};

    #[test]
    fn the_star_is_allowed() {
        let workspace = TestWorkspace::new();
        workspace.package("redlock", "");
        workspace.package("state-redis", "[dependencies]\nredlock = { path = \"../redlock\" }");
        workspace.package("integration-tests", "[dependencies]\nstate-redis = { path = \"../state-redis\" }");
        arrows::run(&workspace.workspace()).unwrap();
    }

    #[test]
    fn a_sideways_arrow_fails_whatever_its_kind() {
        for kind in
            ["dependencies", "dev-dependencies", "build-dependencies", "target.'cfg(unix)'.dependencies"]
        {
            let workspace = TestWorkspace::new();
            workspace.package("state-core", "");
            workspace.package("redlock", &format!("[{kind}]\nstate-core = {{ path = \"../state-core\" }}"));
            let error = arrows::run(&workspace.workspace()).unwrap_err().to_string();
            assert!(error.contains("redlock -> state-core"), "[{kind}]: {error}");
        }
    }

    #[test]
    fn a_renamed_arrow_fails_too() {
        let workspace = TestWorkspace::new();
        workspace.package("state-core", "");
        let renamed = "[dependencies]\ncore = { path = \"../state-core\", package = \"state-core\" }";
        workspace.package("redlock", renamed);
        assert!(arrows::run(&workspace.workspace()).is_err());
    }

    #[test]
    fn nobody_depends_on_the_commands_and_they_on_nobody() {
        for (from, to) in
            [("integration-tests", "xtask"), ("xtask", "state-core"), ("state-redis", "integration-tests")]
        {
            let workspace = TestWorkspace::new();
            workspace.package(to, "");
            workspace.package(from, &format!("[dependencies]\n{to} = {{ path = \"../{to}\" }}"));
            assert!(arrows::run(&workspace.workspace()).is_err(), "{from} -> {to}");
        }
    }
}
