//! Leader election: of several candidates one leads; when it is gone, the next one does.
//!
//! `cargo run -p state-redis --example leader`, with a server on localhost or the one that `REDIS_URL` names. Here the
//! candidates are tasks; in earnest each is a process.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use state_redis::redlock::LockConfig;
use state_redis::{RedisBackend, RedisConfig};
use tokio::sync::mpsc::{self, UnboundedSender};

const TTL: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (sender, mut terms) = mpsc::unbounded_channel();
    let candidates: Vec<_> =
        ["north", "south", "west"].map(|name| tokio::spawn(lead_once(name, sender.clone()))).into();
    drop(sender);

    let mut last = 0;
    while let Some((name, term)) = terms.recv().await {
        println!("{name} leads in term {term}");
        // What a leader writes carries its term: whoever knows a higher one refuses it.
        assert!(term > last, "terms grow");
        last = term;
    }
    for candidate in candidates {
        candidate.await?.map_err(|error| error.to_string())?;
    }
    println!("each has led once");
    Ok(())
}

/// Campaigns, leads for a moment, and resigns.
async fn lead_once(
    name: &'static str,
    told: UnboundedSender<(&'static str, u64)>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let state = connect(name).await?;
    let election = state.locks().await?.election("office", TTL)?;
    let leadership = election.campaign().await?;
    told.send((name, leadership.term()))?;
    // The leader's work ends when the office does.
    tokio::select! {
        () = leadership.lost() => println!("{name} has lost the office"),
        () = tokio::time::sleep(Duration::from_millis(300)) => println!("{name} has done its work"),
    }
    println!("while {name} led, the servers named {:?}", election.leader().await?);
    leadership.resign().await;
    state.close().await;
    Ok(())
}

async fn connect(name: &str) -> state_redis::StateResult<RedisBackend> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://localhost:6379".to_owned());
    let locks = LockConfig::default().with_owner(name);
    RedisBackend::new(RedisConfig::builder().url(url).locks(locks).key_prefix("example:leader:").build()?)
        .await
}
