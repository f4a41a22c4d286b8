//! Sentinel: a counter goes on while the master is replaced.
//!
//! `cargo run -p state-redis --example sentinel -- 30` counts for 30 seconds (10 without a number). Stop the master
//! meanwhile, or ask a sentinel for `SENTINEL FAILOVER mymaster`. `cargo xtask up sentinel` starts servers to play
//! with; `REDIS_URL` names others.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use state_redis::conn::{Event, Events};
use state_redis::{RedisBackend, RedisConfig, StateResult};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep};

#[tokio::main]
async fn main() -> StateResult<()> {
    let seconds = std::env::args().nth(1).and_then(|number| number.parse().ok()).unwrap_or(10.0);
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| {
        "redis+sentinel://localhost:26379,localhost:26380,localhost:26381/mymaster".to_owned()
    });
    let config = RedisConfig::builder().url(url).key_prefix("example:sentinel:").build()?;
    let state = RedisBackend::new(config).await?;
    let teller = tokio::spawn(tell(state.events()));
    println!("connected; counting for {seconds} s");

    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let (mut done, mut maybe, mut failed) = (0, 0, 0);
    while Instant::now() < end {
        match state.increment(b"counter", 1).await {
            Ok(_) => done += 1,
            // It may have been counted, and the answer was lost: only the caller knows what to do then.
            Err(error) if error.is_ambiguous() => maybe += 1,
            Err(error) => {
                failed += 1;
                println!("not counted: {error}");
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
    let counter = state.increment(b"counter", 0).await?;
    println!("{done} counted, {maybe} perhaps, {failed} not; the counter says {counter}");

    state.delete(b"counter").await?;
    state.close().await;
    // The stream of events ends with the last handle.
    drop(state);
    teller.await.expect("the task ran to its end");
    Ok(())
}

/// Prints what happens on the connections, until they are closed for good.
async fn tell(mut events: Events) {
    loop {
        match events.recv().await {
            Ok(Event::Connected { endpoint, .. }) => println!("connected to the master, {endpoint}"),
            Ok(Event::Down { endpoint, reason }) => println!("left {endpoint}: {reason:?}"),
            Ok(_) => {}
            Err(RecvError::Lagged(missed)) => println!("{missed} events missed"),
            Err(RecvError::Closed) => return,
        }
    }
}
