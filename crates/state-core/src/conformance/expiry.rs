//! TTLs in milliseconds: reported, kept, replaced, and at their end seen alike by every operation.

use std::time::Duration;

use futures_util::stream::{StreamExt, TryStreamExt};
use tokio::time::{Instant, sleep};

use crate::{
    CasOutcome, Condition, Expiry, PutItem, PutOptions, ScanOptions, StateBackend, StateBackendExt,
    StateResult, Ttl,
};

const LONG: Duration = Duration::from_secs(1_000);

// A backend's clock is another one than ours, and a loaded machine answers late.
const LATENESS: Duration = Duration::from_secs(5);

/// After 400 ms, and after 1.5 s, a key is gone for all operations, and not before for any.
pub async fn expired_keys_are_absent_everywhere(backend: &dyn StateBackend) {
    for ttl in [Duration::from_millis(400), Duration::from_millis(1_500)] {
        backend.put(b"e:stays", b"v").await.unwrap();
        let start = Instant::now();
        backend.put_with_ttl(b"e:goes", b"v", ttl).await.unwrap();
        // A machine that stalls for the whole TTL may lose the key before the first look at it.
        let seen = sees(backend).await.unwrap();
        assert!(seen == [true; 6] || start.elapsed() >= ttl, "expired early: {seen:?}");
        await_absence(backend, b"e:goes", start, ttl).await;
        assert_eq!(sees(backend).await.unwrap(), [false; 6], "get, contains, ttl, list, scan, entries");
        assert_eq!(backend.count().await.unwrap(), 1);
        assert_eq!(backend.batch_get(&[b"e:goes"]).await.remove(0).unwrap(), None);
        assert!(!backend.expire(b"e:goes", LONG).await.unwrap());
        assert!(!backend.persist(b"e:goes").await.unwrap());
        let if_present = PutOptions::default().with_condition(Condition::IfPresent);
        assert!(!backend.put_with(b"e:goes", b"v", if_present).await.unwrap());
        assert_eq!(backend.get_and_delete(b"e:goes").await.unwrap(), None);
        backend.delete(b"e:stays").await.unwrap();
    }
}

/// A thousand keys that expire together are gone together, for whichever operation looks first.
pub async fn keys_that_expire_together_go_together(backend: &dyn StateBackend) {
    let ttl = Duration::from_millis(100);
    let keys: Vec<Vec<u8>> = (0..1_000).map(|n| format!("e:{n}").into_bytes()).collect();
    let refs: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let items: Vec<_> = refs.iter().map(|key| PutItem::new(key, b"1").with_ttl(Ttl::After(ttl))).collect();
    for round in 0..6 {
        backend.batch_put(&items).await.into_iter().for_each(|result| result.unwrap());
        sleep(ttl * 2).await;
        let seen = match round {
            0 => backend.count().await.unwrap(),
            1 => backend.list_keys(b"").await.unwrap().len(),
            2 => backend.scan_entries(b"", ScanOptions::default()).count().await,
            3 => backend
                .batch_get(&refs)
                .await
                .into_iter()
                .filter(|result| !matches!(result, Ok(None)))
                .count(),
            4 => {
                let mut taken = 0;
                for key in &refs {
                    taken += usize::from(backend.get_and_delete(key).await.unwrap().is_some());
                }
                taken
            }
            _ => {
                let stored = backend.batch_put_if_absent(&items).await;
                stored.into_iter().filter(|result| !matches!(result, Ok(true))).count()
            }
        };
        assert_eq!(seen, 0, "expired keys seen in round {round}");
    }
    backend.clear().await.unwrap();
}

/// `ttl` tells absent, staying and expiring keys apart; `expire` and `persist` change one into the other.
pub async fn expiry_is_reported_and_changed(backend: &dyn StateBackend) {
    assert_eq!(backend.ttl(b"k").await.unwrap(), Expiry::Absent);
    assert!(!backend.expire(b"k", LONG).await.unwrap());
    assert!(!backend.persist(b"k").await.unwrap());
    backend.put_with(b"k", b"v", PutOptions::default().with_ttl(Ttl::Never)).await.unwrap();
    assert_eq!(backend.ttl(b"k").await.unwrap(), Expiry::Never);
    assert!(!backend.persist(b"k").await.unwrap(), "there was no expiry to remove");
    assert!(backend.expire(b"k", LONG).await.unwrap());
    assert_about(backend, b"k", LONG).await;
    assert!(backend.expire(b"k", LONG * 2).await.unwrap());
    assert_about(backend, b"k", LONG * 2).await;
    assert!(backend.persist(b"k").await.unwrap());
    assert_eq!(backend.ttl(b"k").await.unwrap(), Expiry::Never);
    let start = Instant::now();
    assert!(backend.expire(b"k", Duration::from_micros(50)).await.unwrap(), "less than 1 ms is rounded up");
    await_absence(backend, b"k", start, Duration::from_micros(50)).await;
}

/// A put sets the TTL anew: its own, none, the default, or the one there was.
pub async fn replacing_a_value_replaces_its_ttl(backend: &dyn StateBackend) {
    backend.put(b"default", b"v").await.unwrap();
    let default = backend.ttl(b"default").await.unwrap();
    for (ttl, after) in [(Ttl::Never, Some(Expiry::Never)), (Ttl::After(LONG * 3), None), (Ttl::Keep, None)] {
        backend.put_with_ttl(b"k", b"v", LONG * 3).await.unwrap();
        backend.put_with(b"k", b"w", PutOptions::default().with_ttl(ttl)).await.unwrap();
        match after {
            Some(expiry) => assert_eq!(backend.ttl(b"k").await.unwrap(), expiry, "{ttl:?}"),
            None => assert_about(backend, b"k", LONG * 3).await,
        }
    }
    backend.put_with_ttl(b"k", b"v", LONG * 3).await.unwrap();
    backend.put(b"k", b"w").await.unwrap();
    assert_alike(backend.ttl(b"k").await.unwrap(), default, "put has to set the default TTL");
    backend.put_with(b"k", b"w", PutOptions::default().with_ttl(Ttl::Never)).await.unwrap();
    backend.put_with(b"k", b"w", PutOptions::default().with_ttl(Ttl::Keep)).await.unwrap();
    assert_eq!(backend.ttl(b"k").await.unwrap(), Expiry::Never, "keep keeps having none");
    assert!(!backend.put_if_absent(b"k", b"x", Ttl::After(LONG)).await.unwrap());
    assert_eq!(backend.ttl(b"k").await.unwrap(), Expiry::Never, "a refused put sets no TTL");
    backend.batch_delete(&[b"k", b"default"]).await;
}

/// Increments and swaps keep the TTL; a key that they create gets the default one.
pub async fn changing_a_value_keeps_its_ttl(backend: &dyn StateBackend) {
    backend.put_with_ttl(b"n", b"1", LONG).await.unwrap();
    backend.increment(b"n", 1).await.unwrap();
    assert_about(backend, b"n", LONG).await;
    assert!(backend.compare_and_swap(b"n", Some(b"2"), Some(b"3")).await.unwrap().is_swapped());
    assert_about(backend, b"n", LONG).await;
    let _ = backend.compare_and_swap(b"n", Some(b"other"), Some(b"4")).await.unwrap();
    assert_about(backend, b"n", LONG).await;
    backend.delete(b"n").await.unwrap();

    backend.put(b"default", b"v").await.unwrap();
    let default = backend.ttl(b"default").await.unwrap();
    backend.increment(b"n", 1).await.unwrap();
    assert_alike(backend.ttl(b"n").await.unwrap(), default, "increment");
    assert!(backend.compare_and_swap(b"c", None, Some(b"v")).await.unwrap().is_swapped());
    assert_alike(backend.ttl(b"c").await.unwrap(), default, "compare_and_swap");
    backend.put_with(b"k", b"v", PutOptions::default().with_ttl(Ttl::Keep)).await.unwrap();
    assert_alike(backend.ttl(b"k").await.unwrap(), default, "put with Ttl::Keep");
    backend.batch_delete(&[b"n", b"c", b"k", b"default"]).await;
}

/// An expired value is no value: counters begin at zero, and "if absent" holds.
pub async fn expired_keys_start_anew(backend: &dyn StateBackend) {
    let ttl = Duration::from_millis(30);
    for key in [b"n", b"a", b"c"] {
        let start = Instant::now();
        backend.put_with_ttl(key, b"41", ttl).await.unwrap();
        await_absence(backend, key, start, ttl).await;
    }
    assert_eq!(backend.increment(b"n", 1).await.unwrap(), 1);
    assert!(backend.put_if_absent(b"a", b"new", Ttl::Never).await.unwrap());
    assert_eq!(backend.ttl(b"a").await.unwrap(), Expiry::Never);
    let outcome = backend.compare_and_swap(b"c", Some(b"41"), Some(b"x")).await.unwrap();
    assert_eq!(outcome, CasOutcome::Mismatch { current: None });
    assert!(backend.compare_and_swap(b"c", None, Some(b"x")).await.unwrap().is_swapped());
    backend.batch_delete(&[b"n", b"a", b"c"]).await;
}

/// Asserts that `key` has at most `ttl` left, and no less than a slow machine explains.
pub(super) async fn assert_about(backend: &dyn StateBackend, key: &[u8], ttl: Duration) {
    let expiry = backend.ttl(key).await.unwrap();
    let Expiry::After(left) = expiry else { panic!("expected {ttl:?} left, got {expiry:?}") };
    assert!(left <= ttl && left + LATENESS * 6 > ttl, "expected about {ttl:?} left, got {left:?}");
}

fn assert_alike(left: Expiry, right: Expiry, what: &str) {
    let alike = std::mem::discriminant(&left) == std::mem::discriminant(&right);
    assert!(alike, "{what}: {left:?} against {right:?}");
}

/// Waits for `key` to expire, and asserts that it does so neither early nor more than 5 s late.
async fn await_absence(backend: &dyn StateBackend, key: &[u8], start: Instant, ttl: Duration) {
    while backend.contains(key).await.unwrap() {
        assert!(start.elapsed() < ttl + LATENESS, "still there {:?} after a TTL of {ttl:?}", start.elapsed());
        sleep(Duration::from_millis(5)).await;
    }
    // The backend's clock may tick in whole milliseconds.
    assert!(
        start.elapsed() + Duration::from_millis(2) >= ttl,
        "expired after {:?}, not {ttl:?}",
        start.elapsed()
    );
}

/// Whether get, contains, ttl, list, scan and scan of entries see the key that goes.
async fn sees(backend: &dyn StateBackend) -> StateResult<[bool; 6]> {
    let entries = backend.scan_entries(b"e:", ScanOptions::default()).try_collect::<Vec<_>>().await?;
    let scanned = backend.scan(b"e:", ScanOptions::default()).try_collect::<Vec<_>>().await?;
    Ok([
        backend.get(b"e:goes").await?.is_some(),
        backend.contains(b"e:goes").await?,
        backend.ttl(b"e:goes").await? != Expiry::Absent,
        backend.list_keys(b"e:").await?.iter().any(|key| key == b"e:goes"),
        scanned.iter().any(|key| key == b"e:goes"),
        entries.iter().any(|entry| entry.key == b"e:goes"),
    ])
}
