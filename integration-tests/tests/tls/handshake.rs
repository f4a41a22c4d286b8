//! Who is let in, and what is said to those who are not.

use std::time::Duration;

use integration_tests::{Certificates, Identity, Server, ServerConfig, eventually, margin};
use redis_conn::{Conn, ErrorKind, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::support::{config, ping, refused, soon, tls_as, tls_server, trusting};

#[tokio::test]
async fn both_sides_show_certificates_and_values_pass() {
    let certificates = Certificates::generate();
    let server = tls_server(&certificates, Identity::Server).await;
    let conn = Conn::connect(config(&server, tls_as(&certificates, Identity::Client))).await.expect("mTLS");
    let value = vec![7; 1 << 20];
    assert!(conn.set(b"k", &value, Default::default(), soon()).await.expect("SET"));
    assert_eq!(conn.get(b"k", soon()).await.expect("GET"), Some(value));
}

#[tokio::test]
async fn certificates_can_come_from_memory() {
    let certificates = Certificates::generate();
    let server = tls_server(&certificates, Identity::Server).await;
    let read = |path| std::fs::read(path).expect("PEM");
    let tls = Tls::default().with_roots(read(certificates.ca())).with_identity(
        read(certificates.certificate(Identity::Client)),
        read(certificates.key(Identity::Client)),
    );
    ping(&Conn::connect(config(&server, tls)).await.expect("mTLS")).await.expect("PING");
}

#[tokio::test]
async fn each_wrong_server_certificate_is_refused_with_its_own_reason() {
    let certificates = Certificates::generate();
    let cases = [
        (Identity::WrongHostServer, "for another host"),
        (Identity::StrangerServer, "not signed by a trusted authority"),
        (Identity::ExpiredServer, "has expired"),
    ];
    for (identity, reason) in cases {
        let server = tls_server(&certificates, identity).await;
        let error = refused(config(&server, tls_as(&certificates, Identity::Client))).await;
        assert_eq!(error.kind(), ErrorKind::Tls, "{identity:?}: {error:?}");
        assert!(error.context().contains(reason), "{identity:?}: {error:?}");
        assert!(error.is_safe_to_repeat());
    }
}

#[tokio::test]
async fn a_server_of_another_name_is_accepted_under_that_name_only() {
    let certificates = Certificates::generate();
    let server = tls_server(&certificates, Identity::WrongHostServer).await;
    let tls = tls_as(&certificates, Identity::Client);
    let named = tls.clone().with_server_name("elsewhere.example");
    ping(&Conn::connect(config(&server, named)).await.expect("the right name")).await.expect("PING");
    let error = refused(config(&server, tls.with_server_name("other.example"))).await;
    assert!(error.context().contains("for another host"), "{error:?}");
}

#[tokio::test]
async fn the_system_authorities_do_not_vouch_for_ours() {
    let certificates = Certificates::generate();
    let server = tls_server(&certificates, Identity::Server).await;
    let error = refused(config(&server, Tls::default())).await;
    // A machine without any trust store says so; any other refuses the authority.
    let reasons = ["not signed by a trusted authority", "trust store has no certificate"];
    assert!(reasons.iter().any(|reason| error.context().contains(reason)), "{error:?}");
}

/// Under TLS 1.3 the server refuses after our side of the handshake, by an alert or by a reset, whichever is
/// seen first: the reason must be the same in each of many attempts.
#[tokio::test]
async fn a_missing_client_certificate_is_named_every_time() {
    let certificates = Certificates::generate();
    let server = tls_server(&certificates, Identity::Server).await;
    for attempt in 0..20 {
        let error = refused(config(&server, trusting(&certificates))).await;
        assert_eq!(error.kind(), ErrorKind::Tls, "attempt {attempt}: {error:?}");
        assert!(error.context().contains("demands a client certificate"), "attempt {attempt}: {error:?}");
    }
}

#[tokio::test]
async fn client_certificates_that_the_server_refuses_do_not_connect() {
    let certificates = Certificates::generate();
    let server = tls_server(&certificates, Identity::Server).await;
    for identity in [Identity::ExpiredClient, Identity::StrangerClient] {
        let error = refused(config(&server, tls_as(&certificates, identity))).await;
        assert!(error.context().contains("client certificate"), "{identity:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_plain_text_server_gets_no_plain_text() {
    let (server, certificates) = (Server::start().await, Certificates::generate());
    let address = format!("rediss://{}/", server.address());
    let config =
        redis_conn::Config::from_url(&address).expect("a valid URL").with_tls(trusting(&certificates));
    let config =
        config.with_connect_timeout(Duration::from_secs(1)).with_dial_timeout(Duration::from_millis(300));
    let error = refused(config).await;
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert_eq!(error.context(), stuck(&server), "{error:?}");
}

/// What is said of a server that answers nothing to the beginning of TLS.
fn stuck(server: &Server) -> String {
    let address = server.address();
    format!(
        "{address} did not end the TLS handshake within dial_timeout; its port may not speak TLS, which rediss needs"
    )
}

/// Its first words are no TLS, so that nothing has to be waited for.
#[tokio::test]
async fn a_plain_text_server_that_speaks_first_is_known_at_once() {
    let certificates = Certificates::generate();
    let server = ServerConfig::default().with_option("maxclients", 1).start().await;
    // Those who waited for its start may still be there.
    let _only = eventually("the one client is in", Duration::from_secs(30), async || {
        let mut only = TcpStream::connect(server.address()).await.map_err(|error| error.to_string())?;
        let mut answer = [0; 7];
        only.write_all(b"PING\r\n").await.map_err(|error| error.to_string())?;
        only.read_exact(&mut answer).await.map_err(|error| error.to_string())?;
        if &answer == b"+PONG\r\n" { Ok(only) } else { Err(format!("{answer:?}")) }
    })
    .await;
    let url = format!("rediss://{}/", server.address());
    let config = redis_conn::Config::from_url(&url).expect("a valid URL").with_tls(trusting(&certificates));
    let error = refused(config.with_connect_timeout(Duration::from_secs(60))).await;
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert!(error.context().contains("does not answer in TLS"), "{error:?}");
}

#[tokio::test]
async fn sentinels_and_clusters_on_plain_ports_are_named_too() {
    let (server, certificates) = (Server::start().await, Certificates::generate());
    let sentinels = redis_conn::SentinelSettings::default().with_tls(trusting(&certificates));
    for (scheme, path) in [("rediss+cluster", ""), ("rediss+sentinel", "main")] {
        let url = format!("{scheme}://{}/{path}", server.address());
        let config = redis_conn::Config::from_url(&url)
            .expect("a valid URL")
            .with_tls(trusting(&certificates))
            .with_sentinel(sentinels.clone())
            .with_connect_timeout(Duration::from_secs(2))
            .with_dial_timeout(Duration::from_millis(300));
        let error = refused(config).await;
        assert!(error.context().contains(&stuck(&server)), "{scheme}: {error:?}");
    }
}

#[tokio::test]
async fn a_plain_client_reads_that_the_server_may_demand_tls() {
    let certificates = Certificates::generate();
    let server = tls_server(&certificates, Identity::Server).await;
    for protocol in ["resp2", "resp3"] {
        let url = format!("redis://{}/?protocol={protocol}", server.address());
        let config = redis_conn::Config::from_url(&url).expect("a valid URL");
        let error = refused(config.with_connect_timeout(Duration::from_secs(1))).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{protocol}: {error:?}");
        let says = format!(
            "{}: the server closed the connection without an answer; if it demands TLS, write rediss",
            server.address()
        );
        assert_eq!(error.context(), says, "{protocol}: {error:?}");
    }
}

#[tokio::test]
async fn nothing_but_tls_records_is_ever_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let certificates = Certificates::generate();
    let url = format!("rediss://c4nary-user:c4nary-password@127.0.0.1:{port}/");
    let config = redis_conn::Config::from_url(&url)
        .expect("a valid URL")
        .with_tls(trusting(&certificates))
        .with_dial_timeout(Duration::from_millis(200))
        .with_connect_timeout(Duration::from_millis(700));
    let connecting = tokio::spawn(refused(config));
    let (mut peer, _) = listener.accept().await.expect("a connection");
    let mut seen = Vec::new();
    peer.read_to_end(&mut seen).await.expect("all it sends");
    assert_eq!(seen.first(), Some(&0x16), "the first record is a TLS handshake");
    assert!(!seen.windows(6).any(|window| window == b"c4nary"));
    connecting.await.expect("no panic");
}

#[tokio::test]
async fn a_silent_peer_costs_the_dial_timeout_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let certificates = Certificates::generate();
    let config = redis_conn::Config::from_url(&format!("rediss://127.0.0.1:{port}/"))
        .expect("a valid URL")
        .with_tls(trusting(&certificates))
        .with_dial_timeout(Duration::from_millis(200))
        .with_connect_timeout(Duration::from_millis(500));
    let began = Instant::now();
    let error = refused(config).await;
    println!("a silent peer: {error} after {:?}", began.elapsed());
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(began.elapsed() < Duration::from_millis(500) + margin());
}

/// In a resumed session the server shows no certificate, so it sends less.
#[tokio::test]
async fn later_connections_resume_the_session() {
    let certificates = Certificates::generate();
    let server = tls_server(&certificates, Identity::Server).await;
    let (port, mut sizes) = relay(server.address()).await;
    let url = format!("rediss://127.0.0.1:{port}/");
    let config = redis_conn::Config::from_url(&url).expect("a valid URL");
    let conn = Conn::connect(config.with_tls(tls_as(&certificates, Identity::Client))).await.expect("mTLS");
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
        server.command::<i64>(&kill).await;
        seen.push(sizes.recv().await.expect("a connection ended"));
        eventually("connected again", Duration::from_secs(30), async || {
            ping(&conn).await.map_err(|error| error.to_string())
        })
        .await;
    }
    println!("bytes from the server, full handshake and resumed: {seen:?}");
    // Both connections carry the same handshake of ours; a certificate with its signature is over 500 bytes.
    assert!(seen[1] + 400 < seen[0], "{seen:?}");
}

/// A relay that reports how many bytes the server sent on each connection, when it ends.
async fn relay(upstream: String) -> (u16, mpsc::UnboundedReceiver<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let (report, reports) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (upstream, report) = (upstream.clone(), report.clone());
            tokio::spawn(async move {
                let server = TcpStream::connect(upstream).await.expect("the server");
                let _ = report.send(carry(client, server).await);
            });
        }
    });
    (port, reports)
}

/// Carries a connection until it ends, be it by a reset, and returns how many bytes the server sent.
async fn carry(client: TcpStream, server: TcpStream) -> u64 {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
    let (mut sent, mut buffer) = (0, vec![0; 16 * 1024]);
    while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
        sent += length as u64;
        if to_client.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    requests.abort();
    sent
}
