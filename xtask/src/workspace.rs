//! The workspace these commands work on.

use std::path::{Path, PathBuf};

use serde_json::Value;
use xshell::{Shell, cmd};

use crate::Result;

/// A workspace by its root folder.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace this program belongs to.
    pub(crate) fn here() -> Self {
        let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self::at(xtask.parent().expect("xtask lies in the workspace's root"))
    }

    /// The workspace in `root`.
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Its root folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A shell in its root folder.
    pub(crate) fn shell(&self) -> Result<Shell> {
        let shell = Shell::new()?;
        shell.change_dir(&self.root);
        Ok(shell)
    }

    /// What `cargo metadata` says of the members.
    pub(crate) fn metadata(&self) -> Result<Metadata> {
        let shell = self.shell()?;
        let answer = cmd!(shell, "cargo metadata --format-version 1 --no-deps").quiet().read()?;
        Ok(Metadata(serde_json::from_str(&answer)?))
    }

    /// The keys in manifests that cargo does not know.
    ///
    /// `cargo metadata` is silent about them. `cargo fetch` is not, and it says so before it looks for
    /// anything, so that it does not matter whether it succeeds without a network.
    pub(crate) fn unknown_manifest_keys(&self) -> Result<Vec<String>> {
        let shell = self.shell()?;
        let output = cmd!(shell, "cargo fetch --offline --locked").quiet().ignore_status().output()?;
        let complaints = String::from_utf8(output.stderr)?;
        let unused = complaints.lines().filter(|line| line.contains("unused manifest key"));
        Ok(unused.map(|line| line.trim_start_matches("warning: ").to_owned()).collect())
    }
}

/// The answer of `cargo metadata --no-deps`.
#[derive(Clone, Debug)]
pub(crate) struct Metadata(Value);

impl Metadata {
    /// The name of each member.
    pub(crate) fn members(&self) -> Vec<&str> {
        self.packages().filter_map(|package| package["name"].as_str()).collect()
    }

    /// Every dependency of a member, whatever its kind: (member, dependency).
    pub(crate) fn dependencies(&self) -> Vec<(&str, &str)> {
        let mut pairs = Vec::new();
        for package in self.packages() {
            let dependencies = package["dependencies"].as_array().into_iter().flatten();
            let names = dependencies.filter_map(|dependency| dependency["name"].as_str());
            pairs.extend(names.map(|name| (package["name"].as_str().unwrap_or_default(), name)));
        }
        pairs
    }

    /// The members somebody may publish.
    pub(crate) fn published(&self) -> Vec<&str> {
        let may =
            |package: &&Value| package["publish"].as_array().is_none_or(|registries| !registries.is_empty());
        self.packages().filter(may).filter_map(|package| package["name"].as_str()).collect()
    }

    /// Where cargo puts what it builds.
    pub(crate) fn target(&self) -> PathBuf {
        PathBuf::from(self.0["target_directory"].as_str().unwrap_or("target"))
    }

    fn packages(&self) -> impl Iterator<Item = &Value> {
        self.0["packages"].as_array().into_iter().flatten()
    }
}
