//! Credentials, TLS and the least rights that are documented.

use std::time::Duration;

use integration_tests::{Certificates, Identity, SentinelConfig, ServerConfig};
use redis_conn::{Config, Conn, Credentials, ErrorKind, SentinelSettings, Tls};

use crate::support::{Writer, config, follows, ping, soon};

/// The rules that the documentation of `SentinelSettings` names, and nothing else.
const WATCHER: &str =
    "watcher on >w4tcher resetchannels &+switch-master -@all +subscribe +sentinel|get-master-addr-by-name";
const APPLICATION: &str = "user app on >4pp ~app:* resetchannels -@all +get +set +role";

#[tokio::test]
async fn the_documented_rights_are_enough_to_follow_a_failover() {
    let group =
        SentinelConfig::default().with_node(ServerConfig::default().with_acl(APPLICATION)).start().await;
    for sentinel in group.sentinels() {
        let mut user = redis::cmd("ACL");
        user.arg("SETUSER");
        WATCHER.split(' ').for_each(|rule| _ = user.arg(rule));
        sentinel.command::<()>(&user).await;
    }
    let url = format!("redis+sentinel://app:4pp@{}/mymaster", group.addresses().join(","));
    let settings = SentinelSettings::default().with_credentials(Credentials::user("watcher", "w4tcher"));
    let config = Config::from_url(&url).expect("a valid URL").with_sentinel(settings);
    let conn = Conn::connect(config).await.expect("connected");
    let old = group.master().await;
    assert!(conn.set(b"app:k", b"1", Default::default(), soon()).await.expect("SET"));
    let error = conn.get(b"other:k", soon()).await.expect_err("outside of ~app:*");
    assert_eq!(error.kind(), ErrorKind::Denied);
    old.kill();
    group.successor_of(old).await;
    integration_tests::eventually("the handle follows", Duration::from_secs(30), async || {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
        let written = conn.set(b"app:k", b"2", Default::default(), deadline).await;
        written.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn the_sentinels_password_is_their_own() {
    let group = SentinelConfig::default()
        .with_node(ServerConfig::default().with_password("of-the-master"))
        .with_sentinel(ServerConfig::default().with_password("of-the-sentinels"))
        .with_replicas(1)
        .start()
        .await;
    let url = format!("redis+sentinel://:of-the-master@{}/mymaster", group.addresses().join(","));
    let without = Config::from_url(&url).expect("a valid URL");
    let settings = |password| SentinelSettings::default().with_credentials(Credentials::password(password));
    let conn =
        Conn::connect(without.clone().with_sentinel(settings("of-the-sentinels"))).await.expect("connected");
    ping(&conn).await.expect("PING");
    for wrong in [without.clone(), without.with_sentinel(settings("of-the-master"))] {
        let error = Conn::connect(wrong).await.expect_err("a wrong password");
        assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
    }
}

#[tokio::test]
async fn sentinels_and_nodes_speak_tls() {
    let certificates = Certificates::generate();
    let server = || ServerConfig::default().with_tls(certificates.clone());
    let group = SentinelConfig::default().with_node(server()).with_sentinel(server()).start().await;
    let tls = Tls::default()
        .with_roots(certificates.ca())
        .with_identity(certificates.certificate(Identity::Client), certificates.key(Identity::Client));
    let settings = SentinelSettings::default().with_tls(tls.clone());
    let conn = Conn::connect(config(&group).with_tls(tls).with_sentinel(settings)).await.expect("connected");
    let old = group.master().await;
    let writer = Writer::start(&conn, 2);
    writer.advances(100).await;
    old.kill();
    let new = group.successor_of(old).await;
    writer.advances(100).await;
    writer.stop().await;
    assert!(new.is_running());
    ping(&conn).await.expect("PING");
}

#[tokio::test]
async fn a_database_number_is_for_the_master_alone() {
    let group = SentinelConfig::default().with_replicas(1).start().await;
    let conn = Conn::connect(config(&group).with_db(3)).await.expect("connected");
    conn.set(b"k", b"v", Default::default(), soon()).await.expect("SET");
    let master = group.master().await;
    follows(&conn, master).await;
    let keyspace = master.info("db3").await.expect("INFO");
    assert!(keyspace.is_some_and(|counts| counts.starts_with("keys=1")));
}
