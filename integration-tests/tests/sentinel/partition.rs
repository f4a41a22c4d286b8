//! The old master is cut off from its replica and the sentinels, while we still reach it.

use std::time::Duration;

use integration_tests::{long, margin, may_create_networks};
use redis_conn::{Conn, WriteConcern};
use tokio::time::{Instant, sleep};

use crate::divided::Divided;
use crate::support::{Witness, Writer};

/// A client that waits for errors goes on writing to the old master, and loses all of that.
#[tokio::test]
async fn a_master_cut_off_from_its_peers_is_left_at_the_promotion() {
    let outcome = cut_off(Divided::by_proxy().await, WriteConcern::Fast).await;
    println!("{}", outcome.report);
    assert!(outcome.last_lost.is_none_or(|last| last <= limit()));
}

#[tokio::test]
async fn nothing_confirmed_by_the_replica_is_lost_with_the_master() {
    let rounds = if long() { 5 } else { 1 };
    for _ in 0..rounds {
        let outcome = cut_off(Divided::by_proxy().await, CONFIRMED).await;
        println!("{}", outcome.report);
        assert_eq!(outcome.lost, 0);
    }
}

/// The same with a real network that is cut, where this process may create one.
#[tokio::test]
async fn a_master_whose_wire_to_its_peers_is_cut_is_left_at_the_promotion() {
    if let Err(reason) = may_create_networks() {
        return println!("NOT RUN: networks cannot be created here ({reason})");
    }
    let outcome = cut_off(Divided::by_wires().await, WriteConcern::Fast).await;
    println!("by wire, {}", outcome.report);
    assert!(outcome.last_lost.is_none_or(|last| last <= limit()));
    let outcome = cut_off(Divided::by_wires().await, CONFIRMED).await;
    println!("by wire, {}", outcome.report);
    assert_eq!(outcome.lost, 0);
}

const CONFIRMED: WriteConcern = WriteConcern::Wait { replicas: 1, timeout: Duration::from_millis(200) };

/// How long after the promotion a write that is lost may be acknowledged.
fn limit() -> Duration {
    if long() { Duration::from_millis(100) } else { margin() }
}

struct Outcome {
    lost: usize,
    /// How long after the promotion the last lost write was acknowledged.
    last_lost: Option<Duration>,
    report: String,
}

async fn cut_off(divided: Divided, concern: WriteConcern) -> Outcome {
    let config = divided.config().with_write_concern(concern);
    let conn = Conn::connect(config).await.expect("connected");
    let witness = Witness::start(divided.sentinels()).await;
    let writer = Writer::start(&conn, 4);
    writer.advances(500).await;
    let cut = Instant::now();
    divided.cut();
    let promotion = witness.promotion().await;
    // Nothing to wait for: that long a client could go on writing to the old master, and lose it.
    sleep(Duration::from_secs(2)).await;
    // The new master has no replica, so nothing can be confirmed there.
    if concern == WriteConcern::Fast {
        writer.advances(500).await;
    }
    let ledger = writer.stop().await;
    let lost = ledger.lost_on(divided.replica()).await;
    let last_lost = lost.iter().max().map(|at| at.saturating_duration_since(promotion));
    let report = format!(
        "{concern:?}: promoted {:?} after the cut, {} of {} acknowledged writes lost, the last one {last_lost:?} after the promotion, write gap {:?}",
        promotion - cut,
        lost.len(),
        ledger.acknowledged.len(),
        ledger.gap()
    );
    assert!(lost.len() < ledger.acknowledged.len(), "the new master holds some");
    Outcome { lost: lost.len(), last_lost, report }
}
