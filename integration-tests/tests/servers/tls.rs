//! TLS with client certificates, ACL users.

use std::fs;

use integration_tests::{Certificates, Identity, Server, ServerConfig};
use redis::{AsyncTypedCommands, Client, ClientTlsConfig, ErrorKind, RedisResult, TlsCertificates};

use crate::patient;

#[tokio::test]
async fn a_client_with_a_certificate_is_served() {
    let certificates = Certificates::generate();
    let server = ServerConfig::default().with_tls(certificates.clone()).start().await;
    assert!(server.url().starts_with("rediss://"));
    assert_eq!(ping(&server, &certificates, Some(Identity::Client)).await.unwrap(), "PONG");
}

#[tokio::test]
async fn clients_without_a_good_certificate_and_plain_ones_are_refused() {
    let certificates = Certificates::generate();
    let server = ServerConfig::default().with_tls(certificates.clone()).start().await;
    for client in [None, Some(Identity::ExpiredClient), Some(Identity::StrangerClient)] {
        let error = ping(&server, &certificates, client).await.expect_err("a refusal");
        println!("{client:?}: {error}");
    }
    let plain = Client::open(format!("redis://{}/", server.address())).unwrap();
    assert!(plain.get_multiplexed_async_connection().await.is_err());
}

#[tokio::test]
async fn clients_refuse_servers_without_a_good_certificate() {
    let certificates = Certificates::generate();
    for identity in [Identity::ExpiredServer, Identity::WrongHostServer, Identity::StrangerServer] {
        let server = ServerConfig::default().with_tls(certificates.serving(identity)).start().await;
        let error = ping(&server, &certificates, Some(Identity::Client)).await.expect_err("a refusal");
        println!("{identity:?}: {error}");
    }
}

#[tokio::test]
async fn a_cluster_and_its_migrations_speak_tls_only() {
    let certificates = Certificates::generate();
    let node = ServerConfig::default().with_tls(certificates);
    let cluster = integration_tests::ClusterConfig::default().with_node(node).start().await;
    let (from, to) = (cluster.owner_of(0).await, cluster.owner_of(16_383).await);
    let key = integration_tests::tag_for(0);
    from.command::<()>(redis::cmd("SET").arg(&key).arg("v")).await;
    cluster.move_slot(0, to).await;
    assert_eq!(to.command::<String>(redis::cmd("GET").arg(&key)).await, "v");
}

#[tokio::test]
async fn acl_users_may_do_what_their_line_says() {
    let server = ServerConfig::default()
        .with_acl("user default off")
        .with_acl("user app on >secret ~app:* +@all -@dangerous")
        .start()
        .await;
    let client = Client::open(format!("redis://app:secret@{}/", server.address())).unwrap();
    let mut app = client.get_multiplexed_async_connection_with_config(&patient()).await.unwrap();
    app.set("app:k", "v").await.unwrap();
    assert_eq!(app.set("other", "v").await.unwrap_err().code(), Some("NOPERM"));
    let anonymous = Client::open(server.url()).unwrap();
    match anonymous.get_multiplexed_async_connection_with_config(&patient()).await {
        Ok(mut connection) => assert_eq!(connection.ping().await.unwrap_err().code(), Some("NOAUTH")),
        Err(error) => assert_eq!(error.kind(), ErrorKind::AuthenticationFailed),
    }
}

async fn ping(server: &Server, certificates: &Certificates, client: Option<Identity>) -> RedisResult<String> {
    let read = |path| fs::read(path).unwrap();
    let client_tls = client.map(|identity| ClientTlsConfig {
        client_cert: read(certificates.certificate(identity)),
        client_key: read(certificates.key(identity)),
    });
    let root_cert = Some(read(certificates.ca()));
    let client = Client::build_with_tls(server.url(), TlsCertificates { client_tls, root_cert })?;
    client.get_multiplexed_async_connection_with_config(&patient()).await?.ping().await
}
