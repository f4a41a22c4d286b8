//! What the tests of this binary share.

use std::time::Duration;

use integration_tests::Server;
use state_redis::{RedisBackend, RedisConfig, RedisConfigBuilder};
use tokio::sync::Mutex;

/// Tests that count the threads of the process, or start some that are counted, go one after the other.
pub(crate) static THREADS: Mutex<()> = Mutex::const_new(());

/// Longer than any test runs.
pub(crate) const WINDOW: Duration = Duration::from_secs(600);

/// Settings for a backend on `url`. Nothing is published, so that only the tests about it have threads for it.
pub(crate) fn on(url: impl Into<String>) -> RedisConfigBuilder {
    RedisConfig::builder().url(url).enable_metrics(false)
}

/// A backend with these settings.
pub(crate) async fn backend(builder: RedisConfigBuilder) -> RedisBackend {
    RedisBackend::new(builder.build().expect("valid settings")).await.expect("a connection")
}

/// Settings under which whatever may be repeated is, for as long as a fault lasts.
pub(crate) fn patient(builder: RedisConfigBuilder) -> RedisConfigBuilder {
    builder
        .retry_config(1_000, Duration::from_millis(5), Duration::from_millis(50), 0.3)
        .retry_budget(None)
        .enable_circuit_breaker(false)
        .command_timeout(Duration::from_secs(30))
}

/// All keys on the server, in order.
pub(crate) async fn keys_on(server: &Server) -> Vec<String> {
    let mut keys: Vec<String> = server.command(redis::cmd("KEYS").arg("*")).await;
    keys.sort();
    keys
}
