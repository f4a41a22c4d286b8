//! Building and running examples.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::AsyncBufReadExt;
use tokio::io::{AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// How long an example may take. The slowest takes a few seconds.
const DONE_WITHIN: Duration = Duration::from_secs(60);

static BUILT: OnceCell<PathBuf> = OnceCell::const_new();

/// Runs an example with these variables, and returns what it prints.
///
/// # Panics
/// When it fails or does not end, with what it printed.
pub(crate) async fn run(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut child = start(name, arguments, variables).await;
    let (mut printed, mut complained) = (String::new(), String::new());
    let (mut stdout, mut stderr) =
        (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
    let ended = timeout(DONE_WITHIN, async {
        let (printed, complained) =
            tokio::join!(stdout.read_to_string(&mut printed), stderr.read_to_string(&mut complained));
        printed.expect("text");
        complained.expect("text");
        child.wait().await
    })
    .await;
    println!("{name}:\n{printed}{complained}");
    let status = ended.unwrap_or_else(|_| panic!("{name} does not end")).expect("a status");
    assert!(status.success(), "{name}: {status}");
    printed
}

/// Starts an example; it ends with the child at the latest.
pub(crate) async fn start(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Child {
    let folder = BUILT.get_or_init(build).await;
    let mut command = tokio::process::Command::new(folder.join(name));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What the tests' own surroundings say about servers is not meant for examples.
    for variable in ["REDIS_URL", "REDLOCK_URLS", "ADDRESS", "METRICS_ADDRESS"] {
        command.env_remove(variable);
    }
    command.envs(variables.iter().copied()).kill_on_drop(true);
    command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What a running example prints, line by line.
pub(crate) fn lines(child: &mut Child) -> Lines<BufReader<ChildStdout>> {
    BufReader::new(child.stdout.take().expect("a pipe")).lines()
}

/// Waits for a line with `text` in it, and returns it.
///
/// # Panics
/// When none comes.
pub(crate) async fn find(lines: &mut Lines<BufReader<ChildStdout>>, text: &str) -> String {
    let found = timeout(DONE_WITHIN, async {
        loop {
            let line = lines.next_line().await.expect("text");
            let line = line.unwrap_or_else(|| panic!("it ended without a line with {text:?}"));
            println!("{line}");
            if line.contains(text) {
                return line;
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("no line with {text:?}"))
}

/// Builds all examples, with what `cargo xtask test` builds the tests with, so that it has little to do then. Returns
/// where they are.
async fn build() -> PathBuf {
    let built = tokio::task::spawn_blocking(|| {
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--quiet", "--workspace", "--all-features", "--examples"]);
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        // These describe this test's package to it, and would make cargo build some dependencies anew.
        for (name, _) in std::env::vars_os() {
            if name
                .to_str()
                .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
            {
                command.env_remove(&name);
            }
        }
        command.status().expect("cargo runs")
    });
    assert!(built.await.expect("the task ran to its end").success(), "the examples do not build");
    let here = std::env::current_exe().expect("a path");
    here.ancestors().nth(2).expect("the folder of the profile").join("examples")
}
