//! Health by layer, gauges at scrape time, readiness.

use std::sync::Arc;
use std::time::Duration;

use integration_tests::{Cluster, SentinelGroup, Server, eventually};
use state_metrics::{Exporter, ExporterConfig, Naming, Prometheus};
use state_redis::{BackendHealth, HealthStatus, Layer, RedisBackend};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{THREADS, backend, on};

const WITHIN: Duration = Duration::from_secs(30);

async fn becomes(backend: &RedisBackend, status: HealthStatus) -> BackendHealth {
    eventually("the health changes", WITHIN, async || {
        let health = backend.health();
        if health.status == status { Ok(health) } else { Err(health.to_string()) }
    })
    .await
}

fn reasons_of(health: &BackendHealth, layer: Layer) -> &[String] {
    &health.layers.iter().find(|each| each.layer == layer).expect("the layer is in use").reasons
}

#[tokio::test]
async fn a_server_that_dies_is_named_and_comes_back() {
    let server = Server::start().await;
    let backend = backend(on(server.url()).health_interval(Duration::from_millis(200))).await;
    assert_eq!(becomes(&backend, HealthStatus::Healthy).await.to_string(), "healthy");
    server.kill();
    let health = becomes(&backend, HealthStatus::Unhealthy).await;
    let address = server.address();
    let reasons = reasons_of(&health, Layer::Servers);
    assert!(reasons.len() == 1 && reasons[0].contains(&address), "{reasons:?}");
    assert_eq!(health.reasons(), health.to_string().strip_prefix("unhealthy: ").expect("a result"));
    server.restart().await;
    becomes(&backend, HealthStatus::Healthy).await;
    backend.close().await;
    assert_eq!(reasons_of(&backend.health(), Layer::Servers), ["closed"]);
    assert_eq!(backend.health().status, HealthStatus::Unhealthy);
}

#[tokio::test]
async fn a_cluster_that_lost_a_node_is_degraded() {
    let cluster = Cluster::start().await;
    let builder = on(cluster.url()).health_interval(Duration::from_millis(200));
    let backend = backend(builder).await;
    let health = becomes(&backend, HealthStatus::Healthy).await;
    assert_eq!(health.servers.nodes.len(), 3, "{health:?}");
    let lost = cluster.owner_of(0).await;
    lost.kill();
    let health = becomes(&backend, HealthStatus::Degraded).await;
    assert!(health.reasons().contains(&lost.address()), "{health}");
    cluster.successor_of(lost, 0).await;
    // The first key that is sent to where the slots were teaches the new topology.
    eventually("the successor serves", WITHIN, async || {
        let key = integration_tests::tag_for(0);
        backend
            .command(redis::cmd("GET").arg(key), state_redis::Idempotency::Safe)
            .await
            .map_err(|e| e.to_string())
    })
    .await;
    becomes(&backend, HealthStatus::Healthy).await;
}

#[tokio::test]
async fn a_lost_sentinel_degrades() {
    let group = SentinelGroup::start().await;
    let backend = backend(on(group.url()).health_interval(Duration::from_millis(200))).await;
    becomes(&backend, HealthStatus::Healthy).await;
    group.sentinels()[0].kill();
    let health = becomes(&backend, HealthStatus::Degraded).await;
    assert!(health.reasons().contains("servers: sentinel"), "{health}");
    backend.put(b"k", b"v").await.expect("a result");
}

#[tokio::test]
async fn waiters_for_the_pool_degrade() {
    let server = Server::start().await;
    let backend = backend(on(server.url()).pool_config(0, 1, Duration::from_secs(30))).await;
    becomes(&backend, HealthStatus::Healthy).await;
    let lent = backend.dedicated().await.expect("a result");
    assert_eq!(backend.health().status, HealthStatus::Healthy, "lent out is no fault");
    let waiting = {
        let backend = backend.clone();
        tokio::spawn(async move { backend.dedicated().await.map(drop) })
    };
    let health = becomes(&backend, HealthStatus::Degraded).await;
    assert_eq!(reasons_of(&health, Layer::Pool), ["1 callers wait for one of 1 connections"]);
    drop(lent);
    waiting.await.expect("a result").expect("a result");
    becomes(&backend, HealthStatus::Healthy).await;
}

#[tokio::test]
async fn an_open_breaker_is_named() {
    let server = Server::start().await;
    let backend = backend(
        on(server.url())
            .circuit_breaker(true, 3, Duration::from_secs(600))
            .command_timeout(Duration::from_millis(200))
            .connection(|it| it.with_stall_timeout(Duration::from_secs(60))),
    )
    .await;
    becomes(&backend, HealthStatus::Healthy).await;
    server.freeze();
    for _ in 0..3 {
        backend.get(b"k").await.expect_err("an error");
    }
    let health = becomes(&backend, HealthStatus::Unhealthy).await;
    let expected = format!("master {} open", server.address());
    assert_eq!(reasons_of(&health, Layer::Breakers), [expected]);
    server.thaw();
}

#[tokio::test]
async fn servers_of_locks_are_a_layer_once_locks_are_used() {
    let nodes = integration_tests::independent_masters(3).await;
    let server = Server::start().await;
    let builder = on(server.url()).redlock_nodes(nodes.iter().map(Server::url));
    let backend = backend(builder.health_interval(Duration::from_millis(200))).await;
    assert!(becomes(&backend, HealthStatus::Healthy).await.locks.is_empty());
    backend.locks().await.expect("a result").bootstrap().await.expect("a result");
    let guard = backend.acquire_lock("job", Duration::from_secs(30)).await.expect("a result");
    assert_eq!(becomes(&backend, HealthStatus::Healthy).await.locks.len(), 3);
    nodes[1].kill();
    let health = eventually("the lost node is named", WITHIN, async || {
        let health = backend.health();
        if health.status == HealthStatus::Degraded { Ok(health) } else { Err(health.to_string()) }
    })
    .await;
    assert!(reasons_of(&health, Layer::Locks)[0].contains(&nodes[1].address()), "{health}");
    guard.release().await;
}

#[tokio::test]
async fn gauges_of_the_pool_are_right_at_every_scrape() {
    let _alone = THREADS.lock().await;
    let server = Server::start().await;
    let backend =
        backend(on(server.url()).enable_metrics(true).pool_config(2, 5, Duration::from_secs(1))).await;
    let prometheus = Prometheus::new(Naming::Prometheus).expect("a result");
    backend.metrics().expect("switched on").bind(prometheus.recorder());
    let gauges = || {
        let scrape = prometheus.render();
        ["active", "idle", "max"].map(|name| {
            let start = format!("redis_pool_connections_{name}{{");
            let line = scrape.lines().find(|line| line.starts_with(&start) && line.contains("dedicated"));
            line.unwrap_or_else(|| panic!("{start} in {scrape}"))
                .rsplit(' ')
                .next()
                .expect("a result")
                .to_owned()
        })
    };
    assert_eq!(gauges(), ["0", "2", "5"]);
    let lent = (backend.dedicated().await.expect("a result"), backend.dedicated().await.expect("a result"));
    let third = backend.dedicated().await.expect("a result");
    assert_eq!(gauges(), ["3", "0", "5"], "nobody has asked for statistics in between");
    drop((lent, third));
    assert_eq!(gauges(), ["0", "3", "5"]);
}

#[tokio::test]
async fn readiness_follows_the_backend() {
    let server = Server::start().await;
    let backend = backend(on(server.url()).health_interval(Duration::from_millis(200))).await;
    becomes(&backend, HealthStatus::Healthy).await;
    let prometheus = Prometheus::new(Naming::Prometheus).expect("a result");
    let config = ExporterConfig::new(([127, 0, 0, 1], 0)).with_health(Arc::new(backend.clone()));
    let exporter = Exporter::serve(&prometheus, &config).await.expect("a result");
    let ask = async |path: &str| {
        let mut stream = tokio::net::TcpStream::connect(exporter.address()).await.expect("a result");
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())
            .await
            .expect("a result");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("a result");
        answer
    };
    assert!(ask("/readyz").await.starts_with("HTTP/1.1 200"));
    server.kill();
    becomes(&backend, HealthStatus::Unhealthy).await;
    let answer = ask("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("servers: master"), "{answer}");
    assert!(ask("/healthz").await.starts_with("HTTP/1.1 200"), "a restart of the process helps nobody");
    exporter.shutdown().await;
}
