//! The client's side of the protocol on scripted nodes and paused time: exact deadlines, exact tokens.

#![allow(clippy::unwrap_used, reason = "a test program")]

mod desk;
mod kinds;
mod line;
mod shelf;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use redlock::{
    ErrorKind, Extension, Fault, LockConfig, LockKind, LockManager, LockOptions, Observer, Operation,
    Outcome, Renewal, Verdict,
};
use tokio::time::Instant;

use crate::shelf::Shelf;

const SECOND: Duration = Duration::from_secs(1);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn manager(shelves: &[Shelf]) -> LockManager {
    LockManager::quorum(shelves.iter().cloned()).await.unwrap()
}

fn plain(ttl: Duration) -> LockOptions {
    LockOptions::ttl(ttl).with_renewal(Renewal::Off)
}

#[tokio::test(start_paused = true)]
async fn validity_is_the_ttl_less_the_drift() {
    let shelves = Shelf::row(3);
    let guard = manager(&shelves).await.acquire("k", plain(10 * SECOND)).await.unwrap();
    let missing = ms(9_898).checked_sub(guard.validity()).expect("1 % and 2 ms are taken off");
    assert!(missing < SECOND, "{missing:?}");
}

#[tokio::test(start_paused = true)]
async fn loss_is_told_at_the_deadline_when_no_node_answers() {
    for options in [plain(10 * SECOND), LockOptions::ttl(10 * SECOND)] {
        let shelves = Shelf::row(3);
        let guard = manager(&shelves).await.acquire("k", options).await.unwrap();
        shelves.iter().for_each(|shelf| shelf.change(|state| state.hangs = true));
        let due = Instant::now() + guard.validity();
        guard.lost().await;
        assert!(!guard.is_valid());
        assert!(Instant::now() <= due + ms(50), "{:?}", Instant::now() - due);
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_not_confirmed_is_tried_again() {
    let shelves = Shelf::row(3);
    let guard = manager(&shelves).await.acquire("k", LockOptions::ttl(9 * SECOND)).await.unwrap();
    shelves.iter().for_each(|shelf| shelf.change(|state| state.hangs = true));
    tokio::time::sleep(5 * SECOND).await;
    assert!(matches!(guard.extend(9 * SECOND).await.unwrap(), Extension::Unknown(left) if !left.is_zero()));
    shelves[..2].iter().for_each(|shelf| shelf.change(|state| state.hangs = false));
    tokio::time::sleep(30 * SECOND).await;
    guard.check().unwrap();
    assert_eq!(guard.release().await, Outcome::Released);
}

#[tokio::test(start_paused = true)]
async fn a_minority_that_forgot_the_lock_gets_it_again_and_a_majority_does_not() {
    let shelves = Shelf::row(3);
    let guard = manager(&shelves).await.acquire("k", plain(10 * SECOND)).await.unwrap();
    shelves[2].change(|state| state.holder = None);
    assert!(matches!(guard.extend(10 * SECOND).await.unwrap(), Extension::Extended(_)));
    tokio::time::sleep(ms(1)).await;
    assert!(shelves[2].is_held());
    shelves[1..].iter().for_each(|shelf| shelf.change(|state| state.holder = None));
    assert_eq!(guard.extend(10 * SECOND).await.unwrap(), Extension::Lost);
    tokio::time::sleep(ms(1)).await;
    assert!(!shelves[1].is_held() && !shelves[2].is_held(), "a lost lock is not created anew");
}

#[tokio::test(start_paused = true)]
async fn the_highest_token_is_written_back_to_a_majority() {
    let shelves = Shelf::row(3);
    for (shelf, counter) in shelves.iter().zip([10, 5, 7]) {
        shelf.change(|state| state.counter = counter);
    }
    // Only these two answer, so both have to reach the higher one.
    shelves[0].change(|state| state.hangs = true);
    let manager = LockManager::quorum(shelves.iter().cloned()).await.unwrap();
    let guard = manager.acquire("k", plain(10 * SECOND)).await.unwrap();
    assert_eq!(guard.token(), 8);
    assert_eq!(shelves[1].read(|state| (state.counter, state.raises.clone())), (8, vec![8]));
    assert_eq!(shelves[2].read(|state| state.raises.len()), 0, "it gave that token itself");
}

#[tokio::test(start_paused = true)]
async fn a_counter_above_the_token_raises_it() {
    let shelves = Shelf::row(3);
    shelves[0].change(|state| state.hangs = true);
    shelves[2].change(|state| state.counter = 7);
    shelves[1].change(|state| state.overtaken = Some(20));
    let manager = manager(&shelves).await;
    let guard = manager.acquire("k", plain(10 * SECOND)).await.unwrap();
    assert_eq!(guard.token(), 20);
    assert_eq!(shelves[2].read(|state| state.counter), 20);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_agree_are_not_asked_again() {
    let shelves = Shelf::row(5);
    let manager = manager(&shelves).await;
    for round in 1..=3 {
        assert_eq!(manager.acquire("k", plain(SECOND)).await.unwrap().release().await, Outcome::Released);
        tokio::time::sleep(ms(10)).await;
        assert!(
            shelves.iter().all(|shelf| shelf.read(|state| (state.raises.len(), state.counter) == (0, round)))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_minority_costs_no_time_and_is_buried() {
    let shelves = Shelf::row(5);
    let manager = manager(&shelves).await;
    shelves[..2].iter().for_each(|shelf| shelf.change(|state| state.hangs = true));
    let begun = Instant::now();
    let guard = manager.acquire("k", plain(10 * SECOND)).await.unwrap();
    assert_eq!(guard.release().await, Outcome::Released);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    shelves[..2].iter().for_each(|shelf| shelf.change(|state| state.hangs = false));
    manager.shutdown().await;
    assert!(shelves[..2].iter().all(|shelf| shelf.read(|state| state.buried.len() == 1)));
    assert!(shelves[2..].iter().all(|shelf| shelf.read(|state| state.buried.is_empty())));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_majority_is_reported_within_the_wait() {
    let shelves = Shelf::row(3);
    let manager = manager(&shelves).await;
    shelves[1..].iter().for_each(|shelf| shelf.change(|state| state.hangs = true));
    let begun = Instant::now();
    let error = manager.acquire("k", plain(10 * SECOND).with_wait(Some(SECOND))).await.unwrap_err();
    assert!(begun.elapsed() <= SECOND + ms(100), "{:?}", begun.elapsed());
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let verdicts: Vec<_> = error.verdicts().iter().map(|v| v.verdict.clone()).collect();
    let timeout = Verdict::Fault(Fault::Timeout);
    assert_eq!(verdicts, [Verdict::Granted, timeout.clone(), timeout]);
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_is_not_in_the_way_of_the_next() {
    let shelves = Shelf::row(3);
    let (ours, theirs) = (manager(&shelves).await, manager(&shelves).await);
    let guard = ours.acquire("k", plain(10 * SECOND)).await.unwrap();
    tokio::time::sleep(ms(1)).await;
    // The holder's key is gone from one node, so each attempt of the other gets that one for a moment.
    shelves[0].change(|state| state.holder = None);
    for _ in 0..5 {
        assert_eq!(theirs.try_acquire("k", plain(10 * SECOND)).await.unwrap_err().kind(), ErrorKind::Held);
        assert!(!shelves[0].is_held());
    }
    drop(guard);
}

#[tokio::test(start_paused = true)]
async fn tokens_rise_whatever_minority_hangs() {
    let seed = rand::rng().random();
    let mut chance = StdRng::seed_from_u64(seed);
    let shelves = Shelf::row(5);
    let manager = manager(&shelves).await;
    let mut last = 0;
    for _ in 0..300 {
        let hanging = [chance.random_range(0..5), chance.random_range(0..5)];
        for (index, shelf) in shelves.iter().enumerate() {
            shelf.change(|state| state.hangs = hanging.contains(&index));
        }
        let guard = manager.acquire("k", plain(2 * SECOND)).await.unwrap();
        assert!(guard.token() > last, "seed {seed}: {} after {last}", guard.token());
        last = guard.token();
        drop(guard);
    }
}

#[tokio::test(start_paused = true)]
async fn all_that_waits_can_be_spawned() {
    fn sendable<T: Send + Sync>(value: T) -> T {
        value
    }
    let shelves = Shelf::row(3);
    let manager = manager(&shelves).await;
    let (semaphore, election) = (manager.semaphore("s", 2).unwrap(), manager.election("e", SECOND).unwrap());
    let token = tokio::spawn({
        let manager = manager.clone();
        async move { manager.with_lock("k", SECOND, |lease| async move { lease.token() }).await.unwrap() }
    });
    assert_eq!(token.await.unwrap(), 1);
    let permit = tokio::spawn(async move { semaphore.acquire(plain(SECOND)).await.unwrap() });
    assert_eq!(sendable(permit.await.unwrap()).release().await, Outcome::Released);
    let term =
        tokio::spawn(async move { election.lead(|lease| async move { lease.token() }).await.unwrap() });
    assert_eq!(term.await.unwrap(), 3);
    let all = tokio::spawn(async move { manager.acquire_all(&["a", "b"], plain(SECOND)).await.unwrap() });
    let detached = all.await.unwrap().detach();
    assert!(!format!("{detached:?}").contains('/'), "no secret in Debug");
}

/// Counts what it is told.
#[derive(Default)]
struct Counts {
    acquired: AtomicU32,
    failed: AtomicU32,
    released: AtomicU32,
    lost: AtomicU32,
    renewed: AtomicU32,
    faults: AtomicU32,
}

#[derive(Clone, Default)]
struct Counting(Arc<Counts>);

impl Observer for Counting {
    fn acquired(&self, _: LockKind, _: Duration, attempts: u32) {
        self.0.acquired.fetch_add(attempts, Ordering::Relaxed);
    }
    fn failed(&self, _: LockKind, _: ErrorKind, _: Duration, _: u32) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }
    fn released(&self, _: LockKind, _: Duration, _: Outcome) {
        self.0.released.fetch_add(1, Ordering::Relaxed);
    }
    fn lost(&self, _: LockKind, hold: Duration) {
        assert!(hold >= 9 * SECOND);
        self.0.lost.fetch_add(1, Ordering::Relaxed);
    }
    fn renewed(&self, _: LockKind, confirmed: bool) {
        self.0.renewed.fetch_add(u32::from(confirmed), Ordering::Relaxed);
    }
    fn node_answered(&self, node: &str, _: Operation, _: Duration, fault: Option<&Verdict>) {
        assert!(node.starts_with("shelf-"));
        self.0.faults.fetch_add(u32::from(fault.is_some()), Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_hears_of_everything() {
    let shelves = Shelf::row(3);
    let observer = Counting::default();
    let builder = LockManager::builder(LockConfig::default()).observer(observer.clone());
    let manager = builder.quorum(shelves.iter().cloned()).await.unwrap();
    let guard = manager.acquire("k", LockOptions::ttl(9 * SECOND)).await.unwrap();
    manager.try_acquire("k", plain(SECOND)).await.unwrap_err();
    tokio::time::sleep(10 * SECOND).await;
    guard.release().await;
    let lost = manager.acquire("k", plain(10 * SECOND)).await.unwrap();
    tokio::time::sleep(ms(1)).await;
    shelves.iter().for_each(|shelf| shelf.change(|state| state.hangs = true));
    assert!(matches!(lost.extend(SECOND).await.unwrap(), Extension::Unknown(_)));
    lost.lost().await;
    tokio::time::sleep(ms(1)).await;
    let counts = &observer.0;
    let read = |count: &AtomicU32| count.load(Ordering::Relaxed);
    assert_eq!((read(&counts.acquired), read(&counts.failed), read(&counts.released)), (2, 1, 1));
    assert_eq!((read(&counts.lost), read(&counts.renewed), read(&counts.faults)), (1, 3, 3));
}

#[tokio::test(start_paused = true)]
async fn invalid_settings_are_refused_when_a_manager_is_made() {
    for count in [1, 2, 4, 11] {
        let error = LockManager::quorum(Shelf::row(count)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    }
    let config = LockConfig::default().with_max_ttl(Duration::ZERO);
    let error = LockManager::builder(config).quorum(Shelf::row(3)).await.unwrap_err();
    assert!(error.context().starts_with("max_ttl"), "{error}");
}

/// How a release ends that each of three nodes carries out, and answers with `fault` at first.
async fn released_in_spite_of(fault: Fault, held_for: Duration) -> Outcome {
    let shelves = Shelf::row(3);
    let guard = manager(&shelves).await.acquire("k", plain(SECOND)).await.unwrap();
    tokio::time::sleep(held_for).await;
    shelves.iter().for_each(|shelf| shelf.change(|state| state.fault = Some(fault.clone())));
    guard.release().await
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_answers_are_lost_is_a_release_all_the_same() {
    for fault in [Fault::Timeout, Fault::Io("reset".into())] {
        assert_eq!(released_in_spite_of(fault, Duration::ZERO).await, Outcome::Released);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_had_run_out_or_was_gone_is_not_released_by_a_second_request() {
    assert_eq!(released_in_spite_of(Fault::Timeout, 2 * SECOND).await, Outcome::AlreadyExpired);
    // Whoever refuses has not released it: it was lost there.
    let refused = Fault::Refused("LOADING".into());
    assert_eq!(released_in_spite_of(refused, Duration::ZERO).await, Outcome::AlreadyExpired);
}
