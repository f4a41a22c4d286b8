//! E8, E9 and E14: what is said is lost on the way.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use integration_tests::Server;
use redlock::{ErrorKind, LockConfig, LockManager, LockOptions, Outcome, Subscriber};

use crate::{
    proxy::{Fault, Proxy},
    support::*,
};

async fn behind_proxies(servers: &[Server], config: LockConfig) -> (LockManager, Vec<Proxy>) {
    let mut proxies = Vec::new();
    for server in servers {
        proxies.push(Proxy::start(server).await);
    }
    let manager = LockManager::builder(config).quorum(proxies.iter().map(Proxy::node)).await.unwrap();
    (manager, proxies)
}

/// E8: each fault on one of three ways, then on all of them, then healed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e08_the_network_fails() {
    let begun = Instant::now();
    let servers = forgetful_masters(3).await;
    quorum(&servers, config()).await;
    let (manager, proxies) = behind_proxies(&servers, config().with_node_timeout(ms(200))).await;
    for fault in [Fault::Blackhole, Fault::NoReplies, Fault::Slow, Fault::Reset] {
        proxies[0].set(fault);
        let mut slowest = Duration::ZERO;
        for _ in 0..5 {
            let timed = Instant::now();
            let guard = manager.acquire("k", plain(4 * SECOND)).await.unwrap();
            slowest = slowest.max(timed.elapsed());
            assert_eq!(guard.release().await, Outcome::Released, "{fault:?}");
        }
        proxies.iter().for_each(|proxy| proxy.set(fault));
        let timed = Instant::now();
        let error = manager.acquire("k", plain(4 * SECOND).with_wait(Some(ms(300)))).await.unwrap_err();
        let refused = timed.elapsed();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{fault:?}: {error}");
        proxies.iter().for_each(|proxy| proxy.set(Fault::Pass));
        let timed = Instant::now();
        let guard = manager.acquire("k", plain(4 * SECOND)).await.unwrap();
        let healed = timed.elapsed();
        assert_eq!(guard.release().await, Outcome::Released);
        figures(
            "E8",
            &format!(
                "{fault:?}: one way, slowest acquire {slowest:?}; all ways, refused after {refused:?}; \
            had again {healed:?} after"
            ),
            begun,
        );
        assert!(slowest < 2 * SECOND && refused < 2 * SECOND && healed < 10 * SECOND);
    }
    // I6: attempts whose replies were lost leave nothing behind for longer than a time to live.
    manager.shutdown().await;
    for server in &servers {
        integration_tests::eventually("no key is left", 10 * SECOND, async || {
            let keys = lock_keys(server).await;
            if keys.is_empty() { Ok(()) } else { Err(format!("{keys:?}")) }
        })
        .await;
    }
}

/// E9: the holder is cut off from everybody, without a word: it hears of the loss in time, and another gets the lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e09_the_holder_is_cut_off() {
    let begun = Instant::now();
    let servers = forgetful_masters(3).await;
    let others = quorum(&servers, config()).await;
    let (manager, proxies) = behind_proxies(&servers, config()).await;
    let register = Register::default();
    let guard = manager.acquire("k", LockOptions::ttl(2 * SECOND)).await.unwrap();
    // Renewed, so that the deadline is one that was moved.
    tokio::time::sleep(ms(1500)).await;
    register.enter(guard.lease());
    proxies.iter().for_each(|proxy| proxy.set(Fault::Blackhole));
    let (lost, lease) = (guard.lost(), guard.lease().clone());
    let signal = tokio::spawn(async move {
        let mut due = Instant::now() + lease.validity();
        tokio::pin!(lost);
        loop {
            tokio::select! {
                () = &mut lost => return Instant::now().saturating_duration_since(due),
                () = tokio::time::sleep(ms(5)) => if lease.is_valid() { due = Instant::now() + lease.validity() },
            }
        }
    });
    let second = others.acquire("k", plain(2 * SECOND)).await.unwrap();
    register.enter(second.lease());
    let late = signal.await.unwrap();
    let report = register.report();
    figures("E9", &format!("loss told {late:?} after the deadline; {report:?}"), begun);
    assert!(late < SECOND, "{late:?}");
    assert_eq!((report.overlaps, report.inversions, report.grants), (0, 0, 2));
    assert!(!register.write(guard.token()));
}

/// A subscription that is confirmed and then hears nothing, ever.
struct Deaf;

#[async_trait]
impl Subscriber for Deaf {
    async fn subscribe(
        &self,
        _: &str,
    ) -> Result<BoxStream<'static, String>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(stream::pending().boxed())
    }
}

/// E14: every message of a turn is lost; waiters still get theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e14_all_wake_ups_are_lost() {
    let begun = Instant::now();
    let server = forgetful().await;
    let config = config().with_waiter_timeout(ms(900));
    let manager = LockManager::builder(config).subscriber(Deaf).single(node(&server)).await.unwrap();
    let register = Register::default();
    let work = contend(&[manager], 4, &register, Instant::now() + 3 * SECOND).await;
    let report = register.report();
    figures("E14", &format!("{} grants, {report:?}", work.done), begun);
    assert!(work.done >= 6, "{work:?}");
    assert_eq!((report.overlaps, report.inversions), (0, 0));
}
