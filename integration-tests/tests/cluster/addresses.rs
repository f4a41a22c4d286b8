//! Nodes that announce addresses which are not reachable from here.

use std::collections::HashSet;
use std::time::Duration;

use integration_tests::{Cluster, eventually, tag_for};
use redis::Value;
use redis_conn::{Conn, Endpoint, ErrorKind, ReadFrom, ScanOptions, SetOptions};

use crate::support::{config, soon, words};

/// Announced ports lie so far above the real ones; nobody listens there.
const SHIFT: u16 = 25_000;

async fn behind_nat() -> Cluster {
    let cluster = Cluster::start().await;
    for node in cluster.nodes() {
        let announce = words(&format!("CONFIG SET cluster-announce-port {}", node.port() + SHIFT));
        node.command::<()>(&announce).await;
    }
    eventually("all nodes announce other ports", Duration::from_secs(30), async || {
        for node in cluster.nodes() {
            let nodes: String = node.command(&words("CLUSTER NODES")).await;
            for peer in cluster.nodes() {
                if !nodes.contains(&format!(":{}@", peer.port() + SHIFT)) {
                    return Err(nodes);
                }
            }
        }
        Ok(())
    })
    .await;
    cluster
}

fn outside(announced: &Endpoint) -> Endpoint {
    match announced {
        Endpoint::Tcp { host, port } if *port > SHIFT => Endpoint::tcp(host.clone(), port - SHIFT),
        other => other.clone(),
    }
}

#[tokio::test]
async fn announced_addresses_are_translated_everywhere() {
    let cluster = behind_nat().await;
    let mapped = config(&cluster).with_address_map(outside).with_read_from(ReadFrom::PreferReplica);
    let conn = Conn::connect(mapped).await.expect("connected");
    let keys: HashSet<Vec<u8>> = (0..200).map(|index| format!("k{index}").into_bytes()).collect();
    for key in &keys {
        conn.set(key, b"v", SetOptions::new(), soon()).await.expect("SET");
        assert_eq!(conn.get(key, soon()).await.expect("GET"), Some(b"v".to_vec()));
    }
    let mut found = HashSet::new();
    let mut walk = conn.scan(ScanOptions::default());
    while let Some(page) = walk.next(soon()).await.expect("SCAN") {
        found.extend(page);
    }
    assert_eq!(found, keys);

    // Redirects name announced addresses, too.
    let (slot, target) = (77, cluster.owner_of(16_383).await);
    let incr = words(&format!("INCR {}n", tag_for(slot)));
    cluster.begin_migration(slot, target).await;
    assert_eq!(conn.run(&incr, soon()).await.expect("ASK"), Value::Int(1));
    cluster.migrate_keys(slot, target, 10).await;
    cluster.finish_migration(slot, target).await;
    assert_eq!(conn.run(&incr, soon()).await.expect("MOVED"), Value::Int(2));
}

#[tokio::test]
async fn without_a_map_they_are_out_of_reach() {
    let cluster = behind_nat().await;
    let impatient = config(&cluster).with_connect_timeout(Duration::from_secs(2));
    let error = Conn::connect(impatient).await.expect_err("nobody listens there");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}
