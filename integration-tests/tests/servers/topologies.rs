//! Sentinels and clusters come up ready, fail over and reshard.

use std::time::{Duration, Instant};

use integration_tests::{
    Cluster, ClusterConfig, SentinelConfig, SentinelGroup, Server, ServerConfig, eventually,
    independent_masters, slot_of, tag_for,
};
use redis::cmd;

#[tokio::test]
async fn independent_masters_know_nothing_of_each_other() {
    let masters = independent_masters(5).await;
    set(&masters[0], "k", "v").await;
    for master in &masters[1..] {
        assert_eq!(get(master, "k").await, None);
        assert_eq!(master.info("role").await.unwrap().as_deref(), Some("master"));
    }
}

#[tokio::test]
async fn a_sentinel_group_replaces_a_killed_master_and_takes_it_back() {
    let started = Instant::now();
    let group = SentinelGroup::start().await;
    println!("ready after {:?}", started.elapsed());
    let old = group.master().await;
    set(old, "k", "v").await;
    for replica in group.replicas().await {
        arrived(replica).await;
    }

    let killed = Instant::now();
    old.kill();
    let new = group.successor_of(old).await;
    println!("failed over after {:?}", killed.elapsed());
    assert_eq!(get(new, "k").await.as_deref(), Some("v"));

    old.restart().await;
    group.wait_settled().await;
    // Whichever is master: one that had to wait for a busy machine may have been replaced, too.
    let mut roles = Vec::new();
    for node in group.nodes() {
        roles.push(node.info("role").await.unwrap().unwrap());
    }
    roles.sort();
    assert_eq!(roles, ["master", "slave", "slave"]);
    assert_eq!(group.replicas().await.len(), 2);
}

#[tokio::test]
async fn a_frozen_master_is_replaced_and_a_frozen_sentinel_is_not_asked() {
    let group = SentinelGroup::start().await;
    let old = group.master().await;
    group.sentinels()[0].freeze();
    old.freeze();
    let new = group.successor_of(old).await;
    assert_ne!(new.port(), old.port());
    group.sentinels()[0].thaw();
    old.thaw();
    group.wait_settled().await;
}

/// The sentinels ask once a second, and take a stray replica back some seconds later: until then their word is not enough.
#[tokio::test]
async fn a_group_has_not_settled_while_a_replica_goes_its_own_way() {
    let group = SentinelConfig::default().with_replicas(1).start().await;
    let stray = group.replicas().await[0];
    stray.command::<()>(cmd("REPLICAOF").arg("NO").arg("ONE")).await;
    group.wait_settled().await;
    assert_eq!(group.replicas().await[0].info("master_link_status").await.unwrap().as_deref(), Some("up"));
}

#[tokio::test]
async fn a_sentinel_group_with_passwords_fails_over_by_hand() {
    let group = SentinelConfig::default()
        .with_node(ServerConfig::default().with_password("of the nodes"))
        .with_sentinel(ServerConfig::default().with_password("of the sentinels"))
        .start()
        .await;
    let old = group.master().await;
    let new = group.failover().await;
    assert_ne!(new.port(), old.port());
    group.wait_settled().await;
}

#[tokio::test]
async fn a_sentinel_group_has_the_url_of_its_sentinels() {
    let group: SentinelGroup = SentinelConfig::default().with_replicas(1).start().await;
    assert_eq!(
        group.url(),
        format!("redis+sentinel://{}/{}/0", group.addresses().join(","), group.service())
    );
    assert_eq!(group.sentinels().len(), 3);
    assert_eq!(group.nodes().len(), 2);
}

#[tokio::test]
async fn a_cluster_replaces_a_killed_master_and_takes_it_back() {
    let started = Instant::now();
    let cluster = Cluster::start().await;
    println!("ready after {:?}", started.elapsed());
    let slot = slot_of(b"k");
    let old = cluster.owner_of(slot).await;
    set(old, "k", "v").await;
    arrived(cluster.replica_of(old).await).await;

    let killed = Instant::now();
    old.kill();
    let new = cluster.successor_of(old, slot).await;
    println!("failed over after {:?}", killed.elapsed());
    assert_eq!(get(new, "k").await.as_deref(), Some("v"));

    old.restart().await;
    cluster.wait_settled().await;
    assert_eq!(cluster.owner_of(slot).await.port(), new.port());
    assert_eq!(cluster.replica_of(new).await.port(), old.port());
}

#[tokio::test]
async fn a_cluster_fails_over_by_hand() {
    let cluster =
        ClusterConfig::default().with_node(ServerConfig::default().with_password("pw")).start().await;
    let old = cluster.owner_of(0).await;
    let new = cluster.failover(old).await;
    cluster.wait_settled().await;
    assert_eq!(cluster.owner_of(0).await.port(), new.port());
    assert_ne!(new.port(), old.port());
}

#[tokio::test]
async fn a_slot_on_the_move_asks_and_then_has_moved() {
    let cluster = ClusterConfig::default().with_replicas(0).start().await;
    let masters = cluster.masters().await;
    let (from, to) = (masters[0], masters[1]);
    let (stays, goes) = (format!("{}stays", tag_for(0)), format!("{}goes", tag_for(0)));
    set(from, &stays, "1").await;
    set(from, &goes, "2").await;

    cluster.begin_migration(0, to).await;
    assert_eq!(error_code(from, &format!("{}absent", tag_for(0))).await, "ASK");
    assert_eq!(cluster.migrate_keys(0, to, 1).await, 1);
    let mut answers = Vec::new();
    for key in [&stays, &goes] {
        answers.push(try_get(from, key).await.map_err(|error| error.code().unwrap_or_default().to_owned()));
    }
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 1, "{answers:?}");
    assert_eq!(error_code(to, &stays).await, "MOVED");

    assert_eq!(cluster.migrate_keys(0, to, 10).await, 1);
    cluster.finish_migration(0, to).await;
    assert_eq!(get(to, &stays).await.as_deref(), Some("1"));
    assert_eq!(get(to, &goes).await.as_deref(), Some("2"));
    assert_eq!(error_code(from, &stays).await, "MOVED");
}

#[tokio::test]
async fn resharding_takes_all_keys_along_even_to_a_new_node() {
    let node = ServerConfig::default().with_password("pw");
    let mut cluster = ClusterConfig::default().with_node(node).with_replicas(0).start().await;
    let port = cluster.add_node().await.port();
    let to = cluster.nodes().iter().find(|node| node.port() == port).unwrap();
    let from = cluster.owner_of(0).await;
    for slot in 0..100 {
        set(from, &tag_for(slot), &slot.to_string()).await;
    }
    let started = Instant::now();
    cluster.reshard(0..=99, to).await;
    println!("100 slots moved in {:?}", started.elapsed());
    assert_eq!(to.command::<usize>(&cmd("DBSIZE")).await, 100);
    assert_eq!(from.command::<usize>(&cmd("DBSIZE")).await, 0);
    assert_eq!(get(to, &tag_for(99)).await.as_deref(), Some("99"));
    assert_eq!(cluster.masters().await.len(), 4);
}

async fn set(server: &Server, key: &str, value: &str) {
    server.command::<()>(cmd("SET").arg(key).arg(value)).await;
}

/// Waits until a replica has the one key there is. `WAIT` would speak only for the connection that wrote it.
async fn arrived(replica: &Server) {
    eventually("the key is on the replica", Duration::from_secs(30), async || {
        match replica.command::<usize>(&cmd("DBSIZE")).await {
            1 => Ok(()),
            keys => Err(format!("{keys} keys")),
        }
    })
    .await;
}

async fn get(server: &Server, key: &str) -> Option<String> {
    server.command(cmd("GET").arg(key)).await
}

async fn try_get(server: &Server, key: &str) -> redis::RedisResult<Option<String>> {
    server.try_command(cmd("GET").arg(key)).await
}

async fn error_code(server: &Server, key: &str) -> String {
    let error = try_get(server, key).await.expect_err("a redirection");
    error.code().unwrap_or_default().to_owned()
}
