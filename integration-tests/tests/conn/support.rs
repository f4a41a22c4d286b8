//! What the tests of this binary share.

use std::time::Duration;

use redis_conn::{Config, Conn};
use tokio::time::Instant;

/// Time enough for anything that is not supposed to fail.
pub(crate) fn patient() -> Instant {
    within(10_000)
}

/// A deadline so many milliseconds away.
pub(crate) fn within(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

/// Whether the long forms of experiments were asked for (`cargo xtask test --long`).
pub(crate) fn long() -> bool {
    std::env::var_os("STATE_REDIS_LONG").is_some_and(|value| value == "1")
}

pub(crate) fn config(url: &str) -> Config {
    Config::from_url(url).expect("a valid URL")
}

pub(crate) async fn connect(url: &str) -> Conn {
    Conn::connect(config(url)).await.expect("a connection")
}

/// Waits until a command succeeds again, and says how long that took.
pub(crate) async fn usable_again(conn: &Conn, at_most: Duration) -> Duration {
    let began = Instant::now();
    while began.elapsed() < at_most {
        if conn.run(&redis::cmd("PING"), within(100)).await.is_ok() {
            return began.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("not usable again within {at_most:?}; state {:?}", conn.state());
}
