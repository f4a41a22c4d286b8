//! E16 and the contention table: the queue of a single authority.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use integration_tests::Server;

use crate::{child::Child, support::*};

pub(crate) async fn in_line(server: &Server, count: usize) {
    integration_tests::eventually("waiters are in the queue", 30 * SECOND, async || {
        let waiting: usize = server.command(redis::cmd("ZCARD").arg("redlock:l:-{k}:q")).await;
        if waiting == count { Ok(()) } else { Err(format!("{waiting}")) }
    })
    .await;
}

/// E16: the waiter at the head is killed, and the waiter to whom the lock was just handed is stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e16_the_next_in_line_dies() {
    let begun = Instant::now();
    let servers = [forgetful().await];
    let [server] = &servers;
    let manager = single(server, config()).await;
    let guard = manager.acquire("k", plain(10 * SECOND)).await.unwrap();
    let mut killed = Child::start("wait", &servers, &[]).await;
    in_line(server, 1).await;
    let stopped = Child::start("wait", &servers, &[]).await;
    in_line(server, 2).await;
    let waiter = tokio::spawn({
        let manager = manager.clone();
        async move { manager.acquire("k", plain(5 * SECOND)).await }
    });
    in_line(server, 3).await;
    killed.kill().await;
    stopped.stop();
    guard.release().await;
    let released = Instant::now();
    let next = waiter.await.unwrap().unwrap();
    let gap = released.elapsed();
    figures(
        "E16",
        &format!(
            "head killed, second stopped: the third has the lock after {gap:?} \
        (a waiter counts as dead after 3 s, a claim lapses after 2 s)"
        ),
        begun,
    );
    assert!(gap < 12 * SECOND);
    next.release().await;
    stopped.go_on();
}

/// Waiters go by priority, then by arrival.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_go_by_priority_and_arrival() {
    let server = forgetful().await;
    let manager = single(&server, config()).await;
    let guard = manager.acquire("k", plain(10 * SECOND)).await.unwrap();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut waiters = Vec::new();
    for (arrival, priority) in [(1, 0), (2, 0), (3, 5), (4, -1), (5, 5)] {
        let (manager, order) = (manager.clone(), Arc::clone(&order));
        waiters.push(tokio::spawn(async move {
            let guard = manager.acquire("k", plain(10 * SECOND).with_priority(priority)).await.unwrap();
            order.lock().unwrap().push(arrival);
            guard.release().await;
        }));
        in_line(&server, arrival).await;
    }
    guard.release().await;
    join_all(waiters).await;
    assert_eq!(*order.lock().unwrap(), [3, 5, 1, 2, 4]);
}

/// 50 waiters of one lock, each holding it for about a millisecond: shares, waits and rate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_waiters_are_served_alike() {
    const WAITERS: usize = 50;
    let begun = Instant::now();
    let server = forgetful().await;
    let managers = [single(&server, config()).await, single(&server, config()).await];
    let over = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..WAITERS)
        .map(|task| {
            let (manager, over) = (managers[task % managers.len()].clone(), Arc::clone(&over));
            tokio::spawn(async move {
                let (mut waits, mut hold) = (Vec::new(), Duration::ZERO);
                while !over.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    let guard = manager.acquire("k", plain(5 * SECOND)).await.unwrap();
                    waits.push(asked.elapsed());
                    let held = Instant::now();
                    tokio::time::sleep(ms(1)).await;
                    hold += held.elapsed();
                    guard.release().await;
                }
                (waits, hold)
            })
        })
        .collect();
    tokio::time::sleep(4 * SECOND).await;
    over.store(true, Ordering::Relaxed);
    let took = begun.elapsed();
    let done: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    let served: Vec<_> = done.iter().map(|(waits, _)| waits.len()).collect();
    let mut waits: Vec<_> = done.iter().flat_map(|(waits, _)| waits.iter().skip(1).copied()).collect();
    waits.sort_unstable();
    let holds: u32 = served.iter().sum::<usize>().try_into().unwrap();
    let hold = done.iter().map(|(_, hold)| *hold).sum::<Duration>() / holds.max(1);
    let rtt = round_trip(&server).await;
    let ideal = 1.0 / (hold + rtt).as_secs_f64();
    let rate = f64::from(holds) / took.as_secs_f64();
    let at = |part: usize| waits[(waits.len() - 1) * part / 100];
    println!(
        "50 waiters: {rate:.0} locks/s of {ideal:.0} (hold {hold:?}, round trip {rtt:?}), waits p50 {:?} p99 {:?}, \
         served {:?} to {:?} each",
        at(50),
        at(99),
        served.iter().min(),
        served.iter().max()
    );
    let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
    assert!(most - least <= 2 + most / 5, "{served:?}");
    assert!(rate > ideal / 3.0);
    if std::env::var_os("STATE_REDIS_LONG").is_some_and(|long| long == "1") {
        assert!(rate >= 0.9 * ideal && at(99).as_secs_f64() <= 1.5 * at(50).as_secs_f64());
    }
}

async fn round_trip(server: &Server) -> Duration {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut times = Vec::new();
    for _ in 0..200 {
        let begun = Instant::now();
        redis::cmd("PING").exec_async(&mut connection).await.unwrap();
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    times[100]
}
