//! The model checks of the lock-free parts.

use crate::{Result, step::Step, test, workspace::Workspace};

/// Runs the loom tests, in a build folder of their own since loom changes every atomic.
pub(crate) fn run(workspace: &Workspace) -> Result {
    let arguments =
        ["test", "--package", "state-resilience", "--test", "loom", "--target-dir", "target/loom"];
    Step::cargo(workspace, "loom", arguments)
        .env("RUSTFLAGS", "--cfg loom")
        .patience(test::patience(true))
        .run()
}
