//! Replies that are lost after the command has run: reported as ambiguous, and never repeated behind the caller.

use std::time::Duration;

use futures_util::future::join_all;
use integration_tests::proxy::{Proxy, Strike};
use integration_tests::{Cluster, ClusterConfig, eventually, tag_for};
use redis_conn::{Class, Config, Conn};
use tokio::time::Instant;

use crate::support::long;

/// A cluster whose masters are reached, and announce themselves, through proxies.
async fn behind_proxies() -> (Cluster, Vec<Proxy>) {
    let cluster = ClusterConfig::default().with_replicas(0).start().await;
    let proxies = join_all(cluster.nodes().iter().map(|node| Proxy::start(node.address()))).await;
    for (node, proxy) in cluster.nodes().iter().zip(&proxies) {
        let mut announce = redis::cmd("CONFIG");
        announce.arg("SET").arg("cluster-announce-port").arg(proxy.port());
        node.command::<()>(&announce).await;
    }
    eventually("all nodes know the proxies' ports", Duration::from_secs(10), async || {
        for node in cluster.nodes() {
            let nodes: String = node.command(redis::cmd("CLUSTER").arg("NODES")).await;
            if let Some(proxy) = proxies.iter().find(|proxy| !nodes.contains(&format!(":{}@", proxy.port())))
            {
                return Err(format!("{} is not named in {nodes}", proxy.port()));
            }
        }
        Ok(())
    })
    .await;
    (cluster, proxies)
}

#[tokio::test]
async fn swallowed_replies_are_ambiguous_and_never_applied_twice() {
    let rounds = if long() { 1000 } else { 100 };
    let (cluster, proxies) = behind_proxies().await;
    let seeds: Vec<String> = proxies.iter().map(Proxy::address).collect();
    let config = Config::from_url(&format!("redis+cluster://{}", seeds.join(","))).unwrap();
    let conn = Conn::connect(config).await.unwrap();
    // One key for each shard, so that the proxy that strikes is the one on the way.
    let keys = [0, 8000, 16_383].map(tag_for);
    let mut struck_by = Vec::new();
    for slot in [0, 8000, 16_383] {
        let owner = cluster.owner_of(slot).await.port();
        struck_by.push(cluster.nodes().iter().position(|node| node.port() == owner).unwrap());
    }

    let mut ambiguous = 0;
    for round in 0..rounds {
        let shard = round % 3;
        proxies[struck_by[shard]].strike(Strike::SwallowReply);
        let deadline = Instant::now() + Duration::from_secs(3);
        match conn.run(redis::cmd("INCR").arg(&keys[shard]), deadline).await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.class(), Class::Ambiguous, "round {round}: {error:?}");
                ambiguous += 1;
            }
        }
    }
    let mut applied = 0;
    for (key, node) in keys.iter().zip(&struck_by) {
        applied += cluster.nodes()[*node].command::<usize>(redis::cmd("GET").arg(key)).await;
    }
    println!("{rounds} increments, {ambiguous} replies swallowed, {applied} applied");
    assert_eq!(applied, rounds, "each increment ran exactly once");
    assert!(ambiguous >= rounds / 2, "the strikes hit: {ambiguous} of {rounds}");
}
