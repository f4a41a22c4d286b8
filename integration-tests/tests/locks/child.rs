//! A lock client in a process of its own, which can be stopped and killed.

use std::process::Stdio;

use integration_tests::Server;
use redlock::{LockManager, RedisNode, Renewal};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{ChildStdout, Command},
};

use crate::support::*;

const ROLE: &str = "REDLOCK_TEST_ROLE";
const URLS: &str = "REDLOCK_TEST_URLS";
/// In front of the lines that are meant for the parent: the test harness prints others.
const MARK: &str = "child: ";

pub(crate) struct Child {
    process: tokio::process::Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts this test program again in a role, with one URL for one authority and several for a quorum.
    pub(crate) async fn start(role: &str, servers: &[Server], env: &[(&str, &str)]) -> Self {
        let urls: Vec<_> = servers.iter().map(Server::url).collect();
        let mut process = Command::new(std::env::current_exe().expect("the path of this test"))
            .args(["--exact", "child::role", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(URLS, urls.join(","))
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("this test can be started again");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        Self { process, lines }
    }

    /// The next line of the child.
    pub(crate) async fn line(&mut self) -> String {
        loop {
            let line = tokio::time::timeout(60 * SECOND, self.lines.next_line());
            let line = line.await.expect("the child speaks").expect("a pipe").expect("the child lives");
            if let Some((_, text)) = line.split_once(MARK) {
                return text.to_owned();
            }
        }
    }

    pub(crate) async fn ask(&mut self, question: &str) -> String {
        let stdin = self.process.stdin.as_mut().expect("piped");
        stdin.write_all(format!("{question}\n").as_bytes()).await.expect("the child lives");
        self.line().await
    }

    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    pub(crate) async fn kill(&mut self) {
        self.process.kill().await.expect("a process of ours");
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id().expect("not waited for yet")).expect("a pid");
        kill_process(Pid::from_raw(pid).expect("a pid"), signal).expect("a process of ours");
    }
}

/// What the child does. Without a role, as in an ordinary test run, there is nothing to do here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn role() {
    let (Ok(role), Ok(urls)) = (std::env::var(ROLE), std::env::var(URLS)) else { return };
    let nodes: Vec<_> = urls.split(',').map(|url| RedisNode::open(url).unwrap()).collect();
    let builder = LockManager::builder(config());
    let manager = match <[_; 1]>::try_from(nodes) {
        Ok([node]) => {
            let client = redis::Client::open(urls.as_str()).unwrap();
            builder.subscriber(client).single(node).await.unwrap()
        }
        Err(nodes) => builder.quorum(nodes).await.unwrap(),
    };
    // Held and renewed; "wait" waits for it in the queue first.
    let options =
        redlock::LockOptions::ttl(2 * SECOND).with_renewal(Renewal::UpTo { max_hold: 600 * SECOND });
    assert!(["hold", "wait"].contains(&role.as_str()));
    let guard = manager.acquire("k", options).await.unwrap();
    println!("{MARK}{}", guard.token());
    let mut questions = BufReader::new(tokio::io::stdin()).lines();
    while questions.next_line().await.unwrap().is_some() {
        println!("{MARK}{}", guard.is_valid());
    }
}
