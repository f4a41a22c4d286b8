//! Every command finds its node, and commands of many keys are divided and put together.

use std::collections::HashMap;
use std::time::Duration;

use integration_tests::{Cluster, Server};
use redis::{AsyncCommands, Value};
use redis_conn::{Config, Conn, ErrorKind, Pooling, ReadFrom, SetOptions, State, WriteConcern};

use crate::support::{config, connect, soon, words};

#[tokio::test]
async fn typed_operations_reach_the_master_of_their_key() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    assert_eq!(conn.state(), State::Up);
    for index in 0..200 {
        let key = format!("key {index}");
        assert!(conn.set(key.as_bytes(), key.as_bytes(), SetOptions::new(), soon()).await.unwrap());
    }
    for index in 0..200 {
        let key = format!("key {index}");
        assert_eq!(conn.get(key.as_bytes(), soon()).await.unwrap().unwrap(), key.as_bytes());
    }
    assert_eq!(conn.get(b"absent", soon()).await.unwrap(), None);
    assert_eq!(conn.run(&words("DBSIZE"), soon()).await.unwrap(), Value::Int(200));
}

#[tokio::test]
async fn redis_rs_commands_pipelines_and_scripts_run_over_the_handle() {
    let cluster = Cluster::start().await;
    let mut conn = connect(&cluster).await;
    let pairs: Vec<(String, i64)> = (0..100).map(|index| (format!("n{index}"), index)).collect();
    let keys: Vec<&String> = pairs.iter().map(|(key, _)| key).collect();

    conn.mset::<_, _, ()>(&pairs).await.unwrap();
    let values: Vec<i64> = conn.mget(&keys).await.unwrap();
    assert_eq!(values, (0..100).collect::<Vec<i64>>());
    assert_eq!(conn.exists::<_, i64>(&keys).await.unwrap(), 100);
    assert_eq!(conn.del::<_, i64>(&keys[..40]).await.unwrap(), 40);
    assert_eq!(conn.keys::<_, Vec<String>>("n*").await.unwrap().len(), 60);

    let mut pipeline = redis::pipe();
    for key in &keys {
        pipeline.incr(key, 1);
    }
    let counted: Vec<i64> = pipeline.query_async(&mut conn).await.unwrap();
    let expected: Vec<i64> = (0..100).map(|index| if index < 40 { 1 } else { index + 1 }).collect();
    assert_eq!(counted, expected);

    let script = redis::Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    for key in keys.iter().take(10) {
        assert_eq!(script.key(key).arg(5).invoke_async::<i64>(&mut conn).await.unwrap(), 6);
    }
}

#[tokio::test]
async fn a_pipeline_mixes_slots_and_divided_commands_and_keeps_its_order() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let mut pipeline = redis::pipe();
    pipeline.set("a", 1).lpush("list", 1).set("b", 2).get("list").cmd("MGET").arg("a").arg("b").arg("c");
    pipeline.cmd("PING").cmd("DBSIZE");
    let replies = conn.run_pipeline(&pipeline, soon()).await.unwrap();
    assert_eq!(replies.len(), 7);
    assert_eq!(replies[3].as_ref().unwrap_err().kind(), ErrorKind::WrongType);
    assert!(replies[0].is_ok() && replies[2].is_ok());
    assert_eq!(*replies[5].as_ref().unwrap(), Value::SimpleString("PONG".to_owned()));
}

#[tokio::test]
async fn transactions_run_in_one_slot_and_are_refused_in_two() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let mut pipeline = redis::pipe();
    pipeline.atomic().incr("{tag}1", 1).incr("{tag}2", 2);
    let replies = conn.run_pipeline(&pipeline, soon()).await.unwrap();
    let replies: Vec<Value> = replies.into_iter().map(Result::unwrap).collect();
    assert_eq!(replies, [Value::Int(1), Value::Int(2)]);

    pipeline.incr("elsewhere", 1);
    assert_eq!(conn.run_pipeline(&pipeline, soon()).await.unwrap_err().kind(), ErrorKind::CrossSlot);
    assert_eq!(conn.get(b"{tag}1", soon()).await.unwrap().unwrap(), b"1");
}

#[tokio::test]
async fn commands_across_slots_that_cannot_be_divided_are_a_typed_error() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let error = conn.run(&words("RENAME a b"), soon()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CrossSlot);
    assert_eq!(conn.run(&words("SCAN 0"), soon()).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn commands_for_all_masters_reach_all_of_them() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let mut sha = HashMap::new();
    sha.insert("sha", conn.run(&words("SCRIPT LOAD return"), soon()).await.unwrap());
    let Value::BulkString(sha) = &sha["sha"] else { panic!("{sha:?}") };
    for master in cluster.masters().await {
        let known: Vec<bool> = master.command(redis::cmd("SCRIPT").arg("EXISTS").arg(sha)).await;
        assert_eq!(known, [true]);
    }
    conn.set(b"k", b"v", SetOptions::new(), soon()).await.unwrap();
    conn.run(&words("FLUSHALL"), soon()).await.unwrap();
    assert_eq!(conn.run(&words("DBSIZE"), soon()).await.unwrap(), Value::Int(0));
}

#[tokio::test]
async fn one_live_seed_of_several_is_enough() {
    let cluster = Cluster::start().await;
    let dead = Server::start().await;
    let dead_address = dead.address();
    dead.kill();
    let url = format!("redis+cluster://{dead_address},{}", cluster.nodes()[0].address());
    let conn = Conn::connect(Config::from_url(&url).unwrap()).await.unwrap();
    conn.set(b"k", b"v", SetOptions::new(), soon()).await.unwrap();
}

#[tokio::test]
async fn servers_outside_of_a_cluster_are_refused_in_words() {
    let server = Server::start().await;
    let url = format!("redis+cluster://{}", server.address());
    let config = Config::from_url(&url).unwrap().with_connect_timeout(Duration::from_secs(3));
    let error = Conn::connect(config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

/// A handle with every sort of connection that there is.
async fn connect_with_all(cluster: &Cluster) -> Conn {
    let pool = Pooling { min: 2, ..Pooling::default() };
    let all = config(cluster)
        .with_read_from(ReadFrom::PreferReplica)
        .with_write_concern(WriteConcern::Wait { replicas: 1, timeout: Duration::from_secs(5) })
        .with_pool(pool);
    let conn = Conn::connect(all).await.unwrap();
    let large = vec![b'x'; conn.config().batching.large_value];
    conn.set(b"k", b"v", SetOptions::new(), soon()).await.unwrap();
    conn.run(redis::cmd("SET").arg("large").arg(large), soon()).await.unwrap();
    conn
}

async fn no_connection_is_left(cluster: &Cluster) {
    for node in cluster.nodes() {
        integration_tests::eventually("our connections are gone", Duration::from_secs(30), async || {
            let list: String = node.command(redis::cmd("CLIENT").arg("LIST")).await;
            let ours = |line: &&str| line.contains("lib-name=redis-conn") || line.contains("flags=P");
            match list.lines().filter(ours).count() {
                0 => Ok(()),
                open => Err(format!("{open} open")),
            }
        })
        .await;
    }
}

#[tokio::test]
async fn closing_ends_every_connection() {
    let cluster = Cluster::start().await;
    let conn = connect_with_all(&cluster).await;
    conn.close().await;
    assert_eq!(conn.get(b"k", soon()).await.unwrap_err().kind(), ErrorKind::Closed);
    no_connection_is_left(&cluster).await;
}

#[tokio::test]
async fn the_last_handle_takes_every_connection_with_it() {
    let cluster = Cluster::start().await;
    let conn = connect_with_all(&cluster).await;
    let health = conn.health();
    let subscription = conn.subscribe().await.unwrap();
    subscription.subscribe("news", soon()).await.unwrap();
    let clone = conn.clone();
    drop(conn);
    clone.set(b"k", b"v", SetOptions::new(), soon()).await.unwrap();
    drop((clone, subscription));
    no_connection_is_left(&cluster).await;
    // The task that watched over the health is gone, too.
    integration_tests::eventually("nobody checks any more", Duration::from_secs(30), async || {
        health.has_changed().err().map(drop).ok_or_else(|| "the monitor runs".to_owned())
    })
    .await;
}
