//! The master goes away, and comes back as something else.

use std::time::Duration;

use integration_tests::{SentinelGroup, long, margin};
use redis_conn::{DownReason, Event};
use tokio::time::Instant;

use crate::support::{Witness, Writer, connect, follows, ping};

#[tokio::test]
async fn a_killed_master_is_followed_by_its_successor() {
    let rounds = if long() { 10 } else { 1 };
    let group = SentinelGroup::start().await;
    let conn = connect(&group).await;
    for round in 1..=rounds {
        group.wait_settled().await;
        let old = group.master().await;
        follows(&conn, old).await;
        let witness = Witness::start(group.sentinels()).await;
        let writer = Writer::start(&conn, 8);
        writer.advances(1000).await;
        let killed = Instant::now();
        old.kill();
        let promotion = witness.promotion().await - killed;
        writer.advances(1000).await;
        let ledger = writer.stop().await;
        let (gap, overhead) = (ledger.gap(), ledger.gap().saturating_sub(promotion));
        println!(
            "round {round}: promoted after {promotion:?}, write gap {gap:?}, ours {overhead:?}, {} acknowledged, {} ambiguous",
            ledger.acknowledged.len(),
            ledger.ambiguous
        );
        let limit = if long() { Duration::from_millis(300) } else { margin() };
        assert!(gap <= promotion + limit, "round {round}");
        assert!(ledger.ambiguous <= 8, "only what was under way when the master died");
        old.restart().await;
    }
}

#[tokio::test]
async fn a_failover_by_hand_moves_the_handle_though_the_old_master_is_well() {
    let group = SentinelGroup::start().await;
    let conn = connect(&group).await;
    let old = group.master().await;
    follows(&conn, old).await;
    let mut events = conn.events();
    let writer = Writer::start(&conn, 4);
    let new = group.failover().await;
    follows(&conn, new).await;
    writer.advances(100).await;
    let ledger = writer.stop().await;
    println!("write gap {:?}, {} refused, {} ambiguous", ledger.gap(), ledger.refused, ledger.ambiguous);
    loop {
        match events.recv().await.expect("an event") {
            Event::Down { reason: DownReason::Switched | DownReason::WrongRole, .. } => break,
            Event::Down { reason, .. } => panic!("the old master was left for {reason:?}"),
            _ => {}
        }
    }
    let lost = ledger.lost_on(new).await;
    println!("{} of {} acknowledged writes lost", lost.len(), ledger.acknowledged.len());
}

#[tokio::test]
async fn with_all_sentinels_down_a_well_master_is_served_without_an_error() {
    let group = SentinelGroup::start().await;
    let conn = connect(&group).await;
    let writer = Writer::start(&conn, 4);
    group.sentinels().iter().for_each(|sentinel| sentinel.kill());
    // Nothing to wait for: it is served that long without anybody to name a master.
    tokio::time::sleep(Duration::from_secs(3)).await;
    writer.advances(100).await;
    assert_eq!(writer.errors(), 0);
    writer.stop().await;
    // Even a lost connection comes back, to the master that was named last.
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
    let master = &group.nodes()[0];
    master.command::<i64>(&kill).await;
    follows(&conn, master).await;
}

#[tokio::test]
async fn a_switch_while_the_old_master_is_frozen_ends_the_dial_to_it() {
    let group = SentinelGroup::start().await;
    let conn = connect(&group).await;
    let old = group.master().await;
    let witness = Witness::start(group.sentinels()).await;
    let writer = Writer::start(&conn, 4);
    writer.advances(100).await;
    let frozen = Instant::now();
    old.freeze();
    let promotion = witness.promotion().await - frozen;
    writer.advances(100).await;
    let ledger = writer.stop().await;
    println!("promoted after {promotion:?}, write gap {:?}", ledger.gap());
    assert!(ledger.gap() <= promotion + margin());
    old.thaw();
    ping(&conn).await.expect("still served");
}
