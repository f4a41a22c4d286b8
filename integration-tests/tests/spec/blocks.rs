//! The specification's code blocks that configure a backend; each backend then runs the others.

use std::time::Duration;

use integration_tests::{Cluster, SentinelGroup, Server};
use state_redis::{
    CompressionAlgorithm, EnterpriseRedisBackend, EnterpriseRedisConfig, RedisMode, StateBackend, StateResult,
};

use crate::usage::operations;

/// Where the servers are that the specification names.
#[derive(Clone, Copy, Default)]
struct Urls<'a> {
    standalone: &'a str,
    sentinel1: &'a str,
    sentinel2: &'a str,
    sentinel3: &'a str,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_block_runs_on_a_single_server() -> StateResult<()> {
    let server = Server::start().await;
    let url = server.url();
    let backend = basic_setup(Urls { standalone: &url, ..Urls::default() }).await?;
    operations(&backend).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_block_runs_behind_sentinels() -> StateResult<()> {
    let group = SentinelGroup::start().await;
    let sentinels = group.addresses().iter().map(|address| format!("redis://{address}")).collect::<Vec<_>>();
    let urls =
        Urls { sentinel1: &sentinels[0], sentinel2: &sentinels[1], sentinel3: &sentinels[2], ..Urls::default() };

    let two_sentinels = EnterpriseRedisConfig::builder().mode(sentinel_mode(urls)).build()?;
    assert!(EnterpriseRedisBackend::new(two_sentinels).await?.health_check().await?);

    operations(&EnterpriseRedisBackend::new(configuration(sentinels.clone())?).await?).await?;
    let backend = production_setup(urls).await?;
    operations(&backend).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_block_runs_on_a_cluster() -> StateResult<()> {
    let cluster = Cluster::start().await;
    let nodes = cluster.addresses().iter().map(|address| format!("redis://{address}")).collect();
    let config = EnterpriseRedisConfig::builder().mode(RedisMode::Cluster { nodes }).build()?;
    operations(&EnterpriseRedisBackend::new(config).await?).await
}

#[test]
fn every_fragment_of_a_configuration_sets_what_it_names() -> StateResult<()> {
    let pool = EnterpriseRedisConfig::builder()
        .pool_config(
            10,           // Minimum warm connections
            100,          // Maximum concurrent connections
            Duration::from_secs(30)
        )
        .build()?;
    assert_eq!((pool.pool_min, pool.pool_max, pool.pool_timeout.as_secs()), (10, 100, 30));

    let compression = EnterpriseRedisConfig::builder()
        .compression(CompressionAlgorithm::Lz4)
        .compression_threshold(1024)  // Only compress > 1KB
        .build()?;
    assert_eq!(compression.compression, CompressionAlgorithm::Lz4);
    assert_eq!(compression.compression_threshold, 1_024);

    let breaker = EnterpriseRedisConfig::builder()
        .enable_circuit_breaker(true)
        .circuit_breaker_threshold(10)  // Open after 10 failures
        .circuit_breaker_timeout(Duration::from_secs(60))
        .build()?;
    assert!(breaker.enable_circuit_breaker);
    let same = EnterpriseRedisConfig::builder().circuit_breaker(true, 10, Duration::from_secs(60)).build()?;
    assert_eq!(format!("{:?}", breaker.breaker), format!("{:?}", same.breaker));
    let other = EnterpriseRedisConfig::builder().circuit_breaker(true, 11, Duration::from_secs(60)).build()?;
    assert_ne!(format!("{:?}", breaker.breaker), format!("{:?}", other.breaker));

    let retry = EnterpriseRedisConfig::builder()
        .retry_config(
            3,
            Duration::from_millis(100),
            Duration::from_secs(5),
            0.3  // 30% random jitter
        )
        .build()?;
    let other = EnterpriseRedisConfig::builder()
        .retry_config(4, Duration::from_millis(100), Duration::from_secs(5), 0.3)
        .build()?;
    assert_ne!(format!("{:?}", retry.retry), format!("{:?}", other.retry));
    Ok(())
}

fn sentinel_mode(urls: Urls<'_>) -> RedisMode {
    RedisMode::Sentinel {
        sentinels: vec![
            urls.sentinel1.to_string(),
            urls.sentinel2.to_string(),
        ],
        service_name: "mymaster".to_string(),
    }
}

fn configuration(sentinels: Vec<String>) -> StateResult<EnterpriseRedisConfig> {
    let service_name = "mymaster".to_string();
    let config = EnterpriseRedisConfig::builder()
        .mode(RedisMode::Sentinel { sentinels, service_name })
        .key_prefix("app:")
        .default_ttl(Duration::from_secs(3600))
        .pool_config(10, 100, Duration::from_secs(30))
        .timeouts(Duration::from_secs(5), Duration::from_secs(3))
        .retry_config(3, Duration::from_millis(100), Duration::from_secs(5), 0.3)
        .compression(CompressionAlgorithm::Lz4)
        .compression_threshold(1024)
        .circuit_breaker(true, 10, Duration::from_secs(60))
        .enable_metrics(true)
        .slow_query_log(true, Duration::from_millis(100))
        .build()?;
    assert_eq!(config.key_prefix, "app:");
    assert_eq!(config.connect_timeout, Duration::from_secs(5));
    assert_eq!(config.command_timeout, Duration::from_secs(3));
    assert!(config.enable_metrics && config.enable_slow_query_log);
    Ok(config)
}

async fn basic_setup(urls: Urls<'_>) -> StateResult<EnterpriseRedisBackend> {
    #[allow(unused_imports)]
    use state_redis::{
        EnterpriseRedisBackend, EnterpriseRedisConfig,
        RedisMode, CompressionAlgorithm, StateBackend,
    };

    let config = EnterpriseRedisConfig::builder()
        .mode(RedisMode::Standalone {
            url: urls.standalone.to_string(),
        })
        .compression(CompressionAlgorithm::Lz4)
        .enable_metrics(true)
        .build()?;

    let backend = EnterpriseRedisBackend::new(config).await?;

    Ok(backend)
}

async fn production_setup(urls: Urls<'_>) -> StateResult<EnterpriseRedisBackend> {
    let config = EnterpriseRedisConfig::builder()
        .mode(RedisMode::Sentinel {
            sentinels: vec![
                urls.sentinel1.to_string(),
                urls.sentinel2.to_string(),
                urls.sentinel3.to_string(),
            ],
            service_name: "mymaster".to_string(),
        })
        .key_prefix("prod:")
        .default_ttl(Duration::from_secs(3600))
        .pool_config(20, 200, Duration::from_secs(30))
        .compression(CompressionAlgorithm::Lz4)
        .compression_threshold(1024)
        .enable_circuit_breaker(true)
        .enable_metrics(true)
        .build()?;

    let backend = EnterpriseRedisBackend::new(config).await?;

    assert_eq!(backend.health()?.pool.idle, 20, "warm connections");
    Ok(backend)
}
