//! Subscriptions, health and events.

use std::time::Duration;

use integration_tests::proxy::{Fault, Proxy};
use integration_tests::{Server, ServerConfig, eventually};
use redis_conn::{Conn, ErrorKind, HealthReason, HealthStatus, Notice, Role, Subscription};

use crate::support::{config, connect, patient};

const SECOND: Duration = Duration::from_secs(1);

async fn publish(server: &Server, channel: &str, payload: &str) {
    server.command::<i64>(redis::cmd("PUBLISH").arg(channel).arg(payload)).await;
}

async fn next(subscription: &mut Subscription) -> Notice {
    let next = tokio::time::timeout(30 * SECOND, subscription.next()).await;
    next.expect("a notice in time").expect("a live subscription")
}

fn message(channel: &str, pattern: Option<&str>, payload: &str) -> Notice {
    Notice::Message {
        channel: channel.to_owned(),
        pattern: pattern.map(str::to_owned),
        payload: payload.as_bytes().to_vec(),
    }
}

#[tokio::test]
async fn messages_of_channels_and_patterns_arrive() {
    let server = Server::start().await;
    let conn = connect(&server.url()).await;
    let mut subscription = conn.subscribe().await.expect("a subscription");
    subscription.subscribe("news", patient()).await.expect("SUBSCRIBE");
    subscription.subscribe_pattern("log.*", patient()).await.expect("PSUBSCRIBE");
    publish(&server, "news", "one").await;
    assert_eq!(next(&mut subscription).await, message("news", None, "one"));
    publish(&server, "log.web", "two").await;
    assert_eq!(next(&mut subscription).await, message("log.web", Some("log.*"), "two"));
    subscription.unsubscribe("news", patient()).await.expect("UNSUBSCRIBE");
    publish(&server, "news", "unheard").await;
    publish(&server, "log.web", "three").await;
    assert_eq!(next(&mut subscription).await, message("log.web", Some("log.*"), "three"));
}

#[tokio::test]
async fn after_a_lost_connection_a_gap_is_told_and_messages_arrive_again() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let conn = connect(&proxy.url()).await;
    let mut subscription = conn.subscribe().await.expect("a subscription");
    subscription.subscribe("news", patient()).await.expect("SUBSCRIBE");
    for fault in [Fault::None, Fault::BlackHole] {
        match fault {
            Fault::None => proxy.reset(),
            fault => proxy.set(fault),
        }
        if fault == Fault::BlackHole {
            eventually("the silent connection is given up", 60 * SECOND, async || {
                let list: String =
                    server.command(redis::cmd("CLIENT").arg("LIST").arg("TYPE").arg("pubsub")).await;
                if list.trim().is_empty() { Ok(()) } else { Err(list) }
            })
            .await;
            proxy.set(Fault::None);
        }
        assert_eq!(next(&mut subscription).await, Notice::Gap);
        // The gap is told when the channels are subscribed again, so this message cannot be missed.
        publish(&server, "news", "back").await;
        assert_eq!(next(&mut subscription).await, message("news", None, "back"));
    }
}

#[tokio::test]
async fn a_forbidden_channel_is_refused_and_the_subscription_lives_on() {
    let acl = "user svc on >pw ~* &open.* +@all";
    let server = ServerConfig::default().with_acl(acl).start().await;
    let conn = connect(&format!("redis://svc:pw@{}/", server.address())).await;
    let mut subscription = conn.subscribe().await.expect("a subscription");
    let error = subscription.subscribe("closed", patient()).await.expect_err("NOPERM");
    assert_eq!(error.kind(), ErrorKind::Denied);
    subscription.subscribe("open.news", patient()).await.expect("SUBSCRIBE");
    publish(&server, "open.news", "one").await;
    assert_eq!(next(&mut subscription).await, message("open.news", None, "one"));
}

#[tokio::test]
async fn health_follows_the_server() {
    let server = Server::start().await;
    let often = config(&server.url()).with_health_interval(Duration::from_millis(50));
    let conn = Conn::connect(often).await.expect("connect");
    let mut health = conn.health();
    let wait = 30 * SECOND;
    let healthy = health.wait_for(|health| health.status == HealthStatus::Healthy);
    let role = tokio::time::timeout(wait, healthy).await.expect("in time").expect("watched").nodes[0].role;
    assert_eq!(role, Some(Role::Master));

    server.command::<()>(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1)).await;
    let degraded = health.wait_for(|health| health.reasons == [HealthReason::NotMaster]);
    let status = tokio::time::timeout(wait, degraded).await.expect("in time").expect("watched").status;
    assert_eq!(status, HealthStatus::Degraded);

    server.kill();
    let gone = health.wait_for(|health| health.reasons == [HealthReason::NotConnected]);
    let status = tokio::time::timeout(wait, gone).await.expect("in time").expect("watched").status;
    assert_eq!(status, HealthStatus::Unhealthy);
}

#[tokio::test]
async fn a_user_without_role_is_degraded_and_everything_else_works() {
    let acl = "user svc on >pw ~* &* +@all -role -info -config -client -@admin -@dangerous";
    let server = ServerConfig::default().with_acl(acl).start().await;
    for protocol in ["resp2", "resp3"] {
        let url = format!("redis://svc:pw@{}/?protocol={protocol}&client_name=web", server.address());
        let conn = connect(&url).await;
        conn.run(redis::cmd("SET").arg("k").arg("v"), patient()).await.expect("SET");
        let mut health = conn.health();
        let known = health.wait_for(|health| health.reasons == [HealthReason::RoleUnknown]);
        let status =
            tokio::time::timeout(30 * SECOND, known).await.expect("in time").expect("watched").status;
        assert_eq!(status, HealthStatus::Degraded);
    }
}
