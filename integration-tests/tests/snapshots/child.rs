//! A transfer in a process of its own, which can be measured and killed.

use std::{
    fs,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use state_redis::StateBackendExt;
use state_redis::core::{Existing, Progress, RestoreMode, TransferOptions};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{ChildStdout, Command},
    time::timeout,
};

use crate::data;

const ROLE: &str = "SNAPSHOT_TEST_ROLE";
const SOURCE: &str = "SNAPSHOT_TEST_SOURCE";
const TARGET: &str = "SNAPSHOT_TEST_TARGET";
/// In front of the lines that are meant for the parent: the test harness prints others.
const MARK: &str = "child: ";
const SPEAKS_WITHIN: Duration = Duration::from_secs(300);

/// What a child does.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    /// Copies from one URL to another, and says how its memory grew.
    Copy,
    /// The same, keeping what is in the target.
    Resume,
    /// Copies half of it, says how many entries that were, and waits to be killed.
    HalfACopy,
    /// Writes half a snapshot of a URL to a path, and waits to be killed.
    HalfASnapshot,
}

impl Role {
    const ALL: [(Self, &str); 4] = [
        (Self::Copy, "copy"),
        (Self::Resume, "resume"),
        (Self::HalfACopy, "half a copy"),
        (Self::HalfASnapshot, "half a snapshot"),
    ];

    fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    fn waits_at_half(self) -> bool {
        matches!(self, Self::HalfACopy | Self::HalfASnapshot)
    }
}

pub(crate) struct Child {
    process: tokio::process::Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts this test program again in `role`.
    pub(crate) fn start(role: Role, source: &str, target: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("the path of this test"))
            .args(["--exact", "child::role", "--nocapture", "--test-threads=1"])
            .env(ROLE, role.name())
            .env(SOURCE, source)
            .env(TARGET, target)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("this test can be started again");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        Self { process, lines }
    }

    /// The numbers in the child's next line.
    pub(crate) async fn numbers<const N: usize>(&mut self) -> [u64; N] {
        loop {
            let line = timeout(SPEAKS_WITHIN, self.lines.next_line());
            let line = line.await.expect("the child speaks").expect("a pipe").expect("the child lives");
            if let Some((_, text)) = line.split_once(MARK) {
                let numbers: Vec<_> =
                    text.split(' ').map(|number| number.parse().expect("a number")).collect();
                return numbers.try_into().expect("as many numbers as expected");
            }
        }
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await.expect("a process of ours");
    }
}

/// What the child does. Without a role, as in an ordinary test run, there is nothing to do here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn role() {
    let Ok(name) = std::env::var(ROLE) else { return };
    let (role, _) = *Role::ALL.iter().find(|(_, known)| *known == name).expect("a known role");
    let source = data::open(&std::env::var(SOURCE).expect("a source")).await;
    let target = std::env::var(TARGET).expect("a target");
    let waits = AtomicBool::new(role.waits_at_half());
    let mut options =
        TransferOptions::default().with_progress(move |progress| wait_at_half(&waits, progress));
    if let Role::HalfASnapshot = role {
        source.snapshot_to_file(&target, &options).await.expect("a snapshot");
        return;
    }
    let target = data::open(&target).await;
    if let Role::Resume = role {
        options = options.with_existing(Existing::Keep);
    }
    let before = memory("VmRSS");
    let report = source.copy_to(&target, RestoreMode::Replace, &options).await.expect("a copy");
    let grown = memory("VmHWM").saturating_sub(before);
    println!("{MARK}{grown} {} {} {}", report.entries, report.present, report.removed);
}

/// Says how far it is once half is transferred, and never returns then.
fn wait_at_half(waits: &AtomicBool, progress: Progress) {
    if progress.entries >= data::size() / 2 && waits.load(Relaxed) {
        println!("{MARK}{}", progress.entries);
        loop {
            std::thread::park();
        }
    }
}

/// A figure of `/proc/self/status`, in KiB.
fn memory(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("this is Linux");
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let value = value.and_then(|value| value.trim().strip_suffix(" kB"));
    value.expect("the kernel tells").trim().parse().expect("a number")
}
