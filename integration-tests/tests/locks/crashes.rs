//! E1 to E4: servers are killed and come back, with and without their data.

use std::time::Instant;

use integration_tests::{Server, ServerConfig, eventually};
use redlock::{Error, ErrorKind, Guard, LockManager, Outcome, Verdict};

use crate::support::*;

/// E1: one of three nodes is killed and restarted again and again, before, during and after acquisitions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e01_one_node_of_three_is_killed() {
    let begun = Instant::now();
    let servers = forgetful_masters(3).await;
    let manager = quorum(&servers, config()).await;
    let register = Register::default();
    let work = tokio::spawn({
        let (managers, register) = ([manager.clone()], register.clone());
        async move { contend(&managers, 8, &register, Instant::now() + 4 * SECOND).await }
    });
    // The same node each time: in quarantine it does not count, so the other two have to stay.
    while !work.is_finished() {
        servers[0].kill();
        tokio::time::sleep(ms(150)).await;
        servers[0].restart_empty().await;
        tokio::time::sleep(ms(150)).await;
    }
    let (work, report) = (work.await.unwrap(), register.report());
    figures("E1", &format!("{} grants, {} failures, {report:?}", work.done, work.failed), begun);
    assert!(work.done > 20, "{work:?}");
    assert_eq!((report.overlaps, report.inversions, report.refused), (0, 0, 0));
}

/// E2: the majority is gone: acquisitions fail in time, the holder hears it in time, all recovers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e02_the_majority_is_killed() {
    let begun = Instant::now();
    let servers = forgetful_masters(3).await;
    let manager = quorum(&servers, config().with_max_ttl(2 * SECOND)).await;
    let guard = manager.acquire("k", redlock::LockOptions::ttl(2 * SECOND)).await.unwrap();
    servers[0].kill();
    servers[1].kill();

    let wait = Instant::now();
    let error = manager.acquire("other", plain(2 * SECOND).with_wait(Some(ms(500)))).await.unwrap_err();
    let failed_after = wait.elapsed();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(failed_after < ms(500) + SECOND, "{failed_after:?}");
    let silent = error.verdicts().iter().filter(|v| matches!(v.verdict, Verdict::Fault(_))).count();
    assert_eq!(silent, 2, "{error}");

    // Two seconds of validity begin at the last renewal, which may have been on its way when they were killed.
    let due = Instant::now() + guard.validity();
    guard.lost().await;
    let late = Instant::now().saturating_duration_since(due);
    assert!(!guard.is_valid() && late < SECOND, "{late:?} late");

    servers[0].restart_empty().await;
    servers[1].restart_empty().await;
    let back = Instant::now();
    let again = manager.acquire("k", plain(2 * SECOND)).await.unwrap();
    assert!(again.token() > guard.token());
    figures(
        "E2",
        &format!(
            "refused after {failed_after:?}, loss told {late:?} after the deadline, \
        had again {:?} after the restart",
            back.elapsed()
        ),
        begun,
    );
}

/// A lock that is on nodes 0 and 1 only, because node 2 refused it; node 2 is free now.
async fn held_by_two(manager: &LockManager, servers: &[Server]) -> Guard {
    occupy(&servers[2], "k").await;
    servers[2].command::<()>(redis::cmd("CONFIG").arg("RESETSTAT")).await;
    let guard = manager.acquire("k", plain(10 * SECOND)).await.unwrap();
    // The acquisition returns at the quorum: were the node vacated before its request arrives, it would grant.
    eventually("node 2 has refused", 5 * SECOND, async || has_run_a_script(&servers[2]).await).await;
    vacate(&servers[2], "k").await;
    guard
}

/// Since its counts were reset.
async fn has_run_a_script(server: &Server) -> Result<(), String> {
    let calls = server.info("cmdstat_eval").await.map_err(|error| error.to_string())?;
    calls.map(drop).ok_or_else(|| "no script was run".into())
}

/// Whether a node abstained in the last attempt.
fn abstained(error: &Error) -> bool {
    error.verdicts().iter().any(|v| matches!(v.verdict, Verdict::Quarantined { .. }))
}

/// Overlaps at the register, and whether a node abstained.
async fn restart_under_a_holder(quarantine: bool) -> (u64, bool) {
    let servers = forgetful_masters(3).await;
    let config = || config().with_quarantine(quarantine);
    let (ours, theirs) = (quorum(&servers, config()).await, quorum(&servers, config()).await);
    let register = Register::default();
    let guard = held_by_two(&ours, &servers).await;
    register.enter(guard.lease());
    servers[1].restart_empty().await;
    let mut quarantined = false;
    let end = Instant::now() + 2 * SECOND;
    while Instant::now() < end {
        match theirs.try_acquire("k", plain(2 * SECOND)).await {
            Ok(second) => {
                register.enter(second.lease());
                break;
            }
            Err(error) => quarantined = abstained(&error),
        }
        tokio::time::sleep(ms(20)).await;
    }
    assert!(guard.is_valid());
    (register.report().overlaps, quarantined)
}

/// E3: a node that voted comes back empty while the lock is held and another wants it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e03_a_voter_restarts_without_its_data() {
    let begun = Instant::now();
    let (with, abstained) = restart_under_a_holder(true).await;
    let (without, _) = restart_under_a_holder(false).await;
    figures(
        "E3",
        &format!("overlaps: {with} with quarantine (abstained={abstained}), {without} without"),
        begun,
    );
    assert_eq!((with, abstained), (0, true));
    assert_eq!(without, 1, "the experiment has to show the violation when the quarantine is off");
}

/// E4: the same with an append-only file that is flushed once a second, and with one flushed always.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e04_a_voter_restarts_from_its_append_only_file() {
    let begun = Instant::now();
    for (fsync, durable, abstains) in [("everysec", false, true), ("always", true, false)] {
        let config_of = || ServerConfig::default().with_option("appendfsync", fsync).start();
        let servers = [config_of().await, config_of().await, config_of().await];
        let nodes = || servers.iter().map(|server| node(server).with_durable(durable));
        let ours = LockManager::builder(config()).quorum(nodes()).await.unwrap();
        let theirs = LockManager::builder(config()).quorum(nodes()).await.unwrap();
        ours.bootstrap().await.unwrap();
        let guard = held_by_two(&ours, &servers).await;
        servers[1].restart().await;
        let refused = theirs.acquire("k", plain(2 * SECOND).with_wait(Some(ms(500)))).await.unwrap_err();
        assert_eq!((refused.kind(), abstained(&refused)), (ErrorKind::Held, abstains), "{fsync}: {refused}");
        assert!(guard.is_valid());
        assert_eq!(guard.release().await, Outcome::Released);
        figures(
            "E4",
            &format!("appendfsync {fsync}: no second grant, the restarted node abstains={abstains}"),
            begun,
        );
    }
}

/// A deployment that was never told that it is new abstains, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_deployment_abstains_until_it_is_bootstrapped() {
    let servers = forgetful_masters(3).await;
    let manager = LockManager::builder(config()).quorum(servers.iter().map(node)).await.unwrap();
    let error = manager.try_acquire("k", plain(SECOND)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Quarantined, "{error}");
    manager.bootstrap().await.unwrap();
    assert_eq!(manager.try_acquire("k", plain(SECOND)).await.unwrap().release().await, Outcome::Released);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_under_two_addresses_is_refused() {
    let servers = forgetful_masters(2).await;
    let nodes = [&servers[0], &servers[1], &servers[0]].map(node);
    let error = LockManager::builder(config()).quorum(nodes).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
}
