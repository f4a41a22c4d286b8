//! E10 and E11: wall clocks jump, of servers and of a client.

use std::{
    path::PathBuf,
    process::{Child as Process, Command, Stdio},
    time::Instant,
};

use integration_tests::{Port, Server, server_binary};
use redlock::{LockManager, Reconnecting, RedisNode};
use tempfile::TempDir;

use crate::{child::Child, support::*};

/// A wall clock that can be moved, for processes that are started with its library.
struct WallClock {
    dir: TempDir,
}

impl WallClock {
    /// Compiles the library. There is no test of clocks without it, so a missing compiler fails the test.
    fn new() -> Self {
        let clock = Self { dir: tempfile::tempdir().expect("a folder") };
        clock.step(0);
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/locks/clock.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(clock.library())
            .arg(source)
            .status();
        assert!(built.is_ok_and(|status| status.success()), "E10 and E11 need a C compiler: cc");
        clock
    }

    fn library(&self) -> PathBuf {
        self.dir.path().join("clock.so")
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("offset")
    }

    /// Sets by how many seconds the clock is ahead.
    fn step(&self, seconds: i64) {
        use std::os::unix::fs::FileExt;
        let options = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(self.file());
        options.and_then(|file| file.write_all_at(&seconds.to_ne_bytes(), 0)).expect("a file of ours");
    }

    fn env(&self) -> [(&'static str, String); 2] {
        [
            ("LD_PRELOAD", self.library().display().to_string()),
            ("CLOCK_OFFSET", self.file().display().to_string()),
        ]
    }
}

/// A server with such a clock.
struct Clocked {
    clock: WallClock,
    port: Port,
    process: Process,
}

impl Clocked {
    async fn start() -> Self {
        let (clock, port) = (WallClock::new(), Port::reserve());
        let process = Command::new(server_binary())
            .args(["--bind", "127.0.0.1", "--save", "", "--port", &port.number().to_string()])
            .envs(clock.env())
            .current_dir(clock.dir.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("a server");
        let server = Self { clock, port, process };
        let client = redis::Client::open(server.url()).unwrap();
        integration_tests::eventually("the server answers", 30 * SECOND, async || {
            client.get_multiplexed_async_connection().await.map(drop).map_err(|error| error.to_string())
        })
        .await;
        server
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port.number())
    }

    /// Waits until the key is there.
    async fn has(&self, key: &str) {
        let client = redis::Client::open(self.url()).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        integration_tests::eventually("the key is there", 5 * SECOND, async || {
            let there: bool =
                redis::cmd("EXISTS").arg(key).query_async(&mut connection.clone()).await.unwrap();
            there.then_some(()).ok_or_else(|| "not yet".to_owned())
        })
        .await;
    }

    fn node(&self) -> RedisNode<Reconnecting> {
        RedisNode::open(&self.url()).unwrap()
    }
}

impl Drop for Clocked {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// E10: the wall clock jumps ahead by more than a time to live, on one node and on two of three, and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e10_wall_clocks_of_servers_jump() {
    let begun = Instant::now();
    let servers = [Clocked::start().await, Clocked::start().await, Clocked::start().await];
    let nodes = || servers.iter().map(Clocked::node);
    let ours = LockManager::builder(config()).quorum(nodes()).await.unwrap();
    let theirs = LockManager::builder(config()).quorum(nodes()).await.unwrap();
    ours.bootstrap().await.unwrap();
    let register = Register::default();

    let guard = ours.acquire("k", plain(10 * SECOND)).await.unwrap();
    register.enter(guard.lease());
    // A majority is enough for a grant; that one node may jump takes that the third has it too.
    for server in &servers {
        server.has("redlock:l:-{k}:w").await;
    }
    servers[0].clock.step(60);
    let mut grants = 0;
    for _ in 0..20 {
        grants += u32::from(theirs.try_acquire("k", plain(10 * SECOND)).await.is_ok());
    }
    assert!(guard.is_valid());
    assert_eq!((grants, register.report().overlaps), (0, 0), "a minority that jumps changes nothing");

    // The documented breach: a majority whose clocks jump gives the lock away, at once. The tokens still rise, and
    // the late write is refused.
    servers[1].clock.step(60);
    let jumped = Instant::now();
    let second = theirs.acquire("k", plain(10 * SECOND)).await.unwrap();
    let second_after = jumped.elapsed();
    register.enter(second.lease());
    let late_write = register.write(guard.token());
    let breach = register.report();
    assert_eq!((breach.overlaps, breach.inversions, late_write), (1, 0, false));
    assert!(second_after < 5 * SECOND, "{second_after:?}");
    drop(guard);
    second.release().await;

    // Backwards: locks last longer there, tokens still rise, and no node abstains, since it forgot nothing.
    servers.iter().for_each(|server| server.clock.step(-60));
    let jumped = Instant::now();
    let third = ours.acquire("k", plain(2 * SECOND)).await.unwrap();
    let third_after = jumped.elapsed();
    register.enter(third.lease());
    let report = register.report();
    assert!(third_after < 5 * SECOND, "{third_after:?}");
    figures(
        "E10",
        &format!(
            "one node +60 s: {grants} second grants of 20; two nodes +60 s: {} overlap after \
        {second_after:?}, the late write accepted={late_write}; all -120 s: the next after {third_after:?}, {} inversions",
            breach.overlaps, report.inversions
        ),
        begun,
    );
    assert_eq!(report.inversions, 0);
}

/// E11: the wall clock of the client is an hour off, ahead and behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e11_the_wall_clock_of_the_client_jumps() {
    let begun = Instant::now();
    let servers: Vec<Server> = forgetful_masters(3).await;
    let manager = quorum(&servers, config()).await;
    let clock = WallClock::new();
    let env = clock.env();
    let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut holder = Child::start("hold", &servers, &env).await;
    let token: u64 = holder.line().await.parse().unwrap();
    for offset in [3600, -3600] {
        clock.step(offset);
        // Longer than its time to live: it has to be renewed, and to know that it was.
        tokio::time::sleep(3 * SECOND).await;
        assert_eq!(holder.ask("valid?").await, "true", "offset {offset}");
        assert!(manager.try_acquire("k", plain(SECOND)).await.is_err());
    }
    holder.kill().await;
    let next = manager.acquire("k", plain(SECOND)).await.unwrap();
    figures("E11", "client +1 h and -1 h: renewed and valid throughout", begun);
    assert!(next.token() > token);
}
