//! What the tests of this binary share.

use std::time::Duration;

use integration_tests::proxy::Proxy;
use integration_tests::{Server, eventually};
use state_redis::metrics::{Naming, Prometheus};
use state_redis::{RedisBackend, RedisConfig, RedisConfigBuilder};

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A builder for a backend on `server`.
pub(crate) fn on(server: &Server) -> RedisConfigBuilder {
    RedisConfig::builder().url(server.url())
}

/// A builder for a backend behind `proxy`, without repeats.
pub(crate) fn behind(proxy: &Proxy) -> RedisConfigBuilder {
    RedisConfig::builder().url(proxy.url()).retry_config(1, ms(1), ms(1), 0.0)
}

/// The same on a connection that is not given up while its server is silent.
pub(crate) fn unstalled(proxy: &Proxy) -> RedisConfigBuilder {
    behind(proxy).connection(|connection| connection.with_stall_timeout(ms(60_000)))
}

/// A backend with these settings.
pub(crate) async fn backend(builder: RedisConfigBuilder) -> RedisBackend {
    RedisBackend::new(builder.build().expect("valid settings")).await.expect("a connection")
}

/// What the server has under `key`, which is the server's own.
pub(crate) async fn stored(server: &Server, key: &str) -> Vec<u8> {
    server.command::<Option<Vec<u8>>>(redis::cmd("GET").arg(key)).await.expect("a value is stored")
}

/// How often the server has run `command` (in lower case).
pub(crate) async fn calls(server: &Server, command: &str) -> u64 {
    let stats = server.info(&format!("cmdstat_{command}")).await.expect("INFO").unwrap_or_default();
    let calls = stats.strip_prefix("calls=").and_then(|rest| rest.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

/// Waits until the server has run `command` so many times: what was sent last may be on its way.
pub(crate) async fn ran(server: &Server, command: &str, times: u64) {
    eventually("all of them were run", ms(30_000), async || match calls(server, command).await {
        seen if seen == times => Ok(()),
        seen => Err(format!("{seen} of {times} {command}")),
    })
    .await;
}

/// Bytes that no algorithm makes smaller, the same each time.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// A recorder that the backend publishes to.
pub(crate) fn scraping(backend: &RedisBackend) -> Prometheus {
    let prometheus = Prometheus::new(Naming::Prometheus).expect("a recorder");
    let instruments = backend.metrics().expect("metrics are enabled");
    assert!(instruments.bind(prometheus.recorder()));
    prometheus
}

/// The value of the only series of `name` whose labels contain all of `labels`.
#[track_caller]
pub(crate) fn value(text: &str, name: &str, labels: &[&str]) -> f64 {
    let found: Vec<&str> = text
        .lines()
        .filter(|line| line.split(['{', ' ']).next() == Some(name))
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .collect();
    let [line] = found[..] else { panic!("{} series of {name} {labels:?}: {found:?}\n{text}", found.len()) };
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}
