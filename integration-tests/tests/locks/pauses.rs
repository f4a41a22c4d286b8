//! E5, E6, E7 and E12: processes that stand still.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use redlock::{
    Claim, ErrorKind, Fault, LockManager, LockNode, NodeInfo, Outcome, Place, Reconnecting, RedisNode,
    Standing, Vote,
};

use crate::{child::Child, support::*};

/// E5: the holder's process is stopped for longer than its lock lasts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e05_the_holder_is_stopped() {
    let begun = Instant::now();
    let servers = forgetful_masters(3).await;
    let manager = quorum(&servers, config()).await;
    let register = Register::default();
    let mut holder = Child::start("hold", &servers, &[]).await;
    let token: u64 = holder.line().await.parse().unwrap();
    assert!(register.write(token));
    holder.stop();
    let guard = manager.acquire("k", plain(5 * SECOND)).await.unwrap();
    assert!(register.write(guard.token()));
    holder.go_on();
    let answer = holder.ask("valid?").await;
    let late_write = register.write(token);
    figures(
        "E5",
        &format!("after SIGCONT the holder says valid={answer}, its write accepted={late_write}"),
        begun,
    );
    assert_eq!((answer.as_str(), late_write), ("false", false));
}

/// E6: a node is stopped: it accepts bytes and answers nothing. Nothing may hang.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e06_a_node_is_stopped() {
    let begun = Instant::now();
    let servers = forgetful_masters(3).await;
    let node_timeout = ms(200);
    let manager = quorum(&servers, config().with_node_timeout(node_timeout)).await;
    manager.acquire("warm", plain(5 * SECOND)).await.unwrap().release().await;
    servers[0].freeze();
    let mut slowest = [Duration::ZERO; 3];
    for _ in 0..20 {
        let timed = Instant::now();
        let guard = manager.acquire("k", plain(5 * SECOND)).await.unwrap();
        slowest[0] = slowest[0].max(timed.elapsed());
        let timed = Instant::now();
        guard.extend(5 * SECOND).await.unwrap();
        slowest[1] = slowest[1].max(timed.elapsed());
        let timed = Instant::now();
        assert_eq!(guard.release().await, Outcome::Released);
        slowest[2] = slowest[2].max(timed.elapsed());
    }
    let fresh =
        LockManager::builder(config().with_node_timeout(node_timeout)).quorum(servers.iter().map(node));
    let fresh = fresh.await.unwrap();
    let timed = Instant::now();
    drop(fresh.acquire("k", plain(5 * SECOND)).await.unwrap());
    let first = timed.elapsed();
    servers[1].freeze();
    let timed = Instant::now();
    let error = manager.try_acquire("k", plain(5 * SECOND)).await.unwrap_err();
    let refused = timed.elapsed();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    servers[0].thaw();
    servers[1].thaw();
    figures(
        "E6",
        &format!(
            "with one of three stopped, slowest acquire, extend, release {slowest:?}, first of a new \
        manager {first:?}; with two stopped refused after {refused:?}; node timeout {node_timeout:?}"
        ),
        begun,
    );
    for time in slowest.into_iter().chain([first, refused]) {
        assert!(time < node_timeout + ms(50) + SECOND, "{time:?}");
    }
    // What the stopped node was sent is settled when it goes on: the lock is free there too.
    fresh.shutdown().await;
    manager.shutdown().await;
    integration_tests::eventually("no key is left", 10 * SECOND, async || {
        let keys = lock_keys(&servers[0]).await;
        if keys.is_empty() { Ok(()) } else { Err(format!("{keys:?}")) }
    })
    .await;
}

/// Nodes whose second answer, the one that makes a majority, reaches a client that stands still just then.
struct Stalling(RedisNode<Reconnecting>, Arc<AtomicUsize>);

#[async_trait]
impl LockNode for Stalling {
    fn label(&self) -> &str {
        self.0.label()
    }
    async fn inspect(&self) -> Result<NodeInfo, Fault> {
        self.0.inspect().await
    }
    async fn acquire(&self, claim: &Claim) -> Result<Vote, Fault> {
        let vote = self.0.acquire(claim).await;
        if self.1.fetch_add(1, Ordering::SeqCst) == 1 {
            std::thread::sleep(ms(800));
        }
        vote
    }
    async fn enqueue(&self, claim: &Claim, place: &Place) -> Result<Vote, Fault> {
        self.0.enqueue(claim, place).await
    }
    async fn extend(&self, claim: &Claim, ttl: Duration) -> Result<Standing, Fault> {
        self.0.extend(claim, ttl).await
    }
    async fn raise(&self, claim: &Claim, token: u64) -> Result<Option<u64>, Fault> {
        self.0.raise(claim, token).await
    }
    async fn release(&self, claim: &Claim, burial: Option<Duration>) -> Result<Standing, Fault> {
        self.0.release(claim, burial).await
    }
    async fn peek(&self, claim: &Claim) -> Result<Vec<(String, Duration)>, Fault> {
        self.0.peek(claim).await
    }
    async fn bootstrap(&self, epoch_key: &str) -> Result<(), Fault> {
        self.0.bootstrap(epoch_key).await
    }
}

/// E7: the client stands still between the last answer and the grant, for longer than the lock lasts.
#[tokio::test]
async fn e07_the_client_stands_still_before_the_grant() {
    let begun = Instant::now();
    let servers = forgetful_masters(3).await;
    quorum(&servers, config()).await;
    let answers = Arc::new(AtomicUsize::new(0));
    let nodes = servers.iter().map(|server| Stalling(node(server), Arc::clone(&answers)));
    let manager = LockManager::builder(config()).quorum(nodes).await.unwrap();
    let error = manager.try_acquire("k", plain(ms(500))).await.unwrap_err();
    figures(
        "E7",
        &format!("the answers of a majority, then 0.8 s still, for a lock of 0.5 s: {:?}", error.kind()),
        begun,
    );
    assert_eq!(error.kind(), ErrorKind::TooLate, "{error}");
    manager.shutdown().await;
    for server in &servers {
        assert_eq!(lock_keys(server).await, Vec::<String>::new());
    }
}

/// E12: a node is busy: asleep in a command, in a script, or with its clients paused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e12_a_node_is_busy() {
    let begun = Instant::now();
    let options = [("enable-debug-command", "local"), ("busy-reply-threshold", "50")];
    let mut servers = forgetful_masters(2).await;
    let config_of = integration_tests::ServerConfig::default().with_option("appendonly", "no");
    servers.push(
        options
            .iter()
            .fold(config_of, |config, (name, value)| config.with_option(*name, value))
            .start()
            .await,
    );
    let servers = Arc::new(servers);
    // Nobody waits for the busy node; the two others are given time for a machine that stands still.
    let manager = quorum(&servers, config().with_node_timeout(2 * SECOND)).await;
    let mut busy = redis::cmd("EVAL");
    busy.arg("local t = redis.call('TIME')[1] + 2 while tonumber(redis.call('TIME')[1]) < t do end").arg(0);
    let mut sleep = redis::cmd("DEBUG");
    sleep.arg("SLEEP").arg(1.5);
    let mut pause = redis::cmd("CLIENT");
    pause.arg("PAUSE").arg(1500);
    for (name, command) in [("DEBUG SLEEP", sleep), ("a busy script", busy), ("CLIENT PAUSE", pause)] {
        let blocker = tokio::spawn({
            let servers = Arc::clone(&servers);
            async move { servers[2].try_command::<redis::Value>(&command).await }
        });
        let (end, mut rounds, mut slowest) = (Instant::now() + ms(1500), 0, Duration::ZERO);
        while Instant::now() < end {
            let timed = Instant::now();
            let guard = manager.acquire("k", plain(10 * SECOND)).await.unwrap();
            slowest = slowest.max(timed.elapsed());
            assert_eq!(guard.release().await, Outcome::Released);
            rounds += 1;
        }
        blocker.await.unwrap().unwrap();
        figures("E12", &format!("{name}: {rounds} locks meanwhile, slowest acquire {slowest:?}"), begun);
        assert!(rounds > 5 && slowest < 2 * SECOND);
    }
}
