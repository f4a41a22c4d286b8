//! Settings from TOML and JSON.
#![cfg(all(
    feature = "serde",
    feature = "codec",
    feature = "resilience",
    feature = "metrics",
    feature = "locks"
))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers included")]

use std::time::Duration;

use state_redis::{CompressionAlgorithm, RedisConfig, RedisMode, WriteConcern};

const FLAT: &str = r#"
    sentinels = ["redis://a:26379", "redis://b:26379"]
    service_name = "main"
    password = "s3cret"
    key_prefix = "prod:"
    default_ttl = "1h"
    connect_timeout = "5s"
    command_timeout = "250ms"
    pool_min = 2
    pool_max = 20
    pool_idle_timeout = "90s"
    pool_max_lifetime = "1h"
    write_concern = "wait(1, 500ms)"
    compression = "zstd(7)"
    compression_threshold = 512
    retry_max_attempts = 5
    enable_circuit_breaker = true
    circuit_breaker_threshold = 7
    circuit_breaker_timeout = "1m"
    circuit_breaker_failure_rate = "none"
    rate_limit_per_second = 500
    bulkhead_max_concurrent = 8
    enable_slow_query_log = true
    slow_query_threshold = "20ms"
    metrics_labels = ["env=prod", "team=blue"]
    redlock_nodes = ["redis://x:1", "redis://y:1", "redis://z:1"]
    locks_max_ttl = "2m"
"#;

const TABLES: &str = r#"
    sentinels = ["redis://a:26379", "redis://b:26379"]
    service_name = "main"
    password = "s3cret"
    key_prefix = "prod:"
    default_ttl = "60m"
    write_concern = "wait(1,500ms)"
    redlock_nodes = ["redis://x:1", "redis://y:1", "redis://z:1"]
    [timeouts]
    connect = "5s"
    command = "250ms"
    [pool_config]
    min = 2
    max = 20
    idle_timeout = "1m 30s"
    max_lifetime = "60m"
    [compression]
    threshold = 512
    [retry_config]
    max = 5
    [circuit_breaker]
    enabled = true
    threshold = 7
    timeout = "60s"
    failure_rate = "none"
    [rate_limit]
    per_second = 500
    [bulkhead]
    max_concurrent = 8
    [slow_query_log]
    enabled = true
    threshold = "20ms"
    [metrics]
    labels = "env=prod, team=blue"
    [locks]
    max_ttl = "120s"
"#;

fn check(config: &RedisConfig) {
    let RedisMode::Sentinel { sentinels, service_name } = &config.mode else { panic!("{config:?}") };
    assert_eq!((sentinels.len(), service_name.as_str()), (2, "main"));
    assert!(config.credentials.is_some() && !format!("{config:?}").contains("s3cret"));
    assert_eq!((config.key_prefix.as_str(), config.default_ttl), ("prod:", Some(Duration::from_secs(3_600))));
    assert_eq!(config.connect_timeout, Duration::from_secs(5));
    assert_eq!(config.command_timeout, Duration::from_millis(250));
    assert_eq!((config.pool_min, config.pool_max), (2, 20));
    assert_eq!(config.pool_idle_timeout, Duration::from_secs(90));
    assert_eq!(config.pool_max_lifetime, Duration::from_secs(3_600));
    let half = Duration::from_millis(500);
    assert_eq!(config.write_concern, WriteConcern::Wait { replicas: 1, timeout: half });
    assert_eq!(config.compression_threshold, 512);
    assert_eq!(config.retry.max_attempts(), 5);
    assert_eq!(config.breaker.consecutive_failures, Some(7));
    assert_eq!(config.breaker.open_duration, Duration::from_secs(60));
    assert_eq!(config.breaker.failure_rate, None);
    assert_eq!(config.rate_limit.unwrap().per_second, 500);
    assert_eq!(config.bulkhead.unwrap().max_concurrent, 8);
    assert_eq!(config.instruments.slow_log.threshold, Duration::from_millis(20));
    let labels = [("env".to_owned(), "prod".to_owned()), ("team".to_owned(), "blue".to_owned())];
    assert_eq!(config.instruments.labels, labels);
    assert_eq!((config.redlock_nodes.len(), config.locks.max_ttl), (3, Duration::from_secs(120)));
}

#[test]
fn flat_names_and_tables_say_the_same() {
    let flat: RedisConfig = toml::from_str(FLAT).unwrap();
    check(&flat);
    assert_eq!(flat.compression, CompressionAlgorithm::Zstd { level: 7 });
    check(&toml::from_str(TABLES).unwrap());
}

#[test]
fn json_is_read_like_toml() {
    let value: toml::Table = toml::from_str(FLAT).unwrap();
    let json = serde_json::to_string(&value).unwrap();
    check(&serde_json::from_str(&json).unwrap());
    let json =
        r#"{"nodes": ["redis://a:1"], "attempt_timeout": null, "retry": {"jitter": 0, "max_delay": "1s"}}"#;
    let config: RedisConfig = serde_json::from_str(json).unwrap();
    assert!(matches!(config.mode, RedisMode::Cluster { .. }), "{config:?}");
    assert_eq!(config.attempt_timeout, None);
    let empty: RedisConfig = serde_json::from_str("{}").unwrap();
    assert_eq!(format!("{empty:?}"), format!("{:?}", RedisConfig::default()));
}

#[test]
fn what_is_wrong_is_refused_by_name_and_not_repeated() {
    for (text, named) in [
        ("comand_timeout = 's3cret'", "comand_timeout"),
        ("command_timeout = 's3cret'", "command_timeout: expected a duration"),
        ("command_timeout = 3", "command_timeout: expected a duration"),
        ("pool_max = -1", "pool_max"),
        ("pool_max = 0", "pool_max"),
        ("pool_min = 1.5", "pool_min"),
        ("pool_idle_timeout = 's3cret'", "pool_idle_timeout: expected a duration"),
        ("pool_max_lifetime = 'none'", "pool_max_lifetime: expected a duration"),
        ("pool_max_lifetime = '0s'", "pool_max_lifetime is zero"),
        ("pool_max_lifetim = '1h'", "did you mean `pool_max_lifetime`?"),
        ("[pool]\nidle_timout = '1m'", "did you mean `pool_idle_timeout`?"),
        ("atomic_batches = 's3cret'", "atomic_batches: expected true or false"),
        ("compression = 's3cret'", "compression: expected none, lz4"),
        ("write_concern = 'wait(1)'", "write_concern: expected fast"),
        ("url = 'redis://u:s3cret@host:port'", "mode.url"),
        ("url = 'redis://a'\nnodes = ['redis://b']", "url, by sentinels"),
        ("sentinels = ['redis://a']", "sentinels and service_name"),
        ("password = ['s3cret']", "password: expected a text"),
        ("username = 'u'", "username"),
        ("metrics_labels = ['s3cret']", "metrics_labels: expected name=value"),
        ("redlock_nodes = ['redis://a']", "redlock_nodes"),
        ("pool_min = 1\n[pool_config]\nmin = 2", "given twice"),
        ("[pool]\ns3 = 1", "pool_s3"),
        ("connection = 'x'", "connection"),
    ] {
        let error = toml::from_str::<RedisConfig>(text).expect_err(text);
        assert!(error.message().contains(named), "{text}: {error}");
        assert!(!error.message().contains("s3cret"), "{error}");
    }
}
