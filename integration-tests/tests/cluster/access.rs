//! The least rights that are documented for a user of a cluster.

use std::collections::HashSet;
use std::time::Duration;

use integration_tests::{Cluster, ClusterConfig, ServerConfig, eventually, tag_for};
use redis::Value;
use redis_conn::{Config, Conn, ErrorKind, ReadFrom, ScanOptions, SetOptions, WriteConcern};

use crate::support::{calls, soon, words};

/// What the README names, beside the application's own commands.
const RIGHTS: &str = "+role +cluster|slots +cluster|nodes +asking +readonly +wait +ping";
const APPLICATION: &str = "~app:* ~{* resetchannels &news -@all +get +set +incr +scan +subscribe";

async fn cluster(rights: &str) -> Cluster {
    let user = format!("user app on >4pp {APPLICATION} {rights}");
    ClusterConfig::default().with_node(ServerConfig::default().with_acl(user)).start().await
}

#[tokio::test]
async fn the_documented_rights_are_enough() {
    let cluster = cluster(RIGHTS).await;
    let url = format!("redis+cluster://app:4pp@{}", cluster.addresses().join(","));
    let config = Config::from_url(&url)
        .expect("a valid URL")
        .with_read_from(ReadFrom::PreferReplica)
        .with_write_concern(WriteConcern::Wait { replicas: 1, timeout: Duration::from_secs(5) });
    let conn = Conn::connect(config).await.expect("connected");
    for index in 0..50 {
        let key = format!("app:{index}");
        assert!(conn.set(key.as_bytes(), b"v", SetOptions::new(), soon()).await.expect("SET"));
    }
    let mut keys = HashSet::new();
    let mut walk = conn.scan(ScanOptions::default());
    while let Some(page) = walk.next(soon()).await.expect("SCAN") {
        keys.extend(page);
    }
    assert_eq!(keys.len(), 50);
    let subscription = conn.subscribe().await.expect("a subscription");
    subscription.subscribe("news", soon()).await.expect("SUBSCRIBE");
    let error = conn.get(b"other", soon()).await.expect_err("outside of ~app:*");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");

    // A slot half way takes ASKING.
    let incr = words(&format!("INCR {}n", tag_for(77)));
    let target = cluster.owner_of(16_383).await;
    cluster.begin_migration(77, target).await;
    assert_eq!(conn.run(&incr, soon()).await.expect("ASK"), Value::Int(1));
    assert_eq!(conn.write(&incr, soon()).await.expect("ASK, confirmed"), Value::Int(2));

    eventually("a replica is read from", Duration::from_secs(30), async || {
        let mut reads = 0;
        for master in cluster.masters().await {
            reads += calls(cluster.replica_of(master).await, "get").await;
        }
        for index in 0..50 {
            conn.get(format!("app:{index}").as_bytes(), soon()).await.expect("GET");
        }
        if reads > 0 { Ok(()) } else { Err(format!("{reads} reads")) }
    })
    .await;
}

#[tokio::test]
async fn without_the_right_to_ask_a_slot_half_way_is_denied_and_not_waited_for() {
    let cluster = cluster("+role +cluster|slots +wait").await;
    let url = format!("redis+cluster://app:4pp@{}", cluster.addresses().join(","));
    let fast = Config::from_url(&url).expect("a valid URL");
    let concern = WriteConcern::Wait { replicas: 1, timeout: Duration::from_secs(5) };
    let incr = words(&format!("INCR {}n", tag_for(77)));
    cluster.begin_migration(77, cluster.owner_of(16_383).await).await;
    for config in [fast.clone(), fast.with_write_concern(concern)] {
        let conn = Conn::connect(config).await.expect("connected");
        let error = conn.write(&incr, soon()).await.expect_err("NOPERM");
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    }
}
