//! Subscriptions and health over many nodes.

use std::time::Duration;

use integration_tests::{Cluster, Server};
use redis_conn::{Conn, Duty, Endpoint, Health, HealthReason, HealthStatus, Notice, Subscription};
use tokio::sync::watch;

use crate::support::{config, connect, soon};

const WITHIN: Duration = Duration::from_secs(30);

async fn publish(server: &Server, payload: &str) {
    server.command::<i64>(redis::cmd("PUBLISH").arg("news").arg(payload)).await;
}

async fn next(subscription: &mut Subscription) -> Notice {
    let next = tokio::time::timeout(WITHIN, subscription.next()).await;
    next.expect("a notice in time").expect("a live subscription")
}

fn message(payload: &str) -> Notice {
    Notice::Message { channel: "news".to_owned(), pattern: None, payload: payload.as_bytes().to_vec() }
}

/// The node that the only subscriber is connected to.
async fn host(cluster: &Cluster) -> &Server {
    for node in cluster.nodes().iter().filter(|node| node.is_responsive()) {
        let counts: (String, u32) = node.command(redis::cmd("PUBSUB").arg("NUMSUB").arg("news")).await;
        if counts.1 > 0 {
            return node;
        }
    }
    panic!("no node has the subscriber");
}

#[tokio::test]
async fn what_is_published_at_any_node_arrives() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let mut subscription = conn.subscribe().await.expect("a subscription");
    subscription.subscribe("news", soon()).await.expect("SUBSCRIBE");
    for (index, node) in cluster.nodes().iter().enumerate() {
        publish(node, &index.to_string()).await;
        assert_eq!(next(&mut subscription).await, message(&index.to_string()));
    }
    conn.run(redis::cmd("PUBLISH").arg("news").arg("own"), soon()).await.expect("PUBLISH");
    assert_eq!(next(&mut subscription).await, message("own"));
}

#[tokio::test]
async fn a_subscription_moves_when_its_node_dies() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let mut subscription = conn.subscribe().await.expect("a subscription");
    subscription.subscribe("news", soon()).await.expect("SUBSCRIBE");
    host(&cluster).await.kill();
    assert_eq!(next(&mut subscription).await, Notice::Gap);
    publish(host(&cluster).await, "back").await;
    assert_eq!(next(&mut subscription).await, message("back"));
}

/// A node that lives on outside of the cluster hears nothing of it any more, and says nothing of that either.
#[tokio::test]
async fn a_subscription_leaves_a_node_that_is_no_master_any_more() {
    let cluster = Cluster::start().await;
    let often = config(&cluster).with_topology_interval(Duration::from_millis(200));
    let conn = Conn::connect(often).await.expect("connected");
    let mut subscription = conn.subscribe().await.expect("a subscription");
    subscription.subscribe("news", soon()).await.expect("SUBSCRIBE");
    let former = host(&cluster).await;
    cluster.failover(former).await;
    assert_eq!(next(&mut subscription).await, Notice::Gap);
    let present = host(&cluster).await;
    assert_ne!(present.port(), former.port());
    publish(former, "from there").await;
    assert_eq!(next(&mut subscription).await, message("from there"));
}

async fn seen(health: &mut watch::Receiver<Health>, wanted: impl Fn(&Health) -> bool) -> Health {
    let found = tokio::time::timeout(WITHIN, health.wait_for(|health| wanted(health))).await;
    found.expect("in time").expect("watched").clone()
}

#[tokio::test]
async fn health_names_the_master_that_is_lost() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let mut health = conn.health();
    let healthy = seen(&mut health, |health| health.status == HealthStatus::Healthy).await;
    assert_eq!(healthy.nodes.len(), 3);
    assert!(healthy.nodes.iter().all(|node| node.duty == Duty::Master && node.latency.is_some()));

    let victim = cluster.owner_of(0).await;
    victim.kill();
    let degraded = seen(&mut health, |health| health.reasons == [HealthReason::NotConnected]).await;
    assert_eq!(degraded.status, HealthStatus::Degraded, "{degraded:?}");
    let endpoint = Endpoint::tcp("127.0.0.1", victim.port());
    for node in &degraded.nodes {
        let expected = if node.endpoint.as_deref() == Some(&endpoint) {
            HealthStatus::Unhealthy
        } else {
            HealthStatus::Healthy
        };
        assert_eq!(node.status, expected, "{degraded:?}");
    }
    // Until its replica has taken over.
    conn.set(integration_tests::tag_for(0).as_bytes(), b"v", Default::default(), soon()).await.expect("SET");
    let healed = seen(&mut health, |health| health.status == HealthStatus::Healthy).await;
    assert!(healed.nodes.iter().all(|node| node.endpoint.as_deref() != Some(&endpoint)), "{healed:?}");
}
