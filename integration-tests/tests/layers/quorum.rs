//! How the servers of a quorum are reached: passwords, TLS, settings of the connections, from text and by the builder.

use futures_util::future::join_all;
use integration_tests::{Certificates, Identity, Server, ServerConfig};
use state_redis::redlock::{LockConfig, Outcome};
use state_redis::{Credentials, ErrorKind, RedisBackend, RedisConfig, RedisConfigBuilder};

use crate::support::{backend, ms, on};

/// A busy machine may need more than the 50 ms that a node has by default.
fn patient(builder: RedisConfigBuilder) -> RedisConfigBuilder {
    builder.locks(LockConfig::default().with_node_timeout(ms(1_000)))
}

async fn three(config: ServerConfig) -> Vec<Server> {
    join_all((0..3).map(|_| config.clone().start())).await
}

/// Takes and releases a lock, as the servers allow it only to who reaches all of them.
async fn lock(backend: &RedisBackend) {
    backend.locks().await.unwrap().bootstrap().await.expect("all three answer");
    let guard = backend.acquire_lock("job", ms(10_000)).await.expect("the lock is free");
    assert_eq!(guard.release().await, Outcome::Released);
}

#[tokio::test]
async fn a_quorum_on_a_server_with_a_password_takes_it_from_the_url() {
    let (own, nodes) = (Server::start().await, three(ServerConfig::default().with_password("pw")).await);
    lock(&backend(patient(on(&own).redlock_nodes(nodes.iter().map(Server::url)))).await).await;
}

#[tokio::test]
async fn a_quorum_on_servers_with_a_password_takes_it_from_the_settings() {
    let own = Server::start().await;
    let mut nodes = three(ServerConfig::default().with_password("all")).await;
    nodes[2] = ServerConfig::default().with_password("third").start().await;
    let urls = [
        format!("redis://{}", nodes[0].address()),
        format!("redis://{}", nodes[1].address()),
        // What a URL says of its own is preferred.
        nodes[2].url(),
    ];
    let settings = patient(on(&own).redlock_nodes(urls));
    lock(&backend(settings.redlock_credentials(Credentials::password("all"))).await).await;
}

#[tokio::test]
async fn a_quorum_that_refuses_us_says_so_of_each_server() {
    let (own, nodes) = (Server::start().await, three(ServerConfig::default().with_password("right")).await);
    let urls = nodes.iter().map(|node| format!("redis://:wrong@{}", node.address()));
    let backend = backend(patient(on(&own).redlock_nodes(urls))).await;
    let error = backend.try_acquire_lock("job", ms(10_000)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let cause = std::error::Error::source(&error).expect("what each server said").to_string();
    assert_eq!(cause.matches("authentication failed").count(), 3, "{cause}");
    let health = backend.health().to_string();
    assert!(health.contains("redlock_nodes[2] is not connected"), "{health}");
}

#[tokio::test]
async fn a_quorum_over_tls_with_an_authority_of_its_own_is_told_by_a_file() {
    let (own, certificates) = (Server::start().await, Certificates::generate());
    let nodes = three(ServerConfig::default().with_tls(certificates.clone()).with_password("pw")).await;
    let urls = nodes.iter().map(|node| format!("'rediss://{}'", node.address())).collect::<Vec<_>>();
    let file = format!(
        "url = '{}'\nlocks_node_timeout = '1s'\n[redlock]\nnodes = [{}]\npassword = 'pw'\nssl_ca_certs = '{}'\nssl_certfile = '{}'\nssl_keyfile = '{}'\n",
        own.url(),
        urls.join(", "),
        certificates.ca().display(),
        certificates.certificate(Identity::Client).display(),
        certificates.key(Identity::Client).display(),
    );
    let config: RedisConfig = toml::from_str(&file).expect("a valid file");
    lock(&RedisBackend::new(config).await.expect("a connection")).await;
}

#[tokio::test]
async fn the_urls_of_a_quorum_may_each_name_their_certificates() {
    let (own, certificates) = (Server::start().await, Certificates::generate());
    let nodes = three(ServerConfig::default().with_tls(certificates.clone())).await;
    let urls = nodes.iter().map(|node| {
        let (certificate, key) =
            (certificates.certificate(Identity::Client), certificates.key(Identity::Client));
        format!(
            "{}?ssl_ca_certs={}&ssl_certfile={}&ssl_keyfile={}",
            node.url(),
            certificates.ca().display(),
            certificate.display(),
            key.display()
        )
    });
    // As in the environment: one text with commas.
    let config: RedisConfig = serde_json::from_value(serde_json::json!({
        "url": own.url(), "locks_node_timeout": "1s", "redlock_nodes": urls.collect::<Vec<_>>().join(","),
    }))
    .expect("a valid file");
    lock(&RedisBackend::new(config).await.expect("a connection")).await;
}

#[tokio::test]
async fn a_quorum_over_tls_is_told_by_the_builder() {
    let (own, certificates) = (Server::start().await, Certificates::generate());
    let nodes = three(ServerConfig::default().with_tls(certificates.clone())).await;
    let identity = (certificates.certificate(Identity::Client), certificates.key(Identity::Client));
    let tls =
        state_redis::conn::Tls::default().with_roots(certificates.ca()).with_identity(identity.0, identity.1);
    let settings = patient(on(&own).redlock_nodes(nodes.iter().map(Server::url)))
        .redlock_tls(tls)
        .redlock_connection(|connection| connection.with_client_name("locksmith".to_owned()));
    let backend = backend(settings).await;
    lock(&backend).await;
    for node in &nodes {
        let clients: String = node.command(redis::cmd("CLIENT").arg("LIST")).await;
        assert!(clients.contains("name=locksmith"), "{clients}");
    }
    let clients: String = own.command(redis::cmd("CLIENT").arg("LIST")).await;
    assert!(!clients.contains("name=locksmith"), "{clients}");
}
