//! Dedicated connections to the node of a key.

use std::time::Duration;

use integration_tests::{Cluster, tag_for};
use redis::Value;
use redis_conn::{Class, Conn, ErrorKind};

use crate::support::{blocked, config, connect, soon, words};

const SLOTS: [u16; 3] = [0, 8000, 16_383];

#[tokio::test]
async fn blocking_commands_run_at_the_node_of_their_key() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    for slot in SLOTS {
        let queue = format!("{}queue", tag_for(slot));
        let mut dedicated = conn.dedicated_for(queue.as_bytes()).await.expect("a connection");
        let blpop = words(&format!("BLPOP {queue} 0"));
        let waiting = tokio::spawn(async move { dedicated.run(&blpop, soon()).await });
        blocked(cluster.owner_of(slot).await).await;
        conn.run(&words(&format!("RPUSH {queue} job")), soon()).await.expect("RPUSH");
        let Value::Array(popped) = waiting.await.expect("task").expect("BLPOP") else { panic!("no array") };
        assert_eq!(popped[1], Value::BulkString(b"job".to_vec()));
    }
    let stats = conn.pool_stats();
    assert_eq!((stats.acquired, stats.opened, stats.in_use, stats.idle), (3, 3, 0, 3), "{stats:?}");
    assert_eq!(stats.max, 3 * conn.config().pool.max);
}

#[tokio::test]
async fn a_connection_to_whichever_node_is_refused() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let error = conn.dedicated().await.expect_err("which node?");
    assert_eq!((error.kind(), error.class()), (ErrorKind::Unsupported, Class::NotSent), "{error:?}");
}

#[tokio::test]
async fn a_watched_key_that_changed_aborts_the_transaction() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let key = format!("{}k", tag_for(8000));
    let mut dedicated = conn.dedicated_for(key.as_bytes()).await.expect("a connection");
    dedicated.run(&words(&format!("WATCH {key}")), soon()).await.expect("WATCH");
    conn.run(&words(&format!("SET {key} other")), soon()).await.expect("SET");
    let mut transaction = redis::pipe();
    transaction.atomic().set(&key, "mine");
    let error = dedicated.run_pipeline(&transaction, soon()).await.expect_err("changed");
    assert_eq!(error.kind(), ErrorKind::Aborted, "{error:?}");
}

#[tokio::test]
async fn after_a_move_the_next_connection_is_to_the_new_node() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let key = format!("{}k", tag_for(77));
    let mut dedicated = conn.dedicated_for(key.as_bytes()).await.expect("a connection");
    let set = words(&format!("SET {key} v"));
    dedicated.run(&set, soon()).await.expect("SET");
    cluster.move_slot(77, cluster.owner_of(16_383).await).await;
    let error = dedicated.run(&set, soon()).await.expect_err("moved");
    assert_eq!((error.kind(), error.class()), (ErrorKind::Redirected, Class::WrongRole), "{error:?}");
    drop(dedicated);
    // The refusal was heard: the handle learns the new place without any further command.
    integration_tests::eventually("the new node is known", Duration::from_secs(30), async || {
        let mut dedicated = conn.dedicated_for(key.as_bytes()).await.map_err(|error| error.to_string())?;
        dedicated.run(&set, soon()).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn a_connection_to_a_dead_masters_slot_is_waited_for() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let key = tag_for(0);
    let victim = cluster.owner_of(0).await;
    let mut events = conn.events();
    victim.kill();
    while !matches!(events.recv().await, Ok(redis_conn::Event::Down { .. })) {}
    let patient = config(&cluster).with_pool(redis_conn::Pooling {
        wait_timeout: Duration::from_secs(30),
        ..redis_conn::Pooling::default()
    });
    let (lent, _) = tokio::join!(conn.dedicated_for(key.as_bytes()), cluster.successor_of(victim, 0));
    match lent {
        Ok(mut dedicated) => drop(dedicated.run(&words(&format!("GET {key}")), soon()).await.expect("GET")),
        // The promotion may take longer than the default wait.
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
    }
    let conn = Conn::connect(patient).await.expect("connected");
    let mut dedicated = conn.dedicated_for(key.as_bytes()).await.expect("the successor");
    dedicated.run(&words(&format!("GET {key}")), soon()).await.expect("GET");
}
