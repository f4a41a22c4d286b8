//! A lock that is handed over: from when on it is held, for how long, and which messages are not believed.

use std::time::Duration;

use redlock::{Guard, LockConfig, Outcome, Vote};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    SECOND,
    desk::{Desk, waiting},
    ms, plain,
};

/// Begins to wait for a lock of a minute, which is handed over for 2 s at first.
async fn wait(desk: &Desk, ttl: Duration) -> JoinHandle<Guard> {
    let config = LockConfig::default().with_node_timeout(5 * SECOND);
    let manager = desk.manager(config).await;
    let waiter = tokio::spawn(async move { manager.acquire("k", plain(ttl)).await.unwrap() });
    sleep(ms(1)).await;
    waiter
}

/// What is left of the claim time this long after the look, give or take the time that really passes.
fn assert_relied_on_for(guard: &Guard, left: Duration) {
    let less = left.checked_sub(guard.validity()).unwrap_or_else(|| panic!("{:?}", guard.validity()));
    assert!(less < ms(300), "{less:?} less than {left:?}");
}

/// 2 s less 1 % and 2 ms.
const CLAIM: Duration = Duration::from_millis(1_978);

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_handed_over_is_held_from_the_message_on() {
    let desk = Desk::default();
    let waiter = wait(&desk, 60 * SECOND).await;
    sleep(ms(499)).await;
    desk.hand_over(1, 42);
    let guard = waiter.await.unwrap();
    assert_eq!((guard.token(), desk.notes().looks), (42, 1));
    assert_relied_on_for(&guard, CLAIM - ms(500));
    assert_eq!(guard.release().await, Outcome::Released);
    sleep(SECOND).await;
    assert_eq!(desk.notes().extensions, [], "released before it was worth a confirmation");
    assert_eq!(desk.notes().releases, [false]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_released_at_once_is_confirmed() {
    let desk = Desk::default();
    let waiter = wait(&desk, 60 * SECOND).await;
    desk.hand_over(1, 42);
    let guard = waiter.await.unwrap();
    sleep(ms(20)).await;
    assert_eq!(desk.notes().extensions, [60 * SECOND], "renewal is off, and this is none");
    assert!(guard.validity() > 58 * SECOND);
    assert_eq!((guard.token(), desk.notes().looks), (42, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_detached_before_it_was_confirmed_lasts_for_its_time_to_live() {
    let desk = Desk::default();
    let waiter = wait(&desk, 60 * SECOND).await;
    desk.hand_over(1, 42);
    waiter.await.unwrap().detach();
    sleep(ms(1)).await;
    assert_eq!((desk.notes().extensions, desk.notes().releases), (vec![60 * SECOND], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_names_another_look_is_only_a_reason_to_look() {
    let desk = Desk::default();
    let waiter = wait(&desk, 60 * SECOND).await;
    for look in [0, 2, 2] {
        desk.hand_over(look, 42);
        sleep(ms(1)).await;
    }
    // The second of these named the look it found.
    let guard = waiter.await.unwrap();
    assert_eq!((guard.token(), desk.notes().looks), (42, 2));

    let waiter = wait(&desk, 60 * SECOND).await;
    let id = desk.notes().id;
    for message in [id.clone(), format!("{id} 1"), format!("{id} 1 x")] {
        desk.publish(&message);
        sleep(ms(1)).await;
    }
    assert_eq!(desk.notes().looks, 4);
    desk.publish("other/2 4 42");
    desk.publish("");
    sleep(ms(1)).await;
    assert!(!waiter.is_finished());
    assert_eq!(desk.notes().looks, 4);
    waiter.abort();
}

/// The claim is counted from the look, so an answer that takes long uses it up.
#[tokio::test(start_paused = true)]
async fn a_hand_off_is_not_believed_once_little_of_the_claim_is_left() {
    for (answered_after, believed) in [(ms(1_000), true), (ms(1_600), false), (ms(3_000), false)] {
        let desk = Desk::default();
        desk.answer([(answered_after, waiting()), (ms(0), Vote::Granted { token: 43 })]);
        let waiter = wait(&desk, 60 * SECOND).await;
        desk.hand_over(1, 42);
        let guard = waiter.await.unwrap();
        let expected = if believed { (42, 1) } else { (43, 2) };
        assert_eq!((guard.token(), desk.notes().looks), expected, "{answered_after:?}");
        if believed {
            assert_relied_on_for(&guard, CLAIM - answered_after);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_look_under_way_goes_before_a_message() {
    let desk = Desk::default();
    desk.answer([(ms(0), waiting()), (ms(100), Vote::Granted { token: 43 })]);
    let begun = Instant::now();
    let waiter = wait(&desk, 60 * SECOND).await;
    // The second look is the heartbeat.
    sleep(ms(1_050)).await;
    desk.hand_over(1, 42);
    let guard = waiter.await.unwrap();
    assert_eq!((guard.token(), desk.notes().looks), (43, 2));
    assert!(begun.elapsed() >= ms(1_100) && guard.validity() > 58 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_lasts_no_longer_than_the_claim_is_confirmed_first() {
    let desk = Desk::default();
    desk.answer([(ms(0), waiting()), (ms(0), Vote::Granted { token: 43 })]);
    let waiter = wait(&desk, 2 * SECOND).await;
    desk.hand_over(1, 42);
    assert_eq!(waiter.await.unwrap().token(), 43);
}

/// The first look may still arrive when the lock is released.
#[tokio::test(start_paused = true)]
async fn a_waiter_that_did_not_hear_an_answer_is_buried_by_its_release() {
    let desk = Desk::default();
    desk.answer([(10 * SECOND, waiting()), (ms(0), waiting())]);
    let waiter = wait(&desk, 60 * SECOND).await;
    sleep(6 * SECOND).await;
    desk.hand_over(desk.notes().looks, 42);
    assert_eq!(waiter.await.unwrap().release().await, Outcome::Released);
    assert_eq!(desk.notes().releases, [true]);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_was_called_and_is_cancelled_releases() {
    let desk = Desk::default();
    let manager = desk.manager(LockConfig::default()).await;
    let mut acquiring = Box::pin(manager.acquire("k", plain(60 * SECOND)));
    assert!(tokio::time::timeout(ms(1), &mut acquiring).await.is_err());
    desk.hand_over(1, 42);
    // The message arrives, and the waiter does not get to it.
    sleep(ms(1)).await;
    drop(acquiring);
    manager.shutdown().await;
    assert_eq!(desk.notes().releases, [false]);
}
