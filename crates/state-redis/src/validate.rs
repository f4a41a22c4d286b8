//! One place that checks every setting, and turns settings into those of the layers.

use std::borrow::Cow;
use std::time::Duration;

use state_core::{ErrorKind, MAX_VALUE_LEN, StateError, StateResult, ttl_millis};

use crate::config::RedisConfig;
use crate::keyspace::Keyspace;

// Beyond that, adding it to a clock would be the larger risk than waiting.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

// Nobody waits for a connection to age, so that it may take long; a year is as good as for ever.
const MAX_AGE: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Checks every setting, those of the layers by the layers themselves.
pub(crate) fn all(config: &RedisConfig) -> StateResult<()> {
    if let Some(Err(cause)) = config.default_ttl.map(ttl_millis) {
        return Err(invalid("default_ttl is zero or above 100 years").with_source(cause));
    }
    demand((1..=MAX_VALUE_LEN).contains(&config.max_value_len), "max_value_len is not within 1 and 512 MiB")?;
    demand(
        (1..=10_000).contains(&config.pipeline_batch_size),
        "pipeline_batch_size is not within 1 and 10,000",
    )?;
    demand((1..=10_000).contains(&config.pool_max), "pool_max is not within 1 and 10,000")?;
    demand(config.pool_min <= config.pool_max, "pool_min is above pool_max")?;
    timeouts(config)?;
    keyspace(config)?;
    connection(config)?.validate().map_err(|cause| crate::error::in_config("connection", cause))?;
    #[cfg(feature = "codec")]
    crate::values::codec(config)?;
    #[cfg(feature = "resilience")]
    crate::policy::check(config)?;
    #[cfg(feature = "metrics")]
    crate::instruments::check(config)?;
    #[cfg(feature = "locks")]
    crate::locks::check(config)?;
    Ok(())
}

/// The keyspace of the backend's data.
pub(crate) fn keyspace(config: &RedisConfig) -> StateResult<Keyspace> {
    Keyspace::new(&config.key_prefix, config.layout)
}

/// The settings of the connection.
pub(crate) fn connection(config: &RedisConfig) -> StateResult<redis_conn::Config> {
    let mut connection = config
        .mode
        .conn_config()?
        .with_connect_timeout(config.connect_timeout)
        .with_command_timeout(config.command_timeout)
        .with_read_from(config.read_from)
        .with_write_concern(config.write_concern)
        .with_health_interval(config.health_interval);
    connection.dial_timeout = attempt_within(connection.dial_timeout, config.connect_timeout);
    connection.pool.min = config.pool_min;
    connection.pool.max = config.pool_max;
    connection.pool.wait_timeout = config.pool_timeout;
    connection.pool.idle_timeout = config.pool_idle_timeout;
    connection.pool.max_lifetime = config.pool_max_lifetime;
    if let Some(credentials) = &config.credentials {
        connection = connection.with_credentials(credentials.clone());
    }
    Ok(match &config.connection {
        Some(further) => further(connection),
        None => connection,
    })
}

/// How long an attempt to connect may take: not as long as there is time for all of them, so that it has said how far it
/// came before that is over.
pub(crate) fn attempt_within(dial_timeout: Duration, connect_timeout: Duration) -> Duration {
    dial_timeout.min(connect_timeout.mul_f64(0.9))
}

fn timeouts(config: &RedisConfig) -> StateResult<()> {
    let settings = [
        ("connect_timeout", Some(config.connect_timeout)),
        ("command_timeout", Some(config.command_timeout)),
        ("pool_timeout", Some(config.pool_timeout)),
        ("health_interval", Some(config.health_interval)),
        #[cfg(feature = "resilience")]
        ("attempt_timeout", config.attempt_timeout),
        #[cfg(feature = "locks")]
        ("lock_wait", config.lock_wait.filter(|wait| !wait.is_zero())),
    ];
    for (name, timeout) in settings {
        let Some(timeout) = timeout else { continue };
        within(name, timeout, MAX_TIMEOUT, "a day")?;
    }
    within("pool_idle_timeout", config.pool_idle_timeout, MAX_AGE, "a year")?;
    within("pool_max_lifetime", config.pool_max_lifetime, MAX_AGE, "a year")
}

fn within(name: &str, time: Duration, most: Duration, called: &str) -> StateResult<()> {
    demand(!time.is_zero(), format!("{name} is zero"))?;
    demand(time <= most, format!("{name} is above {called}"))
}

pub(crate) fn demand(holds: bool, context: impl Into<Cow<'static, str>>) -> StateResult<()> {
    if holds { Ok(()) } else { Err(invalid(context)) }
}

pub(crate) fn invalid(context: impl Into<Cow<'static, str>>) -> StateError {
    StateError::new(ErrorKind::InvalidConfig, context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_to_connect_ends_before_the_time_for_all_of_them() {
        let (second, instant) = (Duration::from_secs(1), Duration::from_nanos(1));
        assert_eq!(attempt_within(second, 5 * second), second);
        assert_eq!(attempt_within(2 * second, second), Duration::from_millis(900));
        assert!(!attempt_within(second, instant).is_zero());
    }
}
