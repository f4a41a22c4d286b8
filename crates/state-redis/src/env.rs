//! Settings from the environment.

use std::ffi::OsString;

use state_core::StateResult;

use crate::config::RedisConfig;
use crate::settings::{Draft, Given};
use crate::validate::invalid;

impl RedisConfig {
    /// The defaults, and over them what the environment sets: `STATE_REDIS_COMMAND_TIMEOUT=3s` for the prefix
    /// `STATE_REDIS_`. Lists are separated by commas.
    ///
    /// ```
    /// use state_redis::RedisConfig;
    ///
    /// let config = RedisConfig::from_env("STATE_REDIS_")?;
    /// # Ok::<(), state_redis::StateError>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidConfig`, naming the variable's setting, for a variable of that prefix that is no setting or cannot be
    /// read, and for an empty prefix. No value is repeated.
    pub fn from_env(prefix: &str) -> StateResult<Self> {
        Self::default().with_env(prefix)
    }

    /// These settings, and over them what the environment sets.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn with_env(self, prefix: &str) -> StateResult<Self> {
        overlay(self, prefix, std::env::vars_os())
    }
}

fn overlay(
    config: RedisConfig,
    prefix: &str,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> StateResult<RedisConfig> {
    if prefix.is_empty() {
        return Err(invalid("the prefix of the variables is empty, which would claim all of them"));
    }
    let mut draft = Draft::over(config);
    for (variable, value) in variables {
        let Some(name) = variable.to_str().and_then(|variable| variable.strip_prefix(prefix)) else {
            continue;
        };
        let name = name.to_ascii_lowercase();
        let value = value.into_string().map_err(|_| invalid(format!("{name} is no UTF-8")))?;
        draft.set(&name, &Given::One(value))?;
    }
    draft.finish()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn from(variables: &[(&str, &str)]) -> StateResult<RedisConfig> {
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        overlay(RedisConfig::default(), "APP_", variables)
    }

    #[test]
    fn variables_of_the_prefix_are_settings() {
        let config = from(&[
            ("APP_COMMAND_TIMEOUT", "250ms"),
            ("APP_URL", "redis+cluster://a:1,b:2"),
            ("APP_PASSWORD", "s3cret,with=signs"),
            ("APP_POOL_MAX_LIFETIME", "2h"),
            ("PATH", "/bin"),
            ("app_pool_min", "9"),
        ])
        .unwrap();
        assert_eq!((config.command_timeout, config.pool_min), (Duration::from_millis(250), 0));
        assert!(config.credentials.is_some());
        assert_eq!(config.pool_max_lifetime, Duration::from_secs(7_200));
    }

    #[test]
    fn lists_are_separated_by_commas() {
        let config =
            from(&[("APP_SENTINELS", "redis://a:1, redis://b:2"), ("APP_SERVICE_NAME", "main")]).unwrap();
        let crate::RedisMode::Sentinel { sentinels, service_name } = config.mode else { panic!() };
        assert_eq!(
            (sentinels, service_name.as_str()),
            (vec!["redis://a:1".into(), "redis://b:2".into()], "main")
        );
    }

    #[test]
    fn unknown_and_unreadable_variables_are_refused_by_name_and_not_repeated() {
        for (name, value, named) in [
            ("APP_COMAND_TIMEOUT", "s3cret", "comand_timeout"),
            ("APP_COMMAND_TIMEOUT", "s3cret", "command_timeout"),
            ("APP_POOL_MAX", "-1", "pool_max"),
            ("APP_URL", "s3cret", "mode.url"),
            ("APP_USERNAME", "s3cret", "password"),
        ] {
            let error = from(&[(name, value)]).unwrap_err();
            assert_eq!(error.kind(), state_core::ErrorKind::InvalidConfig);
            assert!(error.context().contains(named), "{name}: {error}");
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
        let twice = from(&[("APP_POOL_MIN", "1"), ("APP_POOL_CONFIG_MIN", "2")]).unwrap_err();
        assert!(twice.context().contains("given twice"), "{twice}");
        assert!(overlay(RedisConfig::default(), "", std::iter::empty()).is_err());
    }
}
