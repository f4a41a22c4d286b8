//! The budget's limits, its line and its deadline.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::endpoint::Endpoint;

fn budget(count: usize, bytes: usize, queued: usize) -> Arc<Budget> {
    let config = Config::standalone(Endpoint::tcp("unused", 1))
        .with_max_in_flight(count)
        .with_max_in_flight_bytes(bytes)
        .with_max_queued(queued);
    Arc::new(Budget::new(&config))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

#[test]
fn commands_are_limited_by_count_and_by_bytes() {
    let by_count = budget(2, 1000, 0);
    let first = by_count.try_take(1).expect("room");
    assert!(by_count.try_take(1).is_some());
    assert!(by_count.try_take(1).is_none());
    by_count.give_back(first);
    assert!(by_count.try_take(1).is_some());

    let by_bytes = budget(10, 1000, 0);
    assert!(by_bytes.try_take(600).is_some());
    assert!(by_bytes.try_take(600).is_none());
    assert!(by_bytes.try_take(400).is_some());
}

#[test]
fn a_command_above_the_byte_budget_passes_alone() {
    let budget = budget(10, 1000, 0);
    let large = budget.try_take(5000).expect("alone");
    assert!(budget.try_take(1).is_none());
    budget.give_back(large);
    assert_eq!((budget.count(), budget.bytes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_at_the_deadline_with_nothing_taken() {
    let budget = budget(1, 1000, 8);
    let held = budget.try_take(1).expect("room");
    let error = budget.wait(1, Instant::now() + Duration::from_millis(50)).await.expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.is_safe_to_repeat());
    budget.give_back(held);
    assert_eq!(budget.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_line_refuses_at_once() {
    let budget = budget(1, 1000, 1);
    let _held = budget.try_take(1).expect("room");
    let waiting = tokio::spawn({
        let budget = Arc::clone(&budget);
        async move { budget.wait(1, soon()).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(budget.wait(1, soon()).await.expect_err("full").kind(), ErrorKind::Overloaded);
    waiting.abort();
}

#[tokio::test(start_paused = true)]
async fn waiters_are_served_in_order_and_newcomers_do_not_overtake() {
    let budget = budget(1, 1000, 8);
    let held = budget.try_take(1).expect("room");
    let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..4 {
        let (budget, order) = (Arc::clone(&budget), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let charge = budget.wait(1, soon()).await.expect("in time");
            order.lock().push(number);
            tokio::task::yield_now().await;
            budget.give_back(charge);
        }));
        tokio::task::yield_now().await;
    }
    assert!(budget.try_take(1).is_none());
    budget.give_back(held);
    assert!(budget.try_take(1).is_none(), "a newcomer overtook the line");
    for task in tasks {
        task.await.expect("waiter");
    }
    assert_eq!(*order.lock(), [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_waiter_leaves_the_line() {
    let budget = budget(1, 1000, 8);
    let held = budget.try_take(1).expect("room");
    let first = tokio::spawn({
        let budget = Arc::clone(&budget);
        async move { budget.wait(1, soon()).await }
    });
    tokio::task::yield_now().await;
    first.abort();
    let _ = first.await;
    budget.give_back(held);
    assert!(budget.try_take(1).is_some());
}
