//! Waiters in a cluster are called over a channel of their lock, which no other node hears of.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use integration_tests::{Cluster, Server, eventually, slot_of};
use redis_conn::{Config, Conn, ShardChannel};
use redlock::{Guard, LockConfig, LockManager, Outcome, RedisNode, Subscriber};
use tokio::task::JoinHandle;

use crate::{handoff::Looks, support::*};

/// Where those wait who want the lock of these tests.
const QUEUE: &str = "redlock:l:-{k}:q";

/// Beyond what a loaded machine takes for anything here.
const WITHIN: Duration = Duration::from_secs(30);

/// Sharded channels of a connection, as the facade has them.
struct Sharded {
    conn: Conn,
    listening: Arc<AtomicU32>,
}

type Messages = Result<BoxStream<'static, String>, Box<dyn std::error::Error + Send + Sync>>;

#[async_trait]
impl Subscriber for Sharded {
    async fn subscribe(&self, _: &str) -> Messages {
        Err("only sharded ones".into())
    }

    fn is_sharded(&self) -> bool {
        true
    }

    async fn subscribe_sharded(&self, channel: &str) -> Messages {
        let deadline = tokio::time::Instant::now() + 10 * SECOND;
        let channel = self.conn.shard_channel(channel, deadline).await?;
        let next = |mut channel: ShardChannel| async {
            Some((String::from_utf8(channel.next().await?).ok()?, channel))
        };
        let listening = Arc::clone(&self.listening);
        // At the first question for a message, by when its waiters rely on the channel.
        let told = stream::once(async move { listening.fetch_add(1, Ordering::SeqCst) });
        Ok(told.filter_map(|_| async { None }).chain(stream::unfold(channel, next)).boxed())
    }
}

/// Settings by which a waiter whose channel is there does not look again for ten seconds.
fn patient() -> LockConfig {
    config()
        .with_node_timeout(5 * SECOND)
        .with_max_ttl(60 * SECOND)
        .with_waiter_timeout(30 * SECOND)
        .with_claim_timeout(20 * SECOND)
}

/// A manager, what it looked, and how often it began to listen.
struct Locks {
    manager: LockManager,
    looks: Looks,
    listening: Arc<AtomicU32>,
}

impl Locks {
    async fn on(cluster: &Cluster) -> Self {
        // On a loaded machine a server may be silent for a while without being lost.
        let connection = Config::from_url(&cluster.url()).unwrap().with_stall_timeout(20 * SECOND);
        let conn = Conn::connect(connection).await.unwrap();
        let (looks, listening) = (Looks::default(), Arc::<AtomicU32>::default());
        let subscriber = Sharded { conn: conn.clone(), listening: Arc::clone(&listening) };
        let builder = LockManager::builder(patient()).observer(looks.clone()).subscriber(subscriber);
        let manager = builder.single(RedisNode::new("cluster", conn)).await.unwrap();
        Self { manager, looks, listening }
    }

    async fn acquire(&self) -> Guard {
        self.manager.acquire("k", plain(60 * SECOND)).await.unwrap()
    }

    /// Waits until it has begun to listen so often.
    async fn listens(&self, times: u32) {
        eventually("it listens", WITHIN, async || match self.listening.load(Ordering::SeqCst) {
            count if count >= times => Ok(()),
            count => Err(format!("{count} times")),
        })
        .await;
    }

    /// A waiter in line that relies on its channel, the first one.
    async fn waits(&self, owner: &Server) -> JoinHandle<Guard> {
        let waiter = wait(&self.manager);
        in_line(owner, 1).await;
        self.listens(1).await;
        channels(owner, 1).await;
        waiter
    }
}

async fn owner(cluster: &Cluster) -> &Server {
    cluster.owner_of(slot_of(QUEUE.as_bytes())).await
}

/// Waits until so many waiters are in the queue of the lock.
async fn in_line(owner: &Server, count: usize) {
    eventually("waiters are in the queue", WITHIN, async || {
        let waiting: usize = owner.command(redis::cmd("ZCARD").arg(QUEUE)).await;
        if waiting == count { Ok(()) } else { Err(format!("{waiting}")) }
    })
    .await;
}

/// Waits until the server has so many channels of locks.
async fn channels(server: &Server, count: usize) {
    eventually("the channels are there, or gone", WITHIN, async || {
        let names: Vec<String> = server.command(redis::cmd("PUBSUB").arg("SHARDCHANNELS")).await;
        let is_lock = |name: &String| name.starts_with("redlock:l:-{k}:wake:");
        if names.len() == count && names.iter().all(is_lock) { Ok(()) } else { Err(format!("{names:?}")) }
    })
    .await;
}

async fn calls(server: &Server, command: &str) -> u64 {
    let calls = server.info(&format!("cmdstat_{command}")).await.expect("INFO").unwrap_or_default();
    let calls = calls.strip_prefix("calls=").and_then(|rest| rest.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

fn wait(manager: &LockManager) -> JoinHandle<Guard> {
    let manager = manager.clone();
    tokio::spawn(async move { manager.acquire("k", plain(60 * SECOND)).await.unwrap() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_are_called_by_the_node_of_their_lock_alone() {
    let cluster = Cluster::start().await;
    let locks = Locks::on(&cluster).await;
    let owner = owner(&cluster).await;
    let first = locks.acquire().await;
    let second = locks.waits(owner).await;
    let (token, begun) = (first.token(), Instant::now());
    assert_eq!(first.release().await, Outcome::Released);
    let second = second.await.unwrap();
    assert!(begun.elapsed() < 5 * SECOND, "by its next heartbeat it would be ten");
    assert!(second.is_valid() && second.token() > token);
    locks.looks.take();
    // Its channel is there still.
    let third = wait(&locks.manager);
    in_line(owner, 1).await;
    assert_eq!(second.release().await, Outcome::Released);
    let third = third.await.unwrap();
    assert_eq!(locks.looks.take(), 1, "one, and none to confirm");
    assert_eq!(third.release().await, Outcome::Released);
    for node in cluster.nodes() {
        let expected = if node.port() == owner.port() { 2 } else { 0 };
        assert_eq!(calls(node, "spublish").await, expected, "{}", node.port());
        assert_eq!(calls(node, "publish").await, 0);
    }
    assert_eq!(calls(owner, "ssubscribe").await, 1, "neither a free lock nor the second waiter costs one");
    channels(owner, 0).await;
}

/// Sharded channels that are never confirmed.
struct Unconfirmed;

#[async_trait]
impl Subscriber for Unconfirmed {
    async fn subscribe(&self, _: &str) -> Messages {
        Err("only sharded ones".into())
    }

    fn is_sharded(&self) -> bool {
        true
    }

    async fn subscribe_sharded(&self, _: &str) -> Messages {
        std::future::pending().await
    }
}

/// Its call is lost, and its next heartbeat would be in ten seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_whose_channel_is_not_confirmed_asks() {
    let server = forgetful().await;
    let builder = LockManager::builder(patient()).subscriber(Unconfirmed);
    let locks = builder.single(node(&server)).await.unwrap();
    let first = locks.acquire("k", plain(60 * SECOND)).await.unwrap();
    let waiter = wait(&locks);
    in_line(&server, 1).await;
    let begun = Instant::now();
    assert_eq!(first.release().await, Outcome::Released);
    let second = waiter.await.unwrap();
    let took = begun.elapsed();
    println!("a waiter without a channel had its turn after {took:?}");
    assert!(took < 5 * SECOND, "{took:?}");
    assert_eq!(calls(&server, "spublish").await, 1);
    assert_eq!(second.release().await, Outcome::Released);
}

/// As the bus of the cluster counts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_node_of_another_shard_is_told() {
    let cluster = Cluster::start().await;
    let locks = Locks::on(&cluster).await;
    let owner = owner(&cluster).await;
    let first = locks.acquire().await;
    let waiter = locks.waits(owner).await;
    let of_bus = async |node: &Server, field: &str| -> u64 {
        let info: String = node.command(redis::cmd("CLUSTER").arg("INFO")).await;
        let line = info.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|line| line.strip_prefix(':')).map_or(0, |count| count.trim().parse().unwrap())
    };
    first.release().await;
    waiter.await.unwrap().release().await;
    assert_eq!(calls(owner, "spublish").await, 1);
    for node in cluster.nodes() {
        assert_eq!(of_bus(node, "cluster_stats_messages_publish_received").await, 0);
    }
    // The owner's replica is, so the count is one that shows.
    let replica = cluster.replica_of(owner).await;
    eventually("the replica is told", WITHIN, async || {
        let told = of_bus(replica, "cluster_stats_messages_publishshard_received").await;
        if told == 1 { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
    let others = cluster.masters().await.into_iter().filter(|node| node.port() != owner.port());
    for node in others {
        assert_eq!(of_bus(node, "cluster_stats_messages_publishshard_received").await, 0, "{}", node.port());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_whose_slot_moves_is_called_from_there() {
    let cluster = Cluster::start().await;
    let locks = Locks::on(&cluster).await;
    let from = owner(&cluster).await;
    let to = cluster.masters().await.into_iter().find(|node| node.port() != from.port()).unwrap();
    let first = locks.acquire().await;
    let waiter = locks.waits(from).await;
    cluster.move_slot(slot_of(QUEUE.as_bytes()), to).await;
    locks.listens(2).await;
    channels(to, 1).await;
    channels(from, 0).await;
    let begun = Instant::now();
    assert_eq!(first.release().await, Outcome::Released);
    let second = waiter.await.unwrap();
    let took = begun.elapsed();
    println!("a waiter whose slot moved was called after {took:?}");
    assert!(took < 5 * SECOND, "by its next heartbeat it would be ten: {took:?}");
    assert_eq!(calls(to, "spublish").await, 1);
    assert_eq!(second.release().await, Outcome::Released);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_whose_master_dies_gets_its_turn_from_the_successor() {
    let cluster = Cluster::start().await;
    let locks = Locks::on(&cluster).await;
    let victim = owner(&cluster).await;
    let first = locks.acquire().await;
    let waiter = locks.waits(victim).await;
    let replica = cluster.replica_of(victim).await;
    eventually("the replica has all of it", WITHIN, async || {
        let offset = async |node: &Server, field| node.info(field).await.expect("INFO");
        let (sent, has) =
            (offset(victim, "master_repl_offset").await, offset(replica, "slave_repl_offset").await);
        if sent == has { Ok(()) } else { Err(format!("{has:?} of {sent:?}")) }
    })
    .await;
    victim.kill();
    let successor = cluster.successor_of(victim, slot_of(QUEUE.as_bytes())).await;
    locks.listens(2).await;
    channels(successor, 1).await;
    let begun = Instant::now();
    first.release().await;
    let second = waiter.await.unwrap();
    let took = begun.elapsed();
    println!("a waiter whose master died was called {took:?} after the release");
    assert!(took < 5 * SECOND, "by its next heartbeat it would be ten: {took:?}");
    assert_eq!(second.release().await, Outcome::Released);
}
