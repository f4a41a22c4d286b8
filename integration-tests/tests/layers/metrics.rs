//! What Prometheus is told: exact names, and figures of the moment of the scrape.

use integration_tests::proxy::{Fault, Proxy};
use integration_tests::{Server, eventually};
use state_redis::{CompressionAlgorithm, ErrorKind, StateBackend};

use crate::support::{backend, behind, ms, on, scraping, unstalled, value};

#[tokio::test]
async fn the_documented_names_are_exported_exactly() {
    let server = Server::start().await;
    let backend =
        backend(on(&server).compression(CompressionAlgorithm::Lz4).metrics_label("team", "blue")).await;
    let prometheus = scraping(&backend);
    backend.put(b"k", &[b'x'; 4_000]).await.unwrap();
    backend.get(b"k").await.unwrap();
    backend.get(b"none").await.unwrap();
    let _: i64 = server.command(redis::cmd("RPUSH").arg("state:d|list").arg("x")).await;
    backend.get(b"list").await.unwrap_err();
    let text = prometheus.render();
    for name in [
        "redis_operations_total",
        "redis_operation_duration_seconds",
        "redis_pool_connections_active",
        "redis_pool_connections_idle",
        "redis_circuit_breaker_state",
        "redis_compression_ratio",
        "redis_errors_total",
    ] {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name}\n{text}");
    }
    assert!(!text.contains("_total_total") && !text.contains("_seconds_seconds"));
    let series = text.lines().filter(|line| line.starts_with("redis_"));
    assert!(series.clone().count() > 20);
    assert!(series.clone().all(|line| line.contains(r#"team="blue""#)), "constant labels are on all");
    let get = r#"operation="get""#;
    assert_eq!(value(&text, "redis_operations_total", &[get, r#"status="success""#]), 2.0);
    assert_eq!(value(&text, "redis_operations_total", &[get, r#"status="error""#]), 1.0);
    assert_eq!(value(&text, "redis_errors_total", &["wrong_type"]), 1.0);
    let ratio = value(&text, "redis_compression_ratio", &["lz4"]);
    assert!(ratio > 10.0 && ratio.fract() != 0.0, "a ratio is no whole number: {ratio}");
}

#[tokio::test]
async fn pool_gauges_show_the_moment_of_the_scrape() {
    let server = Server::start().await;
    let backend = backend(on(&server).pool_config(2, 3, ms(100))).await;
    let prometheus = scraping(&backend);
    let pool = |active: f64, idle: f64| {
        let text = prometheus.render();
        let of = |name| value(&text, name, &[r#"pool="dedicated""#]);
        assert_eq!((of("redis_pool_connections_active"), of("redis_pool_connections_idle")), (active, idle));
        text
    };
    pool(0.0, 2.0);
    let lent = [backend.dedicated().await.unwrap(), backend.dedicated().await.unwrap()];
    pool(2.0, 0.0);
    let third = backend.dedicated().await.unwrap();
    pool(3.0, 0.0);
    assert_eq!(backend.dedicated().await.unwrap_err().kind(), ErrorKind::Overloaded);
    let text = pool(3.0, 0.0);
    assert_eq!(value(&text, "redis_pool_timeouts_total", &[r#"pool="dedicated""#]), 1.0);
    drop((lent, third));
    eventually("all three are idle", ms(30_000), async || {
        let idle = value(&prometheus.render(), "redis_pool_connections_idle", &[r#"pool="dedicated""#]);
        if idle == 3.0 { Ok(()) } else { Err(idle.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn the_breakers_gauge_and_errors_by_type_move() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let settings = unstalled(&proxy).command_timeout(ms(1_000)).circuit_breaker(true, 2, ms(60_000));
    let backend = backend(settings).await;
    let prometheus = scraping(&backend);
    backend.get(b"k").await.unwrap();
    assert_eq!(value(&prometheus.render(), "redis_circuit_breaker_state", &[]), 0.0);
    proxy.set_replies(Fault::Delay(ms(2_000)));
    for _ in 0..5 {
        backend.get(b"k").await.unwrap_err();
    }
    let text = prometheus.render();
    assert_eq!(value(&text, "redis_circuit_breaker_state", &[]), 1.0);
    assert_eq!(value(&text, "redis_errors_total", &["timeout"]), 2.0);
    assert_eq!(value(&text, "redis_errors_total", &["circuit_open"]), 3.0);
    proxy.set_replies(Fault::None);
    proxy.cut();
    eventually("the new connection closes the breaker", ms(30_000), async || {
        let state = value(&prometheus.render(), "redis_circuit_breaker_state", &[]);
        if state == 0.0 { Ok(()) } else { Err(state.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn statistics_count_exactly() {
    let server = Server::start().await;
    let backend = backend(on(&server)).await;
    backend.put(b"a", b"12345").await.unwrap();
    backend.get(b"a").await.unwrap();
    backend.get(b"a").await.unwrap();
    backend.get(b"none").await.unwrap();
    drop(backend.get(b"never polled"));
    let stats = backend.stats().await;
    assert_eq!((stats.cache_hits, stats.cache_misses), (2, 1));
    assert_eq!((stats.operations_total, stats.operations_failed), (4, 0));
    assert_eq!((stats.bytes_read, stats.bytes_written), (10, 5));
    assert_eq!(stats.hit_ratio(), Some(2.0 / 3.0));
    backend.clear().await.unwrap();
    assert_eq!(backend.stats().await.operations_total, 5, "clear is one operation, whatever it sends");
}

#[tokio::test]
async fn cancelled_operations_are_counted_as_such() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let backend = backend(behind(&proxy)).await;
    proxy.set_replies(Fault::Delay(ms(200)));
    assert!(tokio::time::timeout(ms(50), backend.get(b"k")).await.is_err());
    let stats = backend.stats().await;
    assert_eq!((stats.operations_cancelled, stats.operations_failed), (1, 0));
}
