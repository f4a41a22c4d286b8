//! The rights that `docs/semantics.md` names are enough, and each of them is needed.

use std::time::Duration;

use futures_util::TryStreamExt;
use integration_tests::{Cluster, ClusterConfig, Server, ServerConfig, eventually, slot_of};
use redis::Value;
use state_redis::{
    Idempotency, PutItem, RedisBackend, RedisConfigBuilder, ScanOptions, StateBackend, StateResult, Ttl,
};

use crate::support::{WINDOW, backend, on};

const USER: &str = "user app on >s3cret -@all ~app:* resetchannels";

/// What every connection asks for.
const CONNECTION: &str = "+role +ping";
/// The operations of the contract, and those with an id.
const DATA: &str =
    "+get +set +unlink +exists +pttl +pexpire +persist +incrby +scan +mget +mset +eval +evalsha +del";
/// Locks on the backend's own servers.
const LOCKS: &str = "&app:* +eval +evalsha +info +time +get +set +del +exists +incr +pttl +pexpire +zadd +zrem +zscore \
    +zcard +zrange +zrangebyscore +zremrangebyscore +hget +hset +hdel +hincrby +publish +subscribe";
/// Locks on a cluster, beside.
const SHARDED: &str = "+ssubscribe +sunsubscribe +spublish";
/// A cluster's slots.
const CLUSTER: &str = "+cluster|slots +cluster|nodes";

/// The rules of the document, as it writes them.
#[test]
fn the_document_names_these_rules() {
    let document = include_str!("../../../docs/semantics.md");
    for rules in [CONNECTION, DATA, LOCKS, SHARDED, CLUSTER] {
        assert!(document.contains(&format!("`{rules}`")), "docs/semantics.md lacks `{rules}`");
    }
}

#[tokio::test]
async fn the_rights_for_data_are_enough_and_none_is_too_many() {
    let server = server_with(&[CONNECTION, DATA]).await;
    exact(&server, &on(url(&server)), DATA, use_data).await;
}

#[tokio::test]
async fn the_rights_for_locks_are_enough() {
    let server = server_with(&[CONNECTION, LOCKS]).await;
    let backend = backend(on(url(&server)).key_prefix("app:")).await;
    let outcome = use_locks(&backend).await;
    assert_eq!(denied(&server).await, Vec::<String>::new(), "{outcome:?}");
    outcome.expect("a result");
}

#[tokio::test]
async fn the_rights_for_a_cluster_are_enough() {
    let rules = format!("{USER} {CONNECTION} {DATA} {CLUSTER}");
    let node = ServerConfig::default().with_acl(rules);
    let cluster: Cluster = ClusterConfig::default().with_node(node).with_replicas(0).start().await;
    let url = cluster.url().replace("://", "://app:s3cret@");
    let backend = backend(on(url).key_prefix("app:")).await;
    use_data(&backend).await.expect("a result");
    for node in cluster.nodes() {
        assert_eq!(denied(node).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn the_rights_for_locks_on_a_cluster_are_enough_and_without_sharded_channels_they_work_too() {
    for sharded in [SHARDED, ""] {
        let rules = format!("{USER} {CONNECTION} {LOCKS} {sharded} {CLUSTER}");
        let node = ServerConfig::default().with_acl(rules);
        let cluster = ClusterConfig::default().with_node(node).with_replicas(0).start().await;
        let url = cluster.url().replace("://", "://app:s3cret@");
        let backend = backend(on(url).key_prefix("app:")).await;
        use_locks_in_turn(&cluster, &backend).await.expect("a result");
        let mut called = [0, 0];
        for node in cluster.nodes() {
            for (count, command) in called.iter_mut().zip(["spublish", "publish"]) {
                *count += ran(node, command).await;
            }
            let denied = denied(node).await;
            // What is tried to find out does no harm.
            assert!(
                denied.iter().all(|entry| sharded.is_empty() && entry.contains("ssubscribe")),
                "{denied:?}"
            );
        }
        assert_eq!(called, if sharded.is_empty() { [0, 1] } else { [1, 0] });
        backend.close().await;
    }
}

/// One holder, and one that certainly waits for it.
async fn use_locks_in_turn(cluster: &Cluster, backend: &RedisBackend) -> StateResult<()> {
    let ttl = Duration::from_secs(5);
    let held = backend.acquire_lock("job", ttl).await?;
    let waiting = backend.acquire_lock("job", ttl);
    let release = async {
        let queue = "app:l|l:-{job}:q";
        let owner = cluster.owner_of(slot_of(queue.as_bytes())).await;
        eventually("it waits", Duration::from_secs(30), async || {
            let count: usize = owner.command(redis::cmd("ZCARD").arg(queue)).await;
            if count == 1 { Ok(()) } else { Err(count.to_string()) }
        })
        .await;
        held.release().await;
    };
    let (next, _released) = tokio::join!(waiting, release);
    next?.release().await;
    Ok(())
}

/// How often a server has run a command.
async fn ran(server: &Server, command: &str) -> u64 {
    let stats = server.info(&format!("cmdstat_{command}")).await.expect("INFO").unwrap_or_default();
    let calls = stats.strip_prefix("calls=").and_then(|rest| rest.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

async fn server_with(rules: &[&str]) -> Server {
    ServerConfig::default().with_acl(format!("{USER} {}", rules.join(" "))).start().await
}

fn url(server: &Server) -> String {
    format!("redis://app:s3cret@{}/", server.address())
}

/// With the rules nothing is denied; without any one of them something is.
async fn exact(
    server: &Server,
    config: &RedisConfigBuilder,
    rules: &str,
    work: impl AsyncFn(&RedisBackend) -> StateResult<()>,
) {
    let config = config.clone().key_prefix("app:").retry_config(
        1,
        Duration::from_millis(1),
        Duration::from_millis(1),
        0.0,
    );
    let enough = backend(config.clone()).await;
    let outcome = work(&enough).await;
    assert_eq!(denied(server).await, Vec::<String>::new(), "denied with all rules: {outcome:?}");
    outcome.expect("a result");
    enough.close().await;
    for rule in rules.split(' ') {
        let opposite = rule.replace('+', "-");
        let change = if rule.starts_with('&') { "resetchannels" } else { opposite.as_str() };
        set_user(server, change).await;
        let backend = backend(config.clone()).await;
        let outcome = work(&backend).await;
        let denied = denied(server).await;
        assert!(outcome.is_err() || !denied.is_empty(), "{rule} is not needed");
        backend.close().await;
        set_user(server, rule).await;
    }
}

async fn set_user(server: &Server, rule: &str) {
    let _: () = server.command(redis::cmd("ACL").arg("SETUSER").arg("app").arg(rule)).await;
    let _: () = server.command(redis::cmd("ACL").arg("LOG").arg("RESET")).await;
    let _: () = server.command(redis::cmd("SCRIPT").arg("FLUSH")).await;
}

/// What the server has denied.
async fn denied(server: &Server) -> Vec<String> {
    let log: Vec<Vec<Value>> = server.command(redis::cmd("ACL").arg("LOG")).await;
    log.into_iter().map(|entry| format!("{entry:?}")).collect()
}

async fn use_data(backend: &RedisBackend) -> StateResult<()> {
    let minute = Duration::from_secs(60);
    backend.put(b"k", b"v").await?;
    backend.get(b"k").await?;
    backend.contains(b"k").await?;
    backend.expire(b"k", minute).await?;
    backend.persist(b"k").await?;
    backend.ttl(b"k").await?;
    backend.delete(b"k").await?;
    backend.increment(b"n", 1).await?;
    let _ = backend.compare_and_swap(b"n", Some(b"1"), None).await?;
    backend.get_and_delete(b"n").await?;
    let _ = backend.increment_once(b"n", 1, b"1", WINDOW).await?;
    let _ = backend.put_if_absent_once(b"e", b"v", Ttl::Default, b"1", WINDOW).await?;
    for result in backend.batch_put(&[PutItem::new(b"a", b"1"), PutItem::new(b"b", b"2")]).await {
        result?;
    }
    for result in backend.batch_get(&[b"a", b"b"]).await {
        result?;
    }
    let keys: [&[u8]; 2] = [b"a", b"b"];
    let many = (0..100).map(|_| backend.get(keys[0]));
    futures_util::future::try_join_all(many).await?;
    backend.count().await?;
    backend.scan_entries(b"", ScanOptions::default()).try_collect::<Vec<_>>().await?;
    backend.clear().await?;
    backend.command(&redis::cmd("PING"), Idempotency::Safe).await?;
    backend.health_check().await.map(drop)
}

async fn use_locks(backend: &RedisBackend) -> StateResult<()> {
    let ttl = Duration::from_secs(5);
    let held = backend.acquire_lock("job", ttl).await?;
    let waiting = backend.acquire_lock("job", ttl);
    let release = async {
        tokio::task::yield_now().await;
        held.release().await;
    };
    let (next, _released) = tokio::join!(waiting, release);
    next?.release().await;
    Ok(())
}
