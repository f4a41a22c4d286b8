//! A small workspace in a temporary folder, for the tests of these commands.

use std::fs;

use tempfile::TempDir;

use crate::workspace::Workspace;

pub(crate) struct TestWorkspace {
    root: TempDir,
}

impl TestWorkspace {
    pub(crate) fn new() -> Self {
        let root = TempDir::new().unwrap();
        fs::write(
            root.path().join("Cargo.toml"),
            "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n",
        )
        .unwrap();
        Self { root }
    }

    /// Adds a package whose manifest ends with `rest`.
    pub(crate) fn package(&self, name: &str, rest: &str) {
        let manifest =
            format!("[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n{rest}\n");
        self.file(&format!("crates/{name}/Cargo.toml"), &manifest);
        self.file(&format!("crates/{name}/src/lib.rs"), "//! Nothing.\n");
    }

    /// Writes a file.
    pub(crate) fn file(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn workspace(&self) -> Workspace {
        Workspace::at(self.root.path())
    }
}
