//! What a newcomer would try, in one go.

use crate::{Result, demo, install::Consent, test, workspace::Workspace};

/// Runs the tests, then the demo on a server and the demo without one.
pub(crate) fn run(workspace: &Workspace) -> Result {
    let consent = Consent::Given;
    test::run(workspace, consent, false)?;
    demo::run(workspace, &demo::Options { embedded: false, release: false, consent })?;
    demo::run(workspace, &demo::Options { embedded: true, release: false, consent })
}
