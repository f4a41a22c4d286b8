//! E15 and E18: what is cancelled, dropped or late leaves nothing behind.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use integration_tests::Server;
use redlock::{
    Claim, Fault, LockManager, LockNode, NodeInfo, Place, Reconnecting, RedisNode, Standing, Vote,
};

use crate::{lines::in_line, support::*};

/// Drives a future for at most `polls` polls, then drops it; whether it was done.
async fn abandon_after(polls: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        future.as_mut().poll(context).map(|_| true)
    })
    .await
}

async fn nothing_is_left(servers: &[Server], when: &str) {
    for server in servers {
        integration_tests::eventually(when, 8 * SECOND, async || {
            let keys = lock_keys(server).await;
            if keys.is_empty() { Ok(()) } else { Err(format!("{keys:?}")) }
        })
        .await;
    }
}

/// E15: an acquire, and a release, is dropped after its first, second, third ... poll. The locks last a minute, so
/// what is gone within seconds was released.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e15_an_acquire_is_cancelled_at_each_await() {
    let begun = Instant::now();
    let servers = forgetful_masters(3).await;
    let config = || config().with_max_ttl(60 * SECOND);
    let kinds = [single(&servers[0], config()).await, quorum(&servers, config()).await];
    let mut cancelled = 0;
    for manager in &kinds {
        for contended in [false, true] {
            let holder = contended.then(|| manager.acquire("k", plain(60 * SECOND)));
            let holder = match holder {
                Some(holder) => Some(holder.await.unwrap()),
                None => None,
            };
            for polls in 0..30 {
                let wait = plain(60 * SECOND).with_wait(Some(ms(300)));
                cancelled += u32::from(!abandon_after(polls, manager.acquire("k", wait)).await);
            }
            drop(holder);
            nothing_is_left(&servers, "no key is left of a cancelled acquire").await;
        }
        for polls in 0..6 {
            let guard = manager.acquire("k", plain(60 * SECOND)).await.unwrap();
            cancelled += u32::from(!abandon_after(polls, guard.release()).await);
            nothing_is_left(&servers, "no key is left of a cancelled release").await;
        }
    }
    figures("E15", &format!("{cancelled} acquires and releases cancelled, no key left"), begun);
    assert!(cancelled > 20);
}

/// E15: a waiter is dropped at any moment around the one in which the lock is handed to it. It would last a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e15_a_waiter_is_cancelled_while_the_lock_is_handed_to_it() {
    let begun = Instant::now();
    let servers = [forgetful().await];
    let manager = single(&servers[0], config().with_max_ttl(60 * SECOND)).await;
    let mut had = 0;
    for step in 0..60 {
        let holder = manager.acquire("k", plain(60 * SECOND)).await.unwrap();
        let waiter = tokio::spawn({
            let manager = manager.clone();
            async move { manager.acquire("k", plain(60 * SECOND)).await.map(|guard| guard.token()) }
        });
        in_line(&servers[0], 1).await;
        let (_, finished) = tokio::join!(holder.release(), async {
            let end = Instant::now() + Duration::from_micros(20 * step);
            while Instant::now() < end {
                tokio::task::yield_now().await;
            }
            waiter.abort();
            waiter.await.is_ok()
        });
        had += u32::from(finished);
        nothing_is_left(&servers, "no key is left of a waiter that was called").await;
    }
    figures("E15", &format!("60 waiters cancelled while called, {had} after they had the lock"), begun);
}

#[test]
fn guards_are_dropped_without_a_runtime_and_while_one_ends() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let first = runtime();
    let (server, manager, guard) = first.block_on(async {
        let server = forgetful().await;
        let manager = single(&server, config()).await;
        let guard = manager.acquire("outside", plain(5 * SECOND)).await.unwrap();
        (server, manager, guard)
    });
    // In the runtime's life, but outside of it.
    drop(guard);
    first.block_on(nothing_is_left(std::slice::from_ref(&server), "the dropped guard is released"));
    let held = first.block_on(manager.acquire("ending", plain(SECOND))).unwrap();
    first.spawn(async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    let afterwards = first.block_on(manager.acquire("after", plain(SECOND))).unwrap();
    first.shutdown_background();
    // After it: the lock ends with its time to live.
    drop(afterwards);
    let second = runtime();
    second.block_on(async {
        let drained = tokio::time::timeout(10 * SECOND, manager.shutdown()).await;
        drained.expect("what a dead runtime was to release is not waited for");
        nothing_is_left(std::slice::from_ref(&server), "locks end with their time to live").await;
    });
}

/// A node to which an acquire arrives only when it is told to.
#[derive(Clone)]
struct Late {
    inner: RedisNode<Reconnecting>,
    kept: Arc<Mutex<Option<Claim>>>,
}

#[async_trait]
impl LockNode for Late {
    fn label(&self) -> &str {
        self.inner.label()
    }
    async fn inspect(&self) -> Result<NodeInfo, Fault> {
        self.inner.inspect().await
    }
    async fn acquire(&self, claim: &Claim) -> Result<Vote, Fault> {
        *self.kept.lock().unwrap() = Some(claim.clone());
        std::future::pending().await
    }
    async fn enqueue(&self, claim: &Claim, place: &Place) -> Result<Vote, Fault> {
        self.inner.enqueue(claim, place).await
    }
    async fn extend(&self, claim: &Claim, ttl: Duration) -> Result<Standing, Fault> {
        self.inner.extend(claim, ttl).await
    }
    async fn raise(&self, claim: &Claim, token: u64) -> Result<Option<u64>, Fault> {
        self.inner.raise(claim, token).await
    }
    async fn release(&self, claim: &Claim, burial: Option<Duration>) -> Result<Standing, Fault> {
        self.inner.release(claim, burial).await
    }
    async fn peek(&self, claim: &Claim) -> Result<Vec<(String, Duration)>, Fault> {
        self.inner.peek(claim).await
    }
    async fn bootstrap(&self, epoch_key: &str) -> Result<(), Fault> {
        self.inner.bootstrap(epoch_key).await
    }
}

/// E18: the acquire of an attempt that was given up arrives after its release.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e18_a_late_acquire_arrives_after_the_release() {
    let begun = Instant::now();
    let server = forgetful().await;
    let late = Late { inner: node(&server), kept: Arc::default() };
    let manager =
        LockManager::builder(config().with_node_timeout(ms(200))).single(late.clone()).await.unwrap();
    let error = manager.try_acquire("k", plain(10 * SECOND)).await.unwrap_err();
    manager.shutdown().await;
    let claim = late.kept.lock().unwrap().clone().expect("it was sent");
    let vote = late.inner.acquire(&claim).await.unwrap();
    figures("E18", &format!("given up as {:?}, then its acquire arrives: {vote:?}", error.kind()), begun);
    assert_eq!(vote, Vote::Dead);
    assert_eq!(lock_keys(&server).await, Vec::<String>::new());

    // Twice the same acquire of a living attempt is one hold.
    let guard = single(&server, config()).await.acquire("twice", plain(5 * SECOND)).await.unwrap();
    guard.release().await;
    nothing_is_left(&[server], "one release ends it").await;
}
