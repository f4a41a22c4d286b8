//! What is left of a backend that was closed, or whose last clone was dropped: nothing.

use std::time::Duration;

use integration_tests::{Cluster, SentinelGroup, Server, eventually};
use state_redis::{ErrorKind, RedisBackend, RedisConfigBuilder, StateBackend};
use tokio::runtime::Handle;

use crate::support::{THREADS, backend, on};

const WITHIN: Duration = Duration::from_secs(30);

/// What a backend may leave behind.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    connections: Vec<usize>,
    tasks: usize,
    threads: usize,
}

impl Traces {
    async fn now(servers: &[&Server]) -> Self {
        let mut connections = Vec::new();
        for server in servers {
            connections.push(connections_of_clients(server).await);
        }
        Self {
            connections,
            tasks: Handle::current().metrics().num_alive_tasks(),
            threads: publishing_threads(),
        }
    }
}

/// Connections to `server`, but for those of replicas, of sentinels and of the test itself, which come and go.
async fn connections_of_clients(server: &Server) -> usize {
    let clients: String = server.command(redis::cmd("CLIENT").arg("LIST")).await;
    let is_ours = |line: &&str| line.split(' ').any(|field| field == format!("name={NAME}"));
    clients.lines().filter(is_ours).count()
}

/// The name that the connections of the backend under test give themselves.
const NAME: &str = "under-test";

fn publishing_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("the threads of the process");
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).filter(|name| name.trim() == "state-metrics").count()
}

fn named(url: impl Into<String>) -> RedisConfigBuilder {
    on(url)
        .enable_metrics(true)
        .pool_config(0, 4, WITHIN)
        .connection(|connection| connection.with_client_name(NAME.to_owned()))
}

/// Uses all that opens connections or starts tasks.
async fn use_everything(backend: &RedisBackend, has_pool: bool) {
    backend.put(b"k", b"v").await.expect("a result");
    assert_eq!(backend.count().await.expect("a result"), 1);
    let guard = backend.acquire_lock("job", Duration::from_secs(30)).await.expect("a result");
    assert!(backend.try_acquire_lock("job", Duration::from_secs(30)).await.expect("a result").is_none());
    drop(guard);
    let held = backend.acquire_lock("other", Duration::from_secs(30)).await.expect("a result");
    held.release().await;
    if has_pool {
        drop(backend.dedicated().await.expect("a result"));
    }
    let _events = backend.events();
    assert!(backend.stats().await.operations_total > 0);
}

async fn leaves_nothing(servers: &[&Server], url: &str, has_pool: bool) {
    let _alone = THREADS.lock().await;
    let before = Traces::now(servers).await;
    for is_closed in [true, false] {
        let under_test = backend(named(url)).await;
        use_everything(&under_test, has_pool).await;
        let during = Traces::now(servers).await;
        assert!(during.connections.iter().sum::<usize>() >= 2, "data and locks: {during:?}");
        assert!(during.tasks > before.tasks, "{during:?}");
        // A thread gives itself its name, once it has its turn.
        eventually("one thread publishes", WITHIN, async || match publishing_threads() {
            now if now == before.threads + 1 => Ok(()),
            now => Err(format!("{now} threads, {} before", before.threads)),
        })
        .await;
        let clone = under_test.clone();
        if is_closed {
            under_test.close().await;
            for error in [
                clone.get(b"k").await.expect_err("an error"),
                clone.put(b"k", b"v").await.expect_err("an error"),
            ] {
                assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
            }
            let lock = clone.try_acquire_lock("job", Duration::from_secs(1)).await;
            assert_eq!(lock.expect_err("an error").kind(), ErrorKind::Closed);
            // With the handles there, tasks and connections are gone; the figures stay readable.
            gone(servers, &before, before.threads + 1).await;
            assert!(clone.stats().await.operations_total > 0);
        }
        drop((under_test, clone));
        gone(servers, &before, before.threads).await;
    }
}

async fn gone(servers: &[&Server], before: &Traces, threads: usize) {
    eventually("nothing is left", WITHIN, async || {
        let now = Traces::now(servers).await;
        let is_gone = now.connections == before.connections && now.tasks <= before.tasks;
        if is_gone && now.threads == threads { Ok(()) } else { Err(format!("{now:?}, before {before:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_backend_leaves_no_connection_task_or_thread() {
    let server = Server::start().await;
    leaves_nothing(&[&server], &server.url(), true).await;
}

#[tokio::test]
async fn a_backend_behind_sentinels_leaves_nothing() {
    let group = SentinelGroup::start().await;
    let servers: Vec<_> = group.nodes().iter().chain(group.sentinels()).collect();
    leaves_nothing(&servers, &group.url(), true).await;
}

#[tokio::test]
async fn a_backend_on_a_cluster_leaves_nothing() {
    let cluster = Cluster::start().await;
    let servers: Vec<_> = cluster.nodes().iter().collect();
    leaves_nothing(&servers, &cluster.url(), false).await;
}

#[tokio::test]
async fn a_lock_that_was_never_asked_for_is_closed_too() {
    let server = Server::start().await;
    let closed = backend(on(server.url())).await;
    closed.close().await;
    closed.close().await;
    let error = closed.acquire_lock("job", Duration::from_secs(1)).await.expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    assert_eq!(closed.locks().await.expect_err("an error").kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_guard_outlives_the_backend_and_still_releases() {
    let server = Server::start().await;
    let first = backend(on(server.url())).await;
    let guard = first.acquire_lock("job", Duration::from_secs(30)).await.expect("a result");
    drop(first);
    let second = backend(on(server.url())).await;
    assert!(second.try_acquire_lock("job", Duration::from_secs(1)).await.expect("a result").is_none());
    guard.release().await;
    assert!(second.try_acquire_lock("job", Duration::from_secs(1)).await.expect("a result").is_some());
}
