//! The health of the master and of each sentinel.

use std::time::Duration;

use integration_tests::{SentinelConfig, SentinelGroup};
use redis_conn::{
    Config, Conn, Duty, Endpoint, Health, HealthReason, HealthStatus, NodeHealth, ReadFrom, Role,
    SentinelSettings,
};
use tokio::sync::watch;

use crate::support::{connect, endpoint, follows};

async fn seen(health: &mut watch::Receiver<Health>, wanted: impl Fn(&Health) -> bool) -> Health {
    let found = tokio::time::timeout(Duration::from_secs(30), health.wait_for(|health| wanted(health))).await;
    found.expect("in time").expect("watched").clone()
}

fn of<'h>(health: &'h Health, endpoint: &Endpoint) -> &'h NodeHealth {
    let found = health.nodes.iter().find(|node| node.endpoint.as_deref() == Some(endpoint));
    found.unwrap_or_else(|| panic!("{endpoint} is not in {health:?}"))
}

fn is_healthy(health: &Health) -> bool {
    health.status == HealthStatus::Healthy
}

#[tokio::test]
async fn a_lost_sentinel_is_named_and_degrades_no_more_than_itself() {
    let group = SentinelGroup::start().await;
    let conn = connect(&group).await;
    let mut health = conn.health();
    let healthy = seen(&mut health, |health| is_healthy(health) && health.nodes.len() == 4).await;
    let master = of(&healthy, &endpoint(group.master().await));
    assert_eq!((master.duty, master.role), (Duty::Master, Some(Role::Master)));
    for sentinel in group.sentinels() {
        let sentinel = of(&healthy, &endpoint(sentinel));
        assert_eq!((sentinel.duty, sentinel.role), (Duty::Sentinel, Some(Role::Sentinel)), "{healthy:?}");
        assert!(sentinel.latency.is_some());
    }

    let lost = &group.sentinels()[1];
    lost.kill();
    let degraded = seen(&mut health, |health| !is_healthy(health)).await;
    assert_eq!(degraded.status, HealthStatus::Degraded, "{degraded:?}");
    for node in &degraded.nodes {
        let is_lost = node.endpoint.as_deref() == Some(&endpoint(lost));
        let expected: &[HealthReason] = if is_lost { &[HealthReason::NotConnected] } else { &[] };
        assert_eq!(node.reasons, expected, "{degraded:?}");
    }
    lost.restart().await;
    seen(&mut health, is_healthy).await;
}

#[tokio::test]
async fn the_master_that_is_named_follows_the_failover() {
    let group = SentinelGroup::start().await;
    let conn = connect(&group).await;
    let mut health = conn.health();
    seen(&mut health, is_healthy).await;
    let old = group.master().await;
    old.kill();
    let down = seen(&mut health, |health| health.status == HealthStatus::Unhealthy).await;
    assert!(down.reasons.contains(&HealthReason::NotConnected), "{down:?}");
    let new = group.successor_of(old).await;
    follows(&conn, new).await;
    let up = seen(&mut health, is_healthy).await;
    assert_eq!(of(&up, &endpoint(new)).duty, Duty::Master);
}

#[tokio::test]
async fn a_sentinel_of_other_services_and_a_lost_replica_are_named() {
    let group = SentinelConfig::default().with_replicas(1).start().await;
    let other = SentinelConfig::default().with_replicas(1).with_sentinels(1).start().await;
    let stranger = &other.sentinels()[0];
    let forget = redis::cmd("SENTINEL").arg("REMOVE").arg(other.service()).to_owned();
    stranger.command::<()>(&forget).await;
    let addresses = format!("{},{}", group.addresses().join(","), stranger.address());
    let url = format!("redis+sentinel://{addresses}/{}", group.service());
    let often = Config::from_url(&url)
        .expect("a valid URL")
        .with_read_from(ReadFrom::PreferReplica)
        .with_health_interval(Duration::from_millis(200))
        .with_sentinel(SentinelSettings::default().with_poll_interval(Duration::from_millis(200)));
    let conn = Conn::connect(often).await.expect("connected");
    let mut health = conn.health();
    let unknown = seen(&mut health, |health| health.reasons == [HealthReason::ServiceUnknown]).await;
    assert_eq!(of(&unknown, &endpoint(stranger)).status, HealthStatus::Unhealthy);
    let replica = unknown.nodes.iter().find(|node| node.duty == Duty::Replica).expect("a replica");
    assert_eq!((replica.status, replica.role), (HealthStatus::Healthy, Some(Role::Replica)));

    group.nodes()[1].kill();
    let lost = seen(&mut health, |health| {
        let replica = health.nodes.iter().find(|node| node.duty == Duty::Replica);
        replica.is_some_and(|replica| replica.reasons == [HealthReason::NotConnected])
    })
    .await;
    assert_eq!(lost.status, HealthStatus::Degraded);
}
