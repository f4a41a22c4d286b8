//! Conditional and counting operations, alone and against each other.

use std::sync::Arc;
use std::time::Duration;

use crate::conformance::input::assert_kind;
use crate::{CasOutcome, Condition, ErrorKind, PutOptions, StateBackend, StateBackendExt, Ttl};

const TASKS: usize = 64;
const ROUNDS: usize = 50;

/// `IfAbsent` and `IfPresent` decide, and what is refused changes nothing.
pub async fn conditions_decide_whether_a_put_happens(backend: &dyn StateBackend) {
    let if_present = PutOptions::default().with_condition(Condition::IfPresent);
    let if_absent = PutOptions::default().with_condition(Condition::IfAbsent);
    assert!(!backend.put_with(b"k", b"1", if_present).await.unwrap());
    assert_eq!(backend.get(b"k").await.unwrap(), None);
    assert!(backend.put_with(b"k", b"2", if_absent).await.unwrap());
    assert!(!backend.put_with(b"k", b"3", if_absent).await.unwrap());
    assert_eq!(backend.get(b"k").await.unwrap().as_deref(), Some(&b"2"[..]));
    assert!(backend.put_with(b"k", b"4", if_present).await.unwrap());
    assert!(backend.put_with(b"k", b"5", PutOptions::default()).await.unwrap());
    assert_eq!(backend.get_and_delete(b"k").await.unwrap().as_deref(), Some(&b"5"[..]));
}

/// Every combination of what is expected, what is there and what shall be.
pub async fn compare_and_swap_follows_its_table(backend: &dyn StateBackend) {
    let states: [Option<&[u8]>; 4] = [None, Some(b""), Some(b"a"), Some(b"a\0")];
    for there in states {
        for expected in states {
            for new in states {
                match there {
                    Some(value) => backend.put(b"k", value).await.unwrap(),
                    None => backend.delete(b"k").await.unwrap(),
                }
                let outcome = backend.compare_and_swap(b"k", expected, new).await.unwrap();
                let case = format!("there {there:?}, expected {expected:?}, new {new:?}");
                let after = if there == expected { new } else { there };
                assert_eq!(backend.get(b"k").await.unwrap().as_deref(), after, "{case}");
                let current = there.map(<[u8]>::to_vec);
                let wanted =
                    if there == expected { CasOutcome::Swapped } else { CasOutcome::Mismatch { current } };
                assert!(outcome == wanted, "{case}: {outcome:?}");
            }
        }
    }
    backend.delete(b"k").await.unwrap();
}

/// `get_and_delete` returns the value once.
pub async fn get_and_delete_returns_what_it_removes(backend: &dyn StateBackend) {
    assert_eq!(backend.get_and_delete(b"k").await.unwrap(), None);
    backend.put(b"k", b"").await.unwrap();
    assert_eq!(backend.get_and_delete(b"k").await.unwrap(), Some(Vec::new()));
    assert_eq!(backend.get_and_delete(b"k").await.unwrap(), None);
}

/// Counters read as text, and text counts.
pub async fn increments_are_decimal_text(backend: &dyn StateBackend) {
    assert_eq!(backend.increment(b"n", 5).await.unwrap(), 5);
    assert_eq!(backend.increment(b"n", -7).await.unwrap(), -2);
    assert_eq!(backend.get(b"n").await.unwrap().as_deref(), Some(&b"-2"[..]));
    assert_eq!(backend.increment(b"n", 0).await.unwrap(), -2);
    backend.put(b"n", b"41").await.unwrap();
    assert_eq!(backend.increment(b"n", 1).await.unwrap(), 42);
    assert_eq!(backend.increment(b"min", i64::MIN).await.unwrap(), i64::MIN);
    assert_eq!(backend.increment(b"min", i64::MAX).await.unwrap(), -1);
    backend.batch_delete(&[b"n", b"min"]).await;
}

/// What is no integer to the letter is `WrongType`, and stays as it is.
pub async fn increments_refuse_what_is_no_integer(backend: &dyn StateBackend) {
    let values: [&[u8]; 16] = [
        b"",
        b"-",
        b"-0",
        b"+1",
        b"01",
        b"00",
        b"-01",
        b" 1",
        b"1 ",
        b"1\n",
        b"1.0",
        b"1e3",
        b"0x1",
        b"one",
        b"9223372036854775808",
        b"\xff",
    ];
    for value in values {
        backend.put(b"n", value).await.unwrap();
        assert_kind(backend.increment(b"n", 1).await, ErrorKind::WrongType);
        assert_eq!(backend.get(b"n").await.unwrap().as_deref(), Some(value), "the value changed");
    }
    backend.delete(b"n").await.unwrap();
}

/// A sum beyond 64 bits is `OutOfRange`, and the value stays.
pub async fn increments_refuse_to_overflow(backend: &dyn StateBackend) {
    for (start, delta) in [(i64::MAX, 1), (i64::MIN, -1), (1, i64::MAX), (-1, i64::MIN)] {
        backend.put(b"n", start.to_string().as_bytes()).await.unwrap();
        assert_kind(backend.increment(b"n", delta).await, ErrorKind::OutOfRange);
        let after = backend.get(b"n").await.unwrap();
        assert_eq!(after, Some(start.to_string().into_bytes()), "the value changed");
    }
    backend.delete(b"n").await.unwrap();
}

/// Of 64 tasks that put if absent exactly one succeeds, and its value is the one that stays.
pub async fn one_of_many_puts_if_absent_wins(backend: &Arc<dyn StateBackend>) {
    let won = race(backend, |backend, task| async move {
        backend.put_if_absent(b"k", task.to_string().as_bytes(), Ttl::Default).await.unwrap()
    })
    .await;
    let winners: Vec<usize> = (0..TASKS).filter(|&task| won[task]).collect();
    assert_eq!(winners.len(), 1, "winners: {winners:?}");
    let value = backend.get_and_delete(b"k").await.unwrap();
    assert_eq!(value, Some(winners[0].to_string().into_bytes()));
}

/// Of 64 tasks that get and delete exactly one gets the value.
pub async fn one_of_many_takers_gets_the_value(backend: &Arc<dyn StateBackend>) {
    backend.put(b"k", b"v").await.unwrap();
    let taken =
        race(backend, |backend, _task| async move { backend.get_and_delete(b"k").await.unwrap() }).await;
    assert_eq!(taken.iter().flatten().count(), 1);
}

/// 64 tasks count to 50 by compare-and-swap on one key, and the sum is 3,200.
pub async fn concurrent_swaps_lose_no_update(backend: &Arc<dyn StateBackend>) {
    race(backend, |backend, _task| async move {
        for _ in 0..ROUNDS {
            add_one_by_swap(&*backend).await;
        }
    })
    .await;
    let value = backend.get_and_delete(b"n").await.unwrap();
    assert_eq!(value, Some((TASKS * ROUNDS).to_string().into_bytes()));
}

/// 64 tasks increment one key 50 times, and the sum is 3,200.
pub async fn concurrent_increments_lose_nothing(backend: &Arc<dyn StateBackend>) {
    race(backend, |backend, _task| async move {
        for _ in 0..ROUNDS {
            backend.increment(b"n", 1).await.unwrap();
        }
    })
    .await;
    assert_eq!(backend.increment(b"n", 0).await.unwrap(), (TASKS * ROUNDS) as i64);
    backend.delete(b"n").await.unwrap();
}

// Written out rather than done by `update`, whose number of tries is bounded. Losers wait a moment, longer the more
// often they lost: 64 in lock-step would need 64 tries for each success.
async fn add_one_by_swap(backend: &dyn StateBackend) {
    let mut current = backend.get(b"n").await.unwrap();
    for lost in 0_u64.. {
        let number: u64 = current.as_deref().map_or(0, |text| String::from_utf8_lossy(text).parse().unwrap());
        let next = (number + 1).to_string();
        match backend.compare_and_swap(b"n", current.as_deref(), Some(next.as_bytes())).await.unwrap() {
            CasOutcome::Swapped => return,
            CasOutcome::Mismatch { current: newer } => current = newer,
        }
        let longest = 4 * lost.min(8);
        if longest > 0 {
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..longest))).await;
            current = backend.get(b"n").await.unwrap();
        }
    }
}

/// Runs `task` in 64 tasks that start together, and returns their results in order.
async fn race<T, F>(
    backend: &Arc<dyn StateBackend>,
    task: impl Fn(Arc<dyn StateBackend>, usize) -> F,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(tokio::sync::Barrier::new(TASKS));
    let mut tasks = Vec::with_capacity(TASKS);
    for n in 0..TASKS {
        let (start, run) = (Arc::clone(&start), task(Arc::clone(backend), n));
        tasks.push(tokio::spawn(async move {
            start.wait().await;
            run.await
        }));
    }
    let mut results = Vec::with_capacity(TASKS);
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}
