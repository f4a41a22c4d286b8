//! One authority that is more than one server: a cluster, a Sentinel group.

use integration_tests::{Cluster, SentinelGroup, Server, slot_of};
use redis::cluster::ClusterClient;
use redis_conn::{Config, Conn};
use redlock::{ErrorKind, LockManager, Outcome, RedisNode};

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_one_authority_and_no_part_of_a_quorum() {
    let cluster = Cluster::start().await;
    let seeds: Vec<_> = cluster.addresses().iter().map(|address| format!("redis://{address}")).collect();
    let connection = ClusterClient::new(seeds.clone()).unwrap().get_async_connection().await.unwrap();
    let wake = redis::Client::open(seeds[0].as_str()).unwrap();
    let builder = LockManager::builder(config().with_node_timeout(2 * SECOND)).subscriber(wake);
    let locks = builder.single(RedisNode::new("cluster", connection)).await.unwrap();
    let ttl = plain(10 * SECOND);

    // Names in all kinds of slots, each with a waiter that it is handed to.
    for name in ["a", "b", "c", "{tag}:d", "e}f{", "%7B"] {
        let guard = locks.acquire(name, ttl).await.unwrap();
        assert_eq!(locks.try_acquire(name, ttl).await.unwrap_err().kind(), ErrorKind::Held);
        let (next, outcome) = tokio::join!(locks.acquire(name, ttl), async {
            tokio::time::sleep(ms(50)).await;
            guard.release().await
        });
        assert_eq!(outcome, Outcome::Released, "{name}");
        assert_eq!(next.unwrap().release().await, Outcome::Released, "{name}");
    }
    let together = locks.acquire_all(&["{order-1}:pay", "{order-1}:ship"], ttl).await.unwrap();
    assert_eq!(together.release().await, Outcome::Released);
    let apart = locks.acquire_all(&["a", "b", "c"], ttl).await.unwrap_err();
    assert_eq!(apart.kind(), ErrorKind::InvalidInput, "{apart}");
    assert!(apart.to_string().contains("CROSSSLOT"), "{apart}");

    let nodes = cluster.nodes().iter().take(3).map(node);
    let error = LockManager::builder(config()).quorum(nodes).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_of_a_sentinel_group_is_an_authority_and_its_replica_is_not() {
    let group = SentinelGroup::start().await;
    let master = group.master().await;
    let locks = LockManager::builder(config()).single(node(master)).await.unwrap();
    assert_eq!(locks.acquire("k", plain(5 * SECOND)).await.unwrap().release().await, Outcome::Released);
    let replica = group.replicas().await[0];
    let error = LockManager::builder(config()).single(node(replica)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
}

/// The seam of the facade: locks over its connection, under a prefix inside of its namespace.
async fn locks_over_a_conn(url: &str) -> (Conn, LockManager) {
    let conn = Conn::connect(Config::from_url(url).unwrap()).await.unwrap();
    let builder = LockManager::builder(config().with_prefix("app:l|").with_node_timeout(2 * SECOND));
    let locks = builder.single(RedisNode::new("conn", conn.clone())).await.unwrap();
    (conn, locks)
}

/// Every kind of lock, each with a waiter, and then every key on these servers: under the prefix, in one slot a name.
async fn stays_under_its_prefix(url: &str, servers: &[&Server]) {
    let (conn, locks) = locks_over_a_conn(url).await;
    let ttl = plain(10 * SECOND);
    for name in ["a", "b", "{tag}:c", "d}e{"] {
        let guard = locks.acquire(name, ttl).await.unwrap();
        let (next, outcome) = tokio::join!(locks.read(name, ttl), async {
            tokio::time::sleep(ms(50)).await;
            guard.release().await
        });
        assert_eq!(outcome, Outcome::Released, "{name}");
        assert_eq!(next.unwrap().release().await, Outcome::Released, "{name}");
        let permit = locks.semaphore(name, 2).unwrap().acquire(ttl).await.unwrap();
        assert_eq!(permit.release().await, Outcome::Released, "{name}");
    }
    let together = locks.acquire_all(&["{tag}:c", "{tag}:f"], ttl).await.unwrap();
    let mut keys: Vec<String> = Vec::new();
    for server in servers {
        keys.extend(server.command::<Vec<String>>(redis::cmd("KEYS").arg("*")).await);
    }
    keys.retain(|key| !key.starts_with("__"));
    assert!(keys.iter().any(|key| key == "app:l|l:={tag}:c:w"), "{keys:?}");
    let tag = slot_of(b"{tag}");
    for key in &keys {
        assert!(key.starts_with("app:l|"), "{key}");
        assert_eq!(slot_of(key.as_bytes()) == tag, key.contains("{tag}"), "{key}");
    }
    assert_eq!(together.release().await, Outcome::Released);
    locks.shutdown().await;
    conn.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_over_the_connection_of_the_facade_stay_under_its_prefix() {
    let server = forgetful().await;
    stays_under_its_prefix(&server.url(), &[&server]).await;
    let group = SentinelGroup::start().await;
    stays_under_its_prefix(&group.url(), &[group.master().await]).await;
    let cluster = Cluster::start().await;
    stays_under_its_prefix(&cluster.url(), &cluster.masters().await).await;
}
