//! Sharded channels: subscribed where their slot is, and ended when it goes.

use std::time::Duration;

use integration_tests::{Cluster, ClusterConfig, Server, ServerConfig, eventually, tag_for};
use redis_conn::{Config, Conn, ErrorKind, ShardChannel};

use crate::support::{calls, config, connect, soon};

const WITHIN: Duration = Duration::from_secs(30);

/// The next message, or the end of the channel.
async fn next(channel: &mut ShardChannel) -> Option<String> {
    let next = tokio::time::timeout(WITHIN, channel.next()).await.expect("a message or the end in time");
    next.map(|payload| String::from_utf8(payload).unwrap())
}

async fn publish(server: &Server, channel: &str, payload: &str) -> i64 {
    server.command(redis::cmd("SPUBLISH").arg(channel).arg(payload)).await
}

/// Waits until a server has so many sharded channels.
async fn channels(server: &Server, count: usize) {
    eventually("the channels are there, or gone", WITHIN, async || {
        let names: Vec<String> = server.command(redis::cmd("PUBSUB").arg("SHARDCHANNELS")).await;
        if names.len() == count { Ok(()) } else { Err(format!("{names:?}")) }
    })
    .await;
}

#[tokio::test]
async fn channels_of_a_master_share_a_connection_and_end_with_their_readers() {
    let cluster = Cluster::start().await;
    let conn = Conn::connect(config(&cluster).with_stall_timeout(WITHIN)).await.unwrap();
    let (first, last) = (cluster.owner_of(0).await, cluster.owner_of(16_383).await);
    let names = [tag_for(0), tag_for(1), tag_for(16_383)];
    let before: i64 = clients(first).await;
    let mut one = conn.shard_channel(names[0].as_str(), soon()).await.unwrap();
    let mut two = conn.shard_channel(names[1].as_str(), soon()).await.unwrap();
    let mut same = conn.shard_channel(names[0].as_str(), soon()).await.unwrap();
    let mut far = conn.shard_channel(names[2].as_str(), soon()).await.unwrap();
    assert_eq!(clients(first).await - before, 1, "one connection for all of a master");
    assert_eq!(calls(first, "ssubscribe").await, 2, "and one subscription for all of a channel");
    assert_eq!(publish(first, &names[0], "one").await, 1);
    assert_eq!(publish(first, &names[1], "two").await, 1);
    assert_eq!(publish(last, &names[2], "far").await, 1);
    assert_eq!(next(&mut one).await.as_deref(), Some("one"));
    assert_eq!(next(&mut same).await.as_deref(), Some("one"));
    assert_eq!(next(&mut two).await.as_deref(), Some("two"));
    assert_eq!(next(&mut far).await.as_deref(), Some("far"));
    drop((one, far));
    channels(last, 0).await;
    channels(first, 2).await;
    assert_eq!(publish(first, &names[0], "still").await, 1);
    assert_eq!(next(&mut same).await.as_deref(), Some("still"));
    drop((two, same));
    channels(first, 0).await;
    let mut again = conn.shard_channel(names[0].as_str(), soon()).await.unwrap();
    assert_eq!(publish(first, &names[0], "again").await, 1);
    assert_eq!(next(&mut again).await.as_deref(), Some("again"));
    conn.close().await;
    let closed = conn.shard_channel(names[1].as_str(), soon()).await.unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed, "{closed}");
}

/// How many clients a server has, as it sees them.
async fn clients(server: &Server) -> i64 {
    let clients = server.info("connected_clients").await.expect("INFO").expect("a number");
    clients.parse().unwrap()
}

#[tokio::test]
async fn a_channel_whose_slot_moves_ends_and_is_had_again_where_it_went() {
    let cluster = Cluster::start().await;
    let conn = Conn::connect(config(&cluster).with_stall_timeout(WITHIN)).await.unwrap();
    let (from, to) = (cluster.owner_of(0).await, cluster.owner_of(16_383).await);
    let (moved, stays) = (tag_for(0), tag_for(1));
    let mut channel = conn.shard_channel(moved.as_str(), soon()).await.unwrap();
    let mut other = conn.shard_channel(stays.as_str(), soon()).await.unwrap();
    assert_eq!(publish(from, &moved, "before").await, 1);
    cluster.move_slot(0, to).await;
    assert_eq!(next(&mut channel).await.as_deref(), Some("before"));
    assert_eq!(next(&mut channel).await, None);
    let mut channel = conn.shard_channel(moved.as_str(), soon()).await.unwrap();
    assert_eq!(publish(to, &moved, "after").await, 1);
    assert_eq!(next(&mut channel).await.as_deref(), Some("after"));
    assert_eq!(publish(from, &stays, "here").await, 1);
    assert_eq!(next(&mut other).await.as_deref(), Some("here"));
}

#[tokio::test]
async fn a_channel_of_a_master_that_dies_ends_and_is_had_again_from_its_successor() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let name = tag_for(0);
    let mut channel = conn.shard_channel(name.as_str(), soon()).await.unwrap();
    let victim = cluster.owner_of(0).await;
    victim.kill();
    assert_eq!(next(&mut channel).await, None);
    let mut channel = conn.shard_channel(name.as_str(), soon()).await.unwrap();
    let successor = cluster.successor_of(victim, 0).await;
    assert_eq!(publish(successor, &name, "back").await, 1);
    assert_eq!(next(&mut channel).await.as_deref(), Some("back"));
}

/// A master that does not answer any more says nothing of that.
#[tokio::test]
async fn a_channel_of_a_master_that_falls_silent_ends() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let mut channel = conn.shard_channel(tag_for(0), soon()).await.unwrap();
    let victim = cluster.owner_of(0).await;
    victim.freeze();
    assert_eq!(next(&mut channel).await, None);
    victim.thaw();
}

#[tokio::test]
async fn a_user_without_the_right_is_denied_and_keeps_what_it_may_hear() {
    let user = "user app on >s3cret -@all &may:* +ssubscribe +sunsubscribe +ping +role +cluster|slots";
    let node = ServerConfig::default().with_acl(user);
    let cluster = ClusterConfig::default().with_node(node).with_replicas(0).start().await;
    let url = cluster.url().replace("://", "://app:s3cret@");
    let conn = Conn::connect(Config::from_url(&url).unwrap()).await.unwrap();
    let (mine, other) = (format!("may:{}", tag_for(0)), tag_for(0));
    let mut channel = conn.shard_channel(mine.as_str(), soon()).await.unwrap();
    let denied = conn.shard_channel(other, soon()).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied, "{denied}");
    assert_eq!(publish(cluster.owner_of(0).await, &mine, "heard").await, 1);
    assert_eq!(next(&mut channel).await.as_deref(), Some("heard"));
}

#[tokio::test]
async fn one_server_has_no_sharded_channels() {
    let server = Server::start().await;
    let conn = Conn::connect(Config::from_url(&server.url()).unwrap()).await.unwrap();
    let refused = conn.shard_channel("c", soon()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    assert_eq!(calls(&server, "ssubscribe").await, 0);
}
