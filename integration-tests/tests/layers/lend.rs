//! Connections of one's own to the node of a key.

use integration_tests::{Cluster, Server, eventually, tag_for};
use state_redis::{ErrorKind, RedisConfig};
use tokio::time::Instant;

use crate::support::{backend, ms, on, scraping, value};

#[tokio::test]
async fn on_a_cluster_a_connection_is_lent_to_the_node_of_a_key() {
    let cluster = Cluster::start().await;
    let settings = RedisConfig::builder().url(cluster.url()).pool_config(0, 1, ms(100));
    let backend = backend(settings).await;
    let prometheus = scraping(&backend);
    let error = backend.dedicated().await.expect_err("to which node?");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let soon = || Instant::now() + ms(30_000);
    let mut lent = Vec::new();
    for slot in [0, 8_000, 16_383] {
        let queue = format!("{}queue", tag_for(slot));
        let mut own = backend.dedicated_for(queue.as_bytes()).await.expect("a connection");
        let pushed = own.run(redis::cmd("RPUSH").arg(&queue).arg("job"), soon()).await.expect("its node");
        assert_eq!(pushed, redis::Value::Int(1));
        let popped = own.run(redis::cmd("BLPOP").arg(&queue).arg(1), soon()).await.expect("its node");
        assert!(matches!(popped, redis::Value::Array(_)), "{popped:?}");
        lent.push(own);
    }
    let error = backend.dedicated_for(tag_for(0).as_bytes()).await.expect_err("one for each node");
    assert_eq!(error.kind(), ErrorKind::Overloaded, "{error}");
    let dedicated = [r#"pool="dedicated""#];
    let text = prometheus.render();
    assert_eq!(value(&text, "redis_pool_connections_active", &dedicated), 3.0);
    assert_eq!(value(&text, "redis_pool_timeouts_total", &dedicated), 1.0);
    drop(lent);
    backend.dedicated_for(tag_for(0).as_bytes()).await.expect("it was given back");
    backend.close().await;
    let error = backend.dedicated_for(b"k").await.expect_err("no connection any more");
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
}

#[tokio::test]
async fn on_one_server_every_key_has_the_same_node() {
    let server = Server::start().await;
    let backend = backend(on(&server)).await;
    backend.dedicated_for(b"anything").await.expect("a connection");
    backend.dedicated().await.expect("the same one");
    assert_eq!(backend.health().pool.opened, 1);
}

/// How many connections of this name the servers that run have.
async fn connections(cluster: &Cluster, name: &str) -> usize {
    let mut count = 0;
    for server in cluster.nodes().iter().filter(|server| server.is_running()) {
        let clients: String = server.command(redis::cmd("CLIENT").arg("LIST")).await;
        count += clients.lines().filter(|line| line.contains(&format!("name={name} "))).count();
    }
    count
}

#[tokio::test]
async fn shared_connections_are_counted_while_they_are_open() {
    let cluster = Cluster::start().await;
    let settings = RedisConfig::builder().url(cluster.url());
    let backend =
        backend(settings.connection(|connection| connection.with_client_name("counted".into()))).await;
    let prometheus = scraping(&backend);
    let gauge = |name: &str| value(&prometheus.render(), name, &[r#"pool="shared""#]);
    let as_many_as_the_servers_have = async |what: &str| {
        eventually(what, ms(30_000), async || {
            match (gauge("redis_pool_connections_active"), connections(&cluster, "counted").await) {
                (told, open) if told == open as f64 && open >= 2 => Ok(open),
                (told, open) => Err(format!("{told} are told of, {open} are open")),
            }
        })
        .await
    };
    let at_first = as_many_as_the_servers_have("each connection is counted").await;
    // Longer than `large_value`, so that it takes a second connection.
    backend.put(tag_for(0).as_bytes(), &[b'x'; 100_000]).await.expect("a large value");
    let with_second = as_many_as_the_servers_have("the second one is counted").await;
    assert_eq!(with_second, at_first + 1);
    cluster.owner_of(0).await.kill();
    let after = as_many_as_the_servers_have("both to the dead node are gone").await;
    assert!(after < at_first, "{after} of {at_first}");
    for name in
        ["redis_pool_connections_idle", "redis_pool_connections_pending", "redis_pool_connections_max"]
    {
        assert_eq!(gauge(name), 0.0, "{name}");
    }
    backend.close().await;
    assert_eq!(gauge("redis_pool_connections_active"), 0.0);
}
