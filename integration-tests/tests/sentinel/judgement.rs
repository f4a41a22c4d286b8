//! Sentinels that are wrong, slow or dead beside ones that are right.

use std::time::Duration;

use integration_tests::proxy::{Fault, Proxy};
use integration_tests::{Port, SentinelGroup, Server};
use redis_conn::{Config, Conn, ErrorKind};

use crate::fake::FakeSentinel;
use crate::support::{Writer, connect, endpoint, follows, ping, port_of};

fn config(addresses: &[String]) -> Config {
    Config::from_url(&format!("redis+sentinel://{}/mymaster", addresses.join(","))).expect("a valid URL")
}

/// One lies, one is dead, one is slow. The slow one knows two good ones, so the lie is outvoted, though it comes
/// first and with the highest epoch.
#[tokio::test]
async fn a_liar_a_dead_and_a_slow_sentinel_still_lead_to_the_master() {
    let (group, stranger) = tokio::join!(SentinelGroup::start(), Server::start());
    let liar = FakeSentinel::naming(stranger.port()).await;
    let slow = Proxy::start(group.sentinels()[0].address()).await;
    slow.set_replies(Fault::Delay(Duration::from_millis(50)));
    let dead = format!("127.0.0.1:{}", Port::reserve().number());
    let conn = Conn::connect(config(&[liar.address(), dead, slow.address()])).await.expect("connected");
    follows(&conn, group.master().await).await;
    let writer = Writer::start(&conn, 4);
    writer.advances(500).await;
    writer.stop().await;
    let strays: u64 = stranger.command(&redis::cmd("DBSIZE")).await;
    assert_eq!(strays, 0, "no write went to the server that the liar named");
}

#[tokio::test]
async fn a_lie_from_the_start_is_outvoted_through_a_failover() {
    let (group, stranger) = tokio::join!(SentinelGroup::start(), Server::start());
    let liar = FakeSentinel::naming(stranger.port()).await;
    let mut addresses = group.addresses();
    addresses.insert(0, liar.address());
    let conn = Conn::connect(config(&addresses)).await.expect("connected");
    let writer = Writer::start(&conn, 4);
    let new = group.failover().await;
    follows(&conn, new).await;
    writer.advances(500).await;
    writer.stop().await;
    let strays: u64 = stranger.command(&redis::cmd("DBSIZE")).await;
    assert_eq!(strays, 0, "no write went to the server that the liar named");
}

/// What all sentinels name is asked for its role before it gets anything.
#[tokio::test]
async fn a_replica_named_as_the_master_is_not_written_to() {
    let group = SentinelGroup::start().await;
    let replica = group.replicas().await[0];
    let stale = FakeSentinel::naming(replica.port()).await;
    let config = config(&[stale.address()]).with_connect_timeout(Duration::from_secs(1));
    let error = Conn::connect(config).await.expect_err("no master there");
    assert_eq!(error.kind(), ErrorKind::NotReady, "{error:?}");
    assert!(error.context().contains("is named as the master and is none"), "{error:?}");
}

/// A sentinel that slept through a failover names the old master until it has caught up.
#[tokio::test]
async fn a_sentinel_that_slept_through_a_failover_does_not_take_the_handle_back() {
    let group = SentinelGroup::start().await;
    let sleeper = &group.sentinels()[0];
    let old = group.master().await;
    sleeper.freeze();
    let conn = connect(&group).await;
    let new = group.failover().await;
    follows(&conn, new).await;
    sleeper.thaw();
    for _ in 0..100 {
        assert_ne!(port_of(&conn).await.ok(), Some(old.port()), "went back to the old master");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    follows(&conn, group.master().await).await;
}

#[tokio::test]
async fn one_configured_sentinel_is_enough_to_learn_the_others() {
    let group = SentinelGroup::start().await;
    let first = group.addresses().remove(0);
    let conn = Conn::connect(config(&[first])).await.expect("connected");
    follows(&conn, group.master().await).await;
    // Learned over the first answer; each is watched over two connections.
    let others = &group.sentinels()[1..];
    for other in others {
        integration_tests::eventually("the sentinel is watched", Duration::from_secs(30), async || {
            let clients: String = other.command(redis::cmd("CLIENT").arg("LIST")).await;
            let watching = clients.lines().any(|line| {
                line.contains("cmd=subscribe") && line.contains("lib-name=") || line.contains("cmd=subscribe")
            });
            if watching { Ok(()) } else { Err(clients) }
        })
        .await;
    }
    group.sentinels()[0].kill();
    let old = group.master().await;
    old.kill();
    follows(&conn, group.successor_of(old).await).await;
}

#[tokio::test]
async fn an_unknown_service_and_unreachable_sentinels_are_told_apart_from_a_master_that_is_down() {
    let group = SentinelGroup::start().await;
    let unknown = format!("redis+sentinel://{}/nobody", group.addresses().join(","));
    let unknown =
        Config::from_url(&unknown).expect("a valid URL").with_connect_timeout(Duration::from_secs(1));
    let error = Conn::connect(unknown).await.expect_err("no such service");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.context().contains("no sentinel names a master"), "{error:?}");
    let dead = format!("127.0.0.1:{}", Port::reserve().number());
    let config = config(&[dead]).with_connect_timeout(Duration::from_secs(1));
    let error = Conn::connect(config).await.expect_err("no sentinel");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

#[tokio::test]
async fn announced_addresses_are_mapped() {
    let group = SentinelGroup::start().await;
    let master = group.master().await;
    let front = Proxy::start(master.address()).await;
    let (announced, reachable) = (endpoint(master), redis_conn::Endpoint::tcp("127.0.0.1", front.port()));
    let map = move |address: &redis_conn::Endpoint| match *address == announced {
        true => reachable.clone(),
        false => address.clone(),
    };

    let conn = Conn::connect(config(&group.addresses()).with_address_map(map)).await.expect("connected");
    ping(&conn).await.expect("PING");
    assert!(front.accepted() > 0, "the mapped address was dialled");
}
