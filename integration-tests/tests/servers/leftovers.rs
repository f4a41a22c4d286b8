//! Nothing stays behind, however a process that started servers ends.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use integration_tests::{Server, eventually};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

#[tokio::test]
async fn a_killed_process_leaves_no_server_and_no_folder() {
    let mut holder = Holder::start("standalone");
    holder.process.kill().unwrap();
    holder.process.wait().unwrap();
    holder.nothing_stays().await;
}

#[tokio::test]
async fn a_killed_process_leaves_no_frozen_server() {
    let mut holder = Holder::start("sentinel");
    for node in &holder.nodes {
        kill_process(node.pid, Signal::STOP).unwrap();
    }
    holder.process.kill().unwrap();
    holder.process.wait().unwrap();
    holder.nothing_stays().await;
}

#[tokio::test]
async fn a_terminated_process_leaves_nothing() {
    let mut holder = Holder::start("standalone");
    kill_process(Pid::from_child(&holder.process), Signal::TERM).unwrap();
    holder.process.wait().unwrap();
    holder.nothing_stays().await;
}

#[tokio::test]
async fn the_server_outlives_the_thread_that_started_it() {
    let start = || tokio::runtime::Runtime::new().unwrap().block_on(Server::start());
    let server = std::thread::spawn(start).join().unwrap();
    let pong: String = server.command(&redis::cmd("PING")).await;
    assert_eq!(pong, "PONG");
}

#[tokio::test]
async fn a_panicking_test_leaves_nothing() {
    let (send, receive) = std::sync::mpsc::channel();
    let task = tokio::spawn(async move {
        let server = Server::start().await;
        send.send(Node::of(&server)).unwrap();
        panic!("a test that fails");
    });
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(receive.recv().unwrap().leftovers(), Vec::<String>::new());
}

/// A process that holds servers, and what it said of them.
struct Holder {
    process: Child,
    nodes: Vec<Node>,
}

struct Node {
    name: String,
    pid: Pid,
    folder: PathBuf,
}

impl Holder {
    fn start(topology: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_servers"))
            .arg(topology)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the servers program starts");
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let lines: Vec<String> = lines.take_while(|line| line != "ready").collect();
        assert!(lines[0].starts_with("url redis"), "{lines:?}");
        let holder = Self { process, nodes: lines[1..].iter().map(|line| Node::parse(line)).collect() };
        assert_eq!(holder.leftovers().len(), 2 * holder.nodes.len() + 1, "what is to go is there before");
        holder
    }

    /// What is there of the servers, and the folder around theirs.
    fn leftovers(&self) -> Vec<String> {
        let root = self.nodes[0].folder.parent().unwrap();
        let root = root.exists().then(|| root.display().to_string());
        self.nodes.iter().flat_map(Node::leftovers).chain(root).collect()
    }

    async fn nothing_stays(&self) {
        eventually("nothing is left", Duration::from_secs(30), async || match self.leftovers() {
            none if none.is_empty() => Ok(()),
            some => Err(format!("{some:?}")),
        })
        .await;
    }
}

impl Node {
    fn of(server: &Server) -> Self {
        let pid = Pid::from_raw(server.pid().unwrap().cast_signed()).unwrap();
        Self { name: server.address(), pid, folder: server.dir().to_owned() }
    }

    /// Reads `role address process pid folder path`.
    fn parse(line: &str) -> Self {
        let fields: Vec<&str> = line.split(' ').collect();
        let pid = Pid::from_raw(fields[3].parse().unwrap()).unwrap();
        Self { name: fields[1].to_owned(), pid, folder: PathBuf::from(fields[5]) }
    }

    fn leftovers(&self) -> Vec<String> {
        let process = is_alive(self.pid).then(|| format!("process of {}", self.name));
        let folder = self.folder.exists().then(|| format!("folder of {}", self.name));
        process.into_iter().chain(folder).collect()
    }
}

/// Whether a process exists that is more than a zombie: who reaps an orphan, and when, is not ours to say.
fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap_or_default();
    test_kill_process(pid).is_ok() && !stat.contains(") Z ")
}
