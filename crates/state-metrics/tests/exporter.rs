//! The endpoint over real sockets: answers, limits, errors, an orderly end.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers included")]

mod common;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use state_metrics::{
    ErrorKind, Exporter, ExporterConfig, Health, HealthSource, Instruments, InstrumentsConfig, Naming,
    Prometheus, Publishing,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(30);

fn any_port() -> ExporterConfig {
    ExporterConfig::new(([127, 0, 0, 1], 0))
}

async fn start(config: ExporterConfig) -> Exporter {
    Exporter::serve(&Prometheus::new(Naming::Prometheus).unwrap(), &config).await.unwrap()
}

/// Sends bytes and reads until the server closes, which it does after each answer.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    let exchanged = async {
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_end(&mut answer).await
    };
    // A server that refuses a request it has not read to its end may reset the connection, even before all of it was
    // sent.
    if let Err(error) = timeout(LONG, exchanged).await.expect("an answer in time") {
        assert!(
            matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe),
            "{error}"
        );
    }
    String::from_utf8(answer).unwrap()
}

async fn get(address: SocketAddr, path: &str) -> String {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
}

#[tokio::test]
async fn a_scrape_has_everything_recorded_before_it() {
    let prometheus = Prometheus::new(Naming::Prometheus).unwrap();
    let exporter = Exporter::serve(&prometheus, &any_port()).await.unwrap();
    let instruments =
        Instruments::new(&InstrumentsConfig::default().with_publishing(Publishing::Manual)).unwrap();
    instruments.bind(exporter.prometheus().recorder());
    common::touch_everything(&instruments);
    let answer = get(exporter.address(), "/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    assert!(answer.contains(r#"redis_operations_total{operation="get",status="success"} 3"#), "{answer}");
    exporter.shutdown().await;
}

/// Answers by the number it holds: 0 up, 1 degraded, 2 down, 3 never.
struct Switch(AtomicU8);

#[async_trait]
impl HealthSource for Switch {
    async fn ready(&self) -> Health {
        match self.0.load(Ordering::Relaxed) {
            0 => Health::Up,
            1 => Health::Degraded("one replica missing".into()),
            2 => Health::Down("no master".into()),
            _ => std::future::pending().await,
        }
    }
}

#[tokio::test]
async fn readiness_follows_its_source_and_liveness_does_not() {
    let switch = Arc::new(Switch(AtomicU8::new(0)));
    let config =
        any_port().with_health(Arc::clone(&switch) as _).with_health_timeout(Duration::from_millis(50));
    let exporter = start(config).await;
    for (state, status, body) in [
        (0, "200 OK", "up\n"),
        (1, "200 OK", "degraded: one replica missing\n"),
        (2, "503 Service Unavailable", "down: no master\n"),
        (3, "503 Service Unavailable", "down: the health check timed out\n"),
    ] {
        switch.0.store(state, Ordering::Relaxed);
        let ready = get(exporter.address(), "/readyz").await;
        assert!(ready.starts_with(&format!("HTTP/1.1 {status}\r\n")) && ready.ends_with(body), "{ready}");
        assert!(get(exporter.address(), "/healthz").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let exporter = start(any_port()).await;
    let address = exporter.address();
    assert!(get(address, "/").await.starts_with("HTTP/1.1 404 "));
    let post = exchange(address, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc").await;
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD\r\n"), "{post}");
    let head = exchange(address, "HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(exchange(address, "\x16\x03\x01 not HTTP\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn an_oversized_head_is_refused() {
    let exporter = start(any_port()).await;
    let head = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "a".repeat(64 * 1024));
    let answer = exchange(exporter.address(), &head).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many: String = (0..200).map(|i| format!("X-{i}: a\r\n")).collect();
    let answer = exchange(exporter.address(), &format!("GET /metrics HTTP/1.1\r\n{many}\r\n")).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(get(exporter.address(), "/healthz").await.starts_with("HTTP/1.1 200 OK\r\n"), "it still serves");
}

#[tokio::test]
async fn slow_clients_lose_their_connection_and_others_get_their_turn() {
    let exporter =
        start(any_port().with_connection_timeout(Duration::from_millis(200)).with_max_connections(2)).await;
    let mut slow = Vec::new();
    for _ in 0..6 {
        let mut stream = TcpStream::connect(exporter.address()).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHo").await.unwrap();
        slow.push(stream);
    }
    assert!(get(exporter.address(), "/healthz").await.starts_with("HTTP/1.1 200 OK\r\n"));
    for mut stream in slow {
        let mut rest = Vec::new();
        // Closed with or without an answer; what matters is that it ends.
        let _ = timeout(LONG, stream.read_to_end(&mut rest)).await.expect("the server closes it");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_loses_its_connection() {
    static METADATA: metrics::Metadata<'_> = metrics::Metadata::new("test", metrics::Level::INFO, None);
    let prometheus = Prometheus::new(Naming::Prometheus).unwrap();
    // An answer of some 10 MB, more than the sockets' buffers take.
    for i in 0..100_000 {
        let name = format!("a_metric_with_a_rather_long_name_so_that_the_answer_becomes_large_{i}");
        let key = metrics::Key::from_name(name);
        prometheus.recorder().register_counter(&key, &METADATA).increment(1);
    }
    let config = any_port().with_connection_timeout(Duration::from_secs(3)).with_max_connections(1);
    let exporter = Exporter::serve(&prometheus, &config).await.unwrap();
    let mut idle = TcpStream::connect(exporter.address()).await.unwrap();
    idle.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    // The only slot is free again once the server gave the idle client up.
    assert!(get(exporter.address(), "/healthz").await.starts_with("HTTP/1.1 200 OK\r\n"));
    let mut answer = Vec::new();
    let _ = timeout(LONG, idle.read_to_end(&mut answer)).await.expect("the server closes it");
    let text = String::from_utf8_lossy(&answer);
    assert!(text.len() < 10_000_000, "cut off: {} bytes", text.len());
}

#[tokio::test]
async fn a_port_in_use_is_an_error() {
    let first = start(any_port()).await;
    let prometheus = Prometheus::new(Naming::Prometheus).unwrap();
    let error = Exporter::serve(&prometheus, &ExporterConfig::new(first.address())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddressUnavailable);
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn settings_out_of_range_are_named() {
    let prometheus = Prometheus::new(Naming::Prometheus).unwrap();
    for (config, field) in [
        (any_port().with_max_connections(0), "max_connections"),
        (any_port().with_health_timeout(Duration::ZERO), "health_timeout"),
        (any_port().with_connection_timeout(Duration::MAX), "connection_timeout"),
    ] {
        let error = Exporter::serve(&prometheus, &config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.context().starts_with(field), "{error}");
    }
}

/// Tells that it was asked, and never answers.
#[derive(Default)]
struct Silent(Notify);

#[async_trait]
impl HealthSource for Silent {
    async fn ready(&self) -> Health {
        self.0.notify_one();
        std::future::pending().await
    }
}

#[tokio::test]
async fn shutdown_answers_what_is_under_way_and_frees_the_port() {
    let silent = Arc::new(Silent::default());
    let config =
        any_port().with_health(Arc::clone(&silent) as _).with_health_timeout(Duration::from_millis(300));
    let exporter = start(config).await;
    let address = exporter.address();
    let asked = tokio::spawn(async move { get(address, "/readyz").await });
    timeout(LONG, silent.0.notified()).await.expect("the request is under way");
    exporter.shutdown().await;
    assert!(asked.await.unwrap().ends_with("timed out\n"));
    let again = ExporterConfig::new(address);
    let deadline = Instant::now() + LONG;
    loop {
        match Exporter::serve(&Prometheus::new(Naming::Prometheus).unwrap(), &again).await {
            Ok(_) => break,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

#[test]
fn without_a_runtime_there_is_an_error_not_a_panic() {
    let prometheus = Prometheus::new(Naming::Prometheus).unwrap();
    let config = any_port();
    let mut serve = std::pin::pin!(Exporter::serve(&prometheus, &config));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = serve.as_mut().poll(&mut context) else {
        panic!("an error at once")
    };
    assert_eq!(error.kind(), ErrorKind::Resource);
}
