//! What metrics tell of connections that subscribe: as many as the servers have, whoever opened them.

use std::collections::BTreeSet;

use integration_tests::{Cluster, SentinelGroup, Server, eventually, tag_for};
use state_redis::metrics::Prometheus;
use state_redis::redlock::Guard;
use state_redis::{RedisBackend, RedisConfig, RedisConfigBuilder, StateResult};
use tokio::task::JoinHandle;

use crate::support::{backend, ms, on, scraping, value};

const TTL: std::time::Duration = ms(600_000);

/// A backend whose connections have a name, except for those that subscribe.
async fn named(settings: RedisConfigBuilder) -> (RedisBackend, Prometheus) {
    let backend =
        backend(settings.connection(|connection| connection.with_client_name("named".into()))).await;
    let prometheus = scraping(&backend);
    (backend, prometheus)
}

fn gauge(prometheus: &Prometheus, name: &str) -> f64 {
    value(&prometheus.render(), name, &[r#"pool="pubsub""#])
}

/// The connections without a name, but for those over which tests and servers talk, by server and number.
async fn subscribers(servers: &[Server]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for server in servers {
        let clients: String = server.command(redis::cmd("CLIENT").arg("LIST")).await;
        let own = |line: &&str| {
            line.contains(" name= ") && (line.contains(" flags=N ") || line.contains(" flags=P "))
        };
        let numbers = clients.lines().filter(own).filter_map(|line| line.split(' ').next());
        found.extend(numbers.map(|number| format!("{} {number}", server.port())));
    }
    found
}

/// Waits until the gauge says what the servers have, and that is as it should be.
async fn told(
    what: &str,
    prometheus: &Prometheus,
    servers: &[Server],
    expected: impl Fn(&BTreeSet<String>) -> bool,
) -> BTreeSet<String> {
    eventually(what, ms(30_000), async || {
        let open = subscribers(servers).await;
        let told = gauge(prometheus, "redis_pool_connections_active");
        if told == open.len() as f64 && expected(&open) {
            Ok(open)
        } else {
            Err(format!("{told} are told of, {open:?} are open"))
        }
    })
    .await
}

fn waiter(backend: &RedisBackend, lock: String) -> JoinHandle<StateResult<Guard>> {
    let backend = backend.clone();
    tokio::spawn(async move { backend.acquire_lock(&lock, TTL).await })
}

#[tokio::test]
async fn the_subscription_of_waiters_for_locks_is_counted_while_it_is_open() {
    let server = [Server::start().await];
    let (backend, prometheus) = named(on(&server[0])).await;
    told("none before the first lock", &prometheus, &server, BTreeSet::is_empty).await;
    let held = backend.acquire_lock("job", TTL).await.unwrap();
    let waiting = waiter(&backend, "job".to_owned());
    let first = told("one for all who wait", &prometheus, &server, |open| open.len() == 1).await;
    let killed: u32 = server[0].command(redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub")).await;
    assert_eq!(killed, 1);
    told("another one in its place", &prometheus, &server, |open| open.len() == 1 && *open != first).await;
    for name in
        ["redis_pool_connections_idle", "redis_pool_connections_pending", "redis_pool_connections_max"]
    {
        assert_eq!(gauge(&prometheus, name), 0.0, "{name}");
    }
    held.release().await;
    waiting.await.unwrap().expect("a turn").release().await;
    backend.close().await;
    told("none after the end", &prometheus, &server, BTreeSet::is_empty).await;
}

#[tokio::test]
async fn in_a_cluster_the_connections_for_sharded_channels_are_counted() {
    let cluster = Cluster::start().await;
    let (backend, prometheus) = named(RedisConfig::builder().url(cluster.url())).await;
    let locks: Vec<String> = [0, 8_000, 16_383].map(|slot| format!("{}job", tag_for(slot))).into();
    let mut held = Vec::new();
    for lock in &locks {
        held.push(backend.acquire_lock(lock, TTL).await.unwrap());
    }
    let waiting: Vec<_> = locks.iter().map(|lock| waiter(&backend, lock.clone())).collect();
    let channels = async || {
        eventually("each lock has its channel", ms(30_000), async || {
            let mut count = 0;
            for node in cluster.nodes() {
                let names: Vec<String> = node.command(redis::cmd("PUBSUB").arg("SHARDCHANNELS")).await;
                count += names.len();
            }
            if count == locks.len() { Ok(()) } else { Err(format!("{count} channels")) }
        })
        .await;
    };
    channels().await;
    let first = told("one to each master", &prometheus, cluster.nodes(), |open| open.len() == 3).await;
    for node in cluster.nodes() {
        let _: u32 = node.command(redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub")).await;
    }
    told("others in their place", &prometheus, cluster.nodes(), |open| {
        open.len() == 3 && open.is_disjoint(&first)
    })
    .await;
    for guard in held {
        guard.release().await;
    }
    for waiting in waiting {
        waiting.await.unwrap().expect("a turn").release().await;
    }
    backend.close().await;
    told("none after the end", &prometheus, cluster.nodes(), BTreeSet::is_empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_to_sentinels_are_counted() {
    let group = SentinelGroup::start().await;
    let (backend, prometheus) = named(RedisConfig::builder().url(group.url())).await;
    let all = group.sentinels().len();
    told("one to each sentinel", &prometheus, group.sentinels(), |open| open.len() == all).await;
    backend.close().await;
    told("none after the end", &prometheus, group.sentinels(), BTreeSet::is_empty).await;
}
