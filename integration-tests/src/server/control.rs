//! What a test asks and tells its server.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, IntoConnectionInfo,
    RedisConnectionInfo, RedisResult, aio::MultiplexedConnection,
};

use crate::Server;

/// How long a control command may take.
const CONTROL_WITHIN: Duration = Duration::from_secs(20);

/// Control: commands of the test itself, over the unix socket, so that neither TLS nor a proxy is in the way.
impl Server {
    /// A new control connection with all rights.
    ///
    /// # Errors
    /// When the server is down or does not answer within 20 seconds.
    pub async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let mut settings = RedisConnectionInfo::default();
        if let Some(user) = self.config.peer_user() {
            settings = settings.set_username(user);
        }
        if let Some(password) = self.config.peer_password() {
            settings = settings.set_password(password);
        }
        let info =
            ConnectionAddr::Unix(self.unix_socket()).into_connection_info()?.set_redis_settings(settings);
        let timeouts = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONTROL_WITHIN))
            .set_response_timeout(Some(CONTROL_WITHIN));
        Client::open(info)?.get_multiplexed_async_connection_with_config(&timeouts).await
    }

    /// Runs one command on a control connection of its own.
    ///
    /// # Errors
    /// What the server answered, or why it did not.
    pub async fn try_command<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        command.query_async(&mut self.connect().await?).await
    }

    /// Runs one command on a control connection of its own.
    ///
    /// # Panics
    /// When it fails.
    pub async fn command<T: FromRedisValue>(&self, command: &Cmd) -> T {
        self.try_command(command).await.unwrap_or_else(|error| panic!("{self}: {error}"))
    }

    /// One field of INFO, e.g. `info("master_link_status")`; `None` when INFO has no such field.
    ///
    /// # Errors
    /// Why INFO failed.
    pub async fn info(&self, field: &str) -> RedisResult<Option<String>> {
        let text: String = self.try_command(redis::cmd("INFO").arg("everything")).await?;
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(value.map(|value| value.trim().to_owned()))
    }
}
