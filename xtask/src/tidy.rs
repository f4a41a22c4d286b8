//! House rules that no lint knows: first lines, file sizes, silent manifests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Result, workspace::Workspace};

/// A file longer than this wants to be two files.
const MAX_LINES: usize = 400;

/// Fails when a Rust file does not begin with its doc or is too long, or when cargo finds a key it does not
/// know in a manifest (for cargo that is only a warning, and the setting is silently without effect).
pub(crate) fn run(workspace: &Workspace) -> Result {
    let mut files = Vec::new();
    collect(workspace.root(), &mut files)?;
    let mut findings = Vec::new();
    for file in &files {
        let name = file.strip_prefix(workspace.root()).unwrap_or(file);
        findings.extend(check(name, &fs::read_to_string(file)?));
    }
    findings.extend(workspace.unknown_manifest_keys()?);
    if files.is_empty() {
        findings.push("no Rust file found".to_owned());
    }
    if findings.is_empty() {
        println!("tidy: {} files", files.len());
        return Ok(());
    }
    Err(format!("not tidy:\n  {}", findings.join("\n  ")).into())
}

/// Every `.rs` file below `folder`, without what cargo builds and what git keeps.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn check(name: &Path, text: &str) -> Vec<String> {
    let first = text.lines().next().unwrap_or_default();
    let lines = text.lines().count();
    let mut findings = Vec::new();
    if !first.starts_with("//!") && !first.starts_with("#![doc") {
        findings.push(format!("{}: does not begin with `//!`", name.display()));
    }
    if lines > MAX_LINES {
        findings.push(format!("{}: {lines} lines, the limit is {MAX_LINES}", name.display()));
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::{test_workspace::TestWorkspace, tidy};

    fn run(prepare: impl FnOnce(&TestWorkspace)) -> Result<(), String> {
        let workspace = TestWorkspace::new();
        workspace.package("good", "");
        prepare(&workspace);
        tidy::run(&workspace.workspace()).map_err(|error| error.to_string())
    }

    fn lines(count: usize) -> String {
        "//! A line.\n".repeat(count)
    }

    #[test]
    fn four_hundred_lines_are_tidy_and_one_more_is_not() {
        assert_eq!(run(|workspace| workspace.file("crates/good/src/long.rs", &lines(400))), Ok(()));
        let error = run(|workspace| workspace.file("crates/good/src/long.rs", &lines(401))).unwrap_err();
        assert!(error.contains("long.rs: 401 lines"), "{error}");
    }

    #[test]
    fn a_file_begins_with_its_doc() {
        assert_eq!(run(|workspace| workspace.file("crates/good/src/a.rs", "#![doc = \"A.\"]\n")), Ok(()));
        let error = run(|workspace| workspace.file("crates/good/tests/a.rs", "use std::fs;\n")).unwrap_err();
        assert!(error.contains("a.rs: does not begin with `//!`"), "{error}");
    }

    #[test]
    fn what_cargo_builds_is_not_looked_at() {
        assert_eq!(run(|workspace| workspace.file("target/debug/build/x/out.rs", "fn main() {}\n")), Ok(()));
    }

    #[test]
    fn an_unknown_manifest_key_is_not_tidy() {
        let error = run(|workspace| {
            workspace
                .package("bad", "[dependencies]\ngood = { path = \"../good\", defualt-features = false }")
        });
        let error = error.unwrap_err();
        assert!(error.contains("defualt-features"), "{error}");
    }
}
