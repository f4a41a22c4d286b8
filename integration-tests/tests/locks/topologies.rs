//! One authority that is more than one server: a cluster, a Sentinel group.

use integration_tests::{Cluster, SentinelGroup};
use redis::cluster::ClusterClient;
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
