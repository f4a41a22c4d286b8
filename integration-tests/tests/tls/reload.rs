//! Certificates that change while the program runs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use integration_tests::{Certificates, Identity, SentinelConfig, Server, ServerConfig, eventually};
use redis_conn::{Config, Conn, ErrorKind, Tls};

use crate::support::{config, ping, tls_server};

/// A folder with a certificate and key under fixed names, as a secret store mounts them.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(certificates: &Certificates, identity: Identity) -> Self {
        let mounted = Self(tempfile::tempdir().expect("a folder"));
        mounted.put(certificates, identity);
        mounted
    }

    fn put(&self, certificates: &Certificates, identity: Identity) {
        fs::copy(certificates.certificate(identity), self.path("client.crt")).expect("copy");
        fs::copy(certificates.key(identity), self.path("client.key")).expect("copy");
        fs::copy(certificates.ca(), self.path("ca.crt")).expect("copy");
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        Path::join(self.0.path(), name)
    }

    fn tls(&self) -> Tls {
        Tls::default()
            .with_roots(self.path("ca.crt"))
            .with_identity(self.path("client.crt"), self.path("client.key"))
    }
}

/// Replaces what a server presents and trusts.
async fn serve(server: &Server, certificates: &Certificates) {
    let mut set = redis::cmd("CONFIG");
    set.arg("SET");
    for (name, path) in [
        ("tls-ca-cert-file", certificates.ca()),
        ("tls-cert-file", certificates.certificate(Identity::Server)),
        ("tls-key-file", certificates.key(Identity::Server)),
    ] {
        set.arg(name).arg(path.to_str());
    }
    server.command::<()>(&set).await;
}

async fn disconnect(server: &Server) {
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
    server.command::<i64>(&kill).await;
}

async fn working_again(conn: &Conn) {
    eventually("connected again", Duration::from_secs(30), async || {
        ping(conn).await.map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn a_failed_handshake_makes_the_files_be_read_again() {
    let certificates = Certificates::generate();
    let server = tls_server(&certificates, Identity::Server).await;
    let mounted = Mounted::new(&certificates, Identity::Client);
    let conn = Conn::connect(config(&server, mounted.tls())).await.expect("mTLS");
    // The whole authority is replaced: on the server at once, in our files a little later.
    let successor = Certificates::generate();
    serve(&server, &successor).await;
    disconnect(&server).await;
    eventually("the old certificates fail", Duration::from_secs(30), async || {
        ping(&conn).await.err().map(drop).ok_or_else(|| "still connected".to_owned())
    })
    .await;
    mounted.put(&successor, Identity::Client);
    working_again(&conn).await;
}

#[tokio::test]
async fn files_that_became_unusable_leave_the_last_good_ones_in_use() {
    let certificates = Certificates::generate();
    let server = tls_server(&certificates, Identity::Server).await;
    let mounted = Mounted::new(&certificates, Identity::Client);
    let tls = mounted.tls().with_reload_after(Duration::ZERO);
    let conn = Conn::connect(config(&server, tls)).await.expect("mTLS");
    fs::write(mounted.path("client.crt"), "half a cert").expect("write");
    fs::remove_file(mounted.path("ca.crt")).expect("remove");
    let error = conn.reload_tls().await.expect_err("unusable files");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
    disconnect(&server).await;
    working_again(&conn).await;
    mounted.put(&certificates, Identity::Client);
    conn.reload_tls().await.expect("usable files");
}

#[tokio::test]
async fn a_certificate_of_another_key_is_refused() {
    let certificates = Certificates::generate();
    let server = tls_server(&certificates, Identity::Server).await;
    let tls = Tls::default().with_roots(certificates.ca()).with_identity(
        certificates.certificate(Identity::Client),
        certificates.key(Identity::StrangerClient),
    );
    let error = Conn::connect(config(&server, tls)).await.expect_err("no pair");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
    assert!(error.context().contains("does not belong to the certificate"), "{error:?}");
}

/// Connections to sentinels are made with material of their own, which `reload_tls` reads again, too.
#[tokio::test]
async fn a_reload_reaches_the_connections_to_sentinels() {
    let certificates = Certificates::generate();
    let server = || ServerConfig::default().with_tls(certificates.clone());
    let group =
        SentinelConfig::default().with_node(server()).with_sentinel(server()).with_replicas(1).start().await;
    let mounted = Mounted::new(&certificates, Identity::Client);
    let url = format!(
        "{}?ssl_ca_certs={}&ssl_certfile={}&ssl_keyfile={}",
        group.url().replace("redis+", "rediss+"),
        mounted.path("ca.crt").display(),
        mounted.path("client.crt").display(),
        mounted.path("client.key").display()
    );
    let conn = Conn::connect(Config::from_url(&url).expect("a valid URL")).await.expect("connected");
    // What sentinels are reached with is unusable, what the master is reached with is not.
    let mut config = Config::from_url(&url).expect("a valid URL");
    let good = config.tls.clone().expect("TLS");
    let sentinels_own = tempfile::tempdir().expect("a folder");
    let ca = sentinels_own.path().join("ca.crt");
    fs::copy(certificates.ca(), &ca).expect("copy");
    config.sentinel.tls = Some(good.with_roots(ca.clone()));
    let split = Conn::connect(config).await.expect("connected");
    fs::write(&ca, "half a cert").expect("write");
    conn.reload_tls().await.expect("its own files are whole");
    let error = split.reload_tls().await.expect_err("the sentinels' file is not");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
    assert!(!format!("{error} {error:?}").contains("ca.crt"), "{error:?}");
    fs::copy(certificates.ca(), &ca).expect("copy");
    split.reload_tls().await.expect("usable again");
    ping(&split).await.expect("PING");
}
