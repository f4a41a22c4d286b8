//! What the tests of this binary share.

use integration_tests::Server;
use state_redis::{RedisBackend, RedisConfig, RedisConfigBuilder};

/// A builder for a backend on `server`.
pub(crate) fn on(server: &Server) -> RedisConfigBuilder {
    RedisConfig::builder().url(server.url())
}

/// A backend with these settings.
pub(crate) async fn backend(builder: RedisConfigBuilder) -> RedisBackend {
    RedisBackend::new(builder.build().expect("valid settings")).await.expect("a connection")
}

/// All keys on the server, in order.
pub(crate) async fn keys_on(server: &Server) -> Vec<String> {
    let mut keys: Vec<String> = server.command(redis::cmd("KEYS").arg("*")).await;
    keys.sort();
    keys
}
