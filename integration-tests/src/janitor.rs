//! The janitor: a shell process that kills the servers and removes their files when this process ends,
//! however it ends.
//!
//! `Drop` does not run after SIGKILL, an abort or a `process::exit`, and a parent-death signal fires when the
//! spawning *thread* ends, which libtest threads do all the time. The janitor instead reads a pipe that only
//! this process and its newborn children hold. End of file means that this process is gone.
//!
//! A child tells the janitor its own pid before it becomes the server, through that same pipe, so there is no
//! moment at which a server runs and the janitor does not know it.

use std::{
    env, fs,
    io::{BufRead, BufReader, PipeWriter, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use parking_lot::Mutex;

/// What the janitor runs. `$1` is the directory of this process's servers.
///
/// It ignores the signals of a terminal, so that Ctrl-C ends the tests and not the cleaning up. A killed
/// server may still create a file while it dies, hence the loop around `rm`.
const JANITOR: &str = r#"
trap '' HUP INT TERM
PATH=/usr/bin:/bin:$PATH
mkdir -p "$1" || exit 1
echo ready
pids=
while read -r verb pid; do
  case $verb in
    started) pids="$pids $pid" ;;
    gone) rest=
      for p in $pids; do [ "$p" = "$pid" ] || rest="$rest $p"; done
      pids=$rest ;;
  esac
done
for p in $pids; do kill -9 "$p" 2>/dev/null; done
for round in 1 2 3 4 5 6 7 8 9 10; do
  rm -rf "$1" 2>/dev/null
  [ -e "$1" ] || break
  sleep 0.2
done
"#;

/// What a child runs before it becomes the server: `$0` takes the output, `$@` is the command.
const NEWBORN: &str = r#"echo "started $$" && exec "$@" >"$0" 2>&1"#;

/// The one janitor of this process.
pub(crate) struct Janitor {
    root: PathBuf,
    pipe: Mutex<PipeWriter>,
    /// Never waited for: it outlives this process.
    _process: Child,
}

impl Janitor {
    /// The janitor of this process, started by the first call.
    pub(crate) fn get() -> &'static Self {
        static JANITOR: OnceLock<Janitor> = OnceLock::new();
        JANITOR.get_or_init(Self::start)
    }

    /// The directory that is removed when this process ends.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Starts `command` as a child that dies with this process, its output going to the file `output`.
    pub(crate) fn spawn(&self, command: &[&str], output: &Path) -> Child {
        let pipe = self.pipe.lock().try_clone().expect("a second handle of the janitor's pipe");
        Command::new("/bin/sh")
            .args(["-c", NEWBORN])
            .arg(output)
            .args(command)
            .stdin(Stdio::null())
            .stdout(pipe)
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("/bin/sh starts")
    }

    /// Takes a child off the list. Called once it is dead or has SIGKILL pending and before it is reaped, so
    /// that the list never names a pid that may belong to somebody else.
    pub(crate) fn forget(&self, child: &Child) {
        // A janitor that somebody killed cannot be told; the tests go on without one.
        let _ = writeln!(self.pipe.lock(), "gone {}", child.id());
    }

    fn start() -> Self {
        let name = format!("state-redis-{}-{:08x}", std::process::id(), rand::random::<u32>());
        let root = fs::canonicalize(env::temp_dir()).expect("the temp dir exists").join(name);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut process = Command::new("/bin/sh")
            .args(["-c", JANITOR, "state-redis-janitor"])
            .arg(&root)
            .stdin(reader)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("/bin/sh starts");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("the janitor's stdout was piped");
        BufReader::new(stdout).read_line(&mut line).expect("the janitor's first line");
        assert_eq!(line, "ready\n", "the janitor cannot create {}", root.display());
        Self { root, pipe: Mutex::new(writer), _process: process }
    }
}
