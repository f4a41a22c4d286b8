//! The programs of this crate: the demo passes, and fails where it has to; a missing server is named.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const DEMO: &str = env!("CARGO_BIN_EXE_demo");
const SERVERS: &str = env!("CARGO_BIN_EXE_servers");

#[test]
fn the_demo_verifies_a_folder_in_memory_and_on_a_server() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    fs::write(folder.path().join("every byte"), (0..=255).collect::<Vec<u8>>()).unwrap();
    fs::create_dir(folder.path().join("target")).unwrap();
    fs::write(folder.path().join("target/built"), "not a source").unwrap();
    for options in [&["--embedded"][..], &[]] {
        let output = Command::new(DEMO).arg(folder.path()).args(options).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{options:?}: {text}{}", errors(&output));
        assert!(text.starts_with("2 files, 256 B"), "{text}");
        assert!(text.contains("everything verified"), "{text}");
        assert_eq!(text.contains("server killed and restarted"), options.is_empty(), "{text}");
    }
}

#[test]
fn the_demo_fails_without_files() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [vec![folder.path()], vec![Path::new("/nowhere")], vec![]] {
        let output = Command::new(DEMO).args(&arguments).arg("--embedded").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(errors(&output).contains("FAILED"), "{arguments:?}: {}", errors(&output));
    }
}

#[test]
fn a_missing_server_is_a_failure_that_names_the_three_ways_out() {
    let output = Command::new(SERVERS)
        .arg("standalone")
        .env("PATH", "/nowhere")
        .env_remove("REDIS_SERVER")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = errors(&output);
    for way in ["REDIS_SERVER", "on the PATH", "cargo xtask setup"] {
        assert!(text.contains(way), "{text}");
    }
}

#[test]
fn a_variable_that_names_no_server_is_a_failure() {
    let output =
        Command::new(SERVERS).arg("standalone").env("REDIS_SERVER", "/nowhere/server").output().unwrap();
    assert!(!output.status.success());
    assert!(errors(&output).contains("/nowhere/server"), "{}", errors(&output));
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
