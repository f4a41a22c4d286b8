//! A connection that is made in the background, so that a quorum can be asked while some of its servers are down.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, Value};
use redis_conn::{Config, Conn};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Between attempts that failed; each of them has already tried for `connect_timeout`, or was refused for good.
const PAUSE: Duration = Duration::from_millis(500);

/// How connecting stands: nothing yet, the connection, or why the latest attempt failed.
type Progress = Option<Result<Conn, Arc<redis_conn::Error>>>;

/// A connection to come. Whoever asks waits for the first attempt, and after that fails as the latest one did.
#[derive(Clone)]
pub(crate) struct LateConn {
    progress: watch::Receiver<Progress>,
    connecting: Arc<Connecting>,
}

/// Ends the attempts when the last handle is dropped.
struct Connecting(JoinHandle<()>);

impl Drop for Connecting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl LateConn {
    pub(crate) fn start(config: Config) -> Self {
        let (sender, progress) = watch::channel(None);
        let connecting = Arc::new(Connecting(tokio::spawn(connect(config, sender))));
        Self { progress, connecting }
    }

    /// Ends the attempts, or the connection.
    pub(crate) async fn close(&self) {
        self.connecting.0.abort();
        if let Some(conn) = self.made() {
            conn.close().await;
        }
    }

    /// The connection, once it is made.
    pub(crate) fn made(&self) -> Option<Conn> {
        self.progress.borrow().as_ref().and_then(|made| made.as_ref().ok()).cloned()
    }

    async fn conn(&mut self) -> Result<Conn, RedisError> {
        let closed = |_| RedisError::from((ErrorKind::Io, "the connection was closed before it was made"));
        let made = self.progress.wait_for(Option::is_some).await.map_err(closed)?;
        match made.as_ref() {
            Some(Ok(conn)) => Ok(conn.clone()),
            Some(Err(cause)) => Err((kind_of(cause), "not connected", cause.to_string()).into()),
            None => Err(RedisError::from((ErrorKind::Io, "not connected yet"))),
        }
    }
}

/// The kind is what a lock's error shows of it: who set a wrong password has to see that it is no broken network.
fn kind_of(cause: &redis_conn::Error) -> ErrorKind {
    match cause.kind() {
        redis_conn::ErrorKind::Auth | redis_conn::ErrorKind::Denied => ErrorKind::AuthenticationFailed,
        redis_conn::ErrorKind::InvalidConfig | redis_conn::ErrorKind::Tls => ErrorKind::InvalidClientConfig,
        _ => ErrorKind::Io,
    }
}

async fn connect(config: Config, progress: watch::Sender<Progress>) {
    loop {
        match Conn::connect(config.clone()).await {
            Ok(conn) => {
                progress.send_replace(Some(Ok(conn)));
                return;
            }
            Err(cause) => progress.send_replace(Some(Err(Arc::new(cause)))),
        };
        sleep(PAUSE).await;
    }
}

impl ConnectionLike for LateConn {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move { self.conn().await?.req_packed_command(cmd).await })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move { self.conn().await?.req_packed_commands(pipeline, offset, count).await })
    }

    fn get_db(&self) -> i64 {
        self.made().map_or(0, |conn| conn.get_db())
    }
}
