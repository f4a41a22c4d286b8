//! E13 and E17: servers lose or refuse what they are told.

use std::time::Instant;

use integration_tests::ServerConfig;
use redlock::{ErrorKind, Extension, Fault, LockManager, LockOptions, Outcome, Verdict};

use crate::{proxy::Proxy, support::*};

/// E13: FLUSHALL, SCRIPT FLUSH, CLIENT KILL, eviction, and a server that takes no writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e13_servers_lose_and_refuse() {
    let begun = Instant::now();
    let servers = forgetful_masters(3).await;
    let manager = quorum(&servers, config()).await;
    let all = async |words: &[&str]| {
        for server in &servers {
            let mut command = redis::cmd(words[0]);
            command.arg(&words[1..]);
            server.command::<redis::Value>(&command).await;
        }
    };
    for (fault, words) in [
        ("SCRIPT FLUSH", &["SCRIPT", "FLUSH"][..]),
        ("CLIENT KILL", &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"][..]),
    ] {
        let guard = manager.acquire("k", plain(5 * SECOND)).await.unwrap();
        all(words).await;
        integration_tests::eventually("the lock can be prolonged", 4 * SECOND, async || {
            match guard.extend(5 * SECOND).await.unwrap() {
                Extension::Extended(_) => Ok(()),
                other => Err(format!("{fault}: {other:?}")),
            }
        })
        .await;
        assert_eq!(guard.release().await, Outcome::Released, "{fault}");
        figures("E13", &format!("{fault}: the lock is kept"), begun);
    }

    let guard = manager.acquire("k", LockOptions::ttl(2 * SECOND)).await.unwrap();
    all(&["FLUSHALL"]).await;
    let flushed = Instant::now();
    tokio::time::timeout(10 * SECOND, guard.lost()).await.expect("a lock that is gone is not renewed");
    let told = flushed.elapsed();
    let error = manager.try_acquire("k", plain(SECOND)).await.unwrap_err();
    figures("E13", &format!("FLUSHALL: loss told after {told:?}, then {:?}", error.kind()), begun);
    assert!(told < 2 * SECOND + SECOND);
    assert_eq!(error.kind(), ErrorKind::Quarantined, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e13_servers_that_evict_are_refused() {
    let evicting = ServerConfig::default()
        .with_option("maxmemory", "50mb")
        .with_option("maxmemory-policy", "allkeys-random");
    let error = LockManager::single(node(&evicting.start().await)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e13_servers_that_take_no_writes_are_named() {
    let refusing = ServerConfig::default().with_option("min-replicas-to-write", "1").start().await;
    let manager = LockManager::builder(config()).single(node(&refusing)).await.unwrap();
    let error = manager.try_acquire("k", plain(SECOND)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(error.verdicts()[0].verdict, Verdict::Fault(Fault::ReadOnly), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_type_is_reported_at_once() {
    let servers = forgetful_masters(3).await;
    for server in &servers {
        server.command::<()>(redis::cmd("LPUSH").arg("redlock:l:-{k}:w").arg("x")).await;
    }
    let begun = Instant::now();
    for manager in [single(&servers[0], config()).await, quorum(&servers, config()).await] {
        let error = manager.acquire("k", plain(SECOND)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WrongType, "{error}");
    }
    assert!(begun.elapsed() < 20 * SECOND);
}

/// E17: a replica that lags is promoted while a lock is held on the master.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e17_a_lagging_replica_is_promoted() {
    let begun = Instant::now();
    let (master, replica) = (forgetful().await, forgetful().await);
    let link = Proxy::start(&master).await;
    replica.command::<()>(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(link.port())).await;
    integration_tests::eventually("the replica is up to date", 30 * SECOND, async || {
        let link = replica.info("master_link_status").await.ok().flatten();
        if link.as_deref() == Some("up") { Ok(()) } else { Err(format!("{link:?}")) }
    })
    .await;
    let register = Register::default();
    let ours = single(&master, config()).await;
    // From here on the replica hears nothing.
    link.set(crate::proxy::Fault::Blackhole);
    let guard = ours.acquire("k", plain(10 * SECOND)).await.unwrap();
    register.enter(guard.lease());
    // A failover takes longer than the second to which tokens count: so it does here.
    tokio::time::sleep(ms(1100)).await;
    master.kill();
    replica.command::<()>(redis::cmd("REPLICAOF").arg("NO").arg("ONE")).await;
    let theirs = single(&replica, config()).await;
    let second = theirs.acquire("k", plain(10 * SECOND)).await.unwrap();
    register.enter(second.lease());
    let late_write = register.write(guard.token());
    let report = register.report();
    figures(
        "E17",
        &format!(
            "documented breach: {} overlap; tokens: {} inversions, the late write accepted={late_write}",
            report.overlaps, report.inversions
        ),
        begun,
    );
    assert_eq!((report.overlaps, report.inversions, late_write), (1, 0, false));
}
