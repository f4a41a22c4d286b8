//! What the tests of this binary share.

use std::time::Duration;

use redis_conn::{Config, Conn};
use tokio::time::Instant;

/// Time enough for anything that is not supposed to fail.
pub(crate) fn patient() -> Instant {
    within(30_000)
}

/// A deadline so many milliseconds away.
pub(crate) fn within(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

pub(crate) fn config(url: &str) -> Config {
    Config::from_url(url).expect("a valid URL")
}

pub(crate) async fn connect(url: &str) -> Conn {
    Conn::connect(config(url)).await.expect("a connection")
}

/// Waits until a command succeeds again, and says how long that took.
pub(crate) async fn usable_again(conn: &Conn) -> Duration {
    let began = Instant::now();
    while conn.run(&redis::cmd("PING"), within(1_000)).await.is_err() {
        assert!(Instant::now() < began + Duration::from_secs(30), "not usable again; {:?}", conn.state());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    began.elapsed()
}
