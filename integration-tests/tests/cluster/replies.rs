//! Replies that are lost after the command has run: reported as ambiguous, and never repeated behind the caller.

use std::time::Duration;

use futures_util::future::join_all;
use integration_tests::proxy::{Proxy, Strike};
use integration_tests::{Cluster, ClusterConfig, eventually, long, tag_for};
use redis_conn::{Class, Config, Conn};

use crate::support::soon;

/// A cluster whose masters are reached, and announce themselves, through proxies.
async fn behind_proxies() -> (Cluster, Vec<Proxy>) {
    let cluster = ClusterConfig::default().with_replicas(0).start().await;
    let proxies = join_all(cluster.nodes().iter().map(|node| Proxy::start(node.address()))).await;
    for (node, proxy) in cluster.nodes().iter().zip(&proxies) {
        let mut announce = redis::cmd("CONFIG");
        announce.arg("SET").arg("cluster-announce-port").arg(proxy.port());
        node.command::<()>(&announce).await;
    }
    eventually("all nodes know the proxies' ports", Duration::from_secs(30), async || {
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
    // The tags name a shard each, so that the proxy that strikes is the one on the way; each round has its own key.
    let tags = [0, 8000, 16_383].map(tag_for);
    let key = |round: usize| format!("{}:{round}", tags[round % 3]);
    let mut struck_by = Vec::new();
    for slot in [0, 8000, 16_383] {
        let owner = cluster.owner_of(slot).await.port();
        struck_by.push(cluster.nodes().iter().position(|node| node.port() == owner).unwrap());
    }

    let (mut ok, mut ambiguous, mut applied) = (0, 0, 0);
    for round in 0..rounds {
        let shard = struck_by[round % 3];
        proxies[shard].strike_at("INCR", Strike::SwallowReply);
        let deadline = soon();
        let outcome = conn.run(redis::cmd("INCR").arg(key(round)), deadline).await;
        let node = &cluster.nodes()[shard];
        let stored: Option<usize> = node.command(redis::cmd("GET").arg(key(round))).await;
        let stored = stored.unwrap_or(0);
        assert!(stored <= 1, "round {round} ran {stored} times");
        match outcome {
            Ok(_) => {
                assert_eq!(stored, 1, "round {round} was acknowledged");
                ok += 1;
            }
            // It may not have run, when the reply that was swallowed was another's on the same connection.
            Err(error) => {
                assert_eq!(error.class(), Class::Ambiguous, "round {round}: {error:?}");
                ambiguous += 1;
            }
        }
        applied += stored;
    }
    println!("{rounds} increments: {ok} ok, {ambiguous} ambiguous, {applied} applied, none twice");
    assert!(ambiguous >= rounds / 2, "the strikes hit: {ambiguous} of {rounds}");
}
