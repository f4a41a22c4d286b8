//! What an observer hears of a lock, and that it hears its kind each time.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use redlock::{
    ErrorKind, Fault, Guard, Leadership, LockConfig, LockKind, LockManager, LockOptions, Observer, Outcome,
    Result,
};
use tokio::time::sleep;

use crate::{SECOND, shelf::Shelf};

/// Renewed after three seconds.
const TTL: Duration = Duration::from_secs(9);

const KINDS: [LockKind; 6] = [
    LockKind::Mutex,
    LockKind::Read,
    LockKind::Write,
    LockKind::Semaphore,
    LockKind::Multi,
    LockKind::Leader,
];

/// Notes what is told of locks.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<(LockKind, &'static str)>>>);

impl Observer for Diary {
    fn acquired(&self, kind: LockKind, _: Duration, _: u32) {
        self.note(kind, "acquired");
    }
    fn failed(&self, kind: LockKind, error: ErrorKind, _: Duration, _: u32) {
        assert_eq!(error, ErrorKind::WrongType);
        self.note(kind, "failed");
    }
    fn released(&self, kind: LockKind, _: Duration, outcome: Outcome) {
        assert_eq!(outcome, Outcome::Released);
        self.note(kind, "released");
    }
    fn lost(&self, kind: LockKind, _: Duration) {
        self.note(kind, "lost");
    }
    fn renewed(&self, kind: LockKind, confirmed: bool) {
        self.note(kind, if confirmed { "renewed" } else { "not renewed" });
    }
}

impl Diary {
    fn note(&self, kind: LockKind, what: &'static str) {
        self.0.lock().push((kind, what));
    }

    /// Since the last call it was told this, all of it of one kind.
    fn assert_told(&self, kind: LockKind, what: &[&'static str]) {
        let told = std::mem::take(&mut *self.0.lock());
        let expected: Vec<_> = what.iter().map(|what| (kind, *what)).collect();
        assert_eq!(told, expected);
    }
}

/// A lock of any kind.
enum Held {
    Guard(Guard),
    Office(Leadership),
}

impl Held {
    async fn of(kind: LockKind, manager: &LockManager) -> Result<Self> {
        let options = LockOptions::ttl(TTL);
        let guard = match kind {
            LockKind::Mutex => manager.acquire("k", options).await,
            LockKind::Read => manager.read("k", options).await,
            LockKind::Write => manager.write("k", options).await,
            LockKind::Semaphore => manager.semaphore("k", 2)?.acquire(options).await,
            LockKind::Multi => manager.acquire_all(&["k", "l"], options).await,
            LockKind::Leader => return manager.election("k", TTL)?.campaign().await.map(Self::Office),
            other => panic!("no test for {other:?}"),
        };
        guard.map(Self::Guard)
    }

    async fn release(self) -> Outcome {
        match self {
            Self::Guard(guard) => guard.release().await,
            Self::Office(office) => office.resign().await,
        }
    }

    async fn lost(&self) {
        match self {
            Self::Guard(guard) => guard.lost().await,
            Self::Office(office) => office.lost().await,
        }
    }
}

async fn observed(shelves: &[Shelf]) -> (LockManager, Diary) {
    let diary = Diary::default();
    let builder = LockManager::builder(LockConfig::default()).observer(diary.clone());
    (builder.quorum(shelves.iter().cloned()).await.unwrap(), diary)
}

#[tokio::test(start_paused = true)]
async fn the_kind_is_told_when_a_lock_is_acquired_renewed_and_released() {
    let (manager, diary) = observed(&Shelf::row(3)).await;
    for kind in KINDS {
        let held = Held::of(kind, &manager).await.unwrap();
        sleep(4 * SECOND).await;
        held.release().await;
        diary.assert_told(kind, &["acquired", "renewed", "released"]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_kind_is_told_when_a_lock_is_lost() {
    let shelves = Shelf::row(3);
    let (manager, diary) = observed(&shelves).await;
    for kind in KINDS {
        let held = Held::of(kind, &manager).await.unwrap();
        shelves.iter().for_each(|shelf| shelf.change(|state| state.holder = None));
        held.lost().await;
        diary.assert_told(kind, &["acquired", "not renewed", "lost"]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_kind_is_told_when_a_lock_cannot_be_had() {
    let shelves = Shelf::row(3);
    let (manager, diary) = observed(&shelves).await;
    shelves.iter().for_each(|shelf| shelf.change(|state| state.refusal = Some(Fault::WrongType)));
    for kind in KINDS {
        assert!(Held::of(kind, &manager).await.is_err());
        diary.assert_told(kind, &["failed"]);
    }
}

#[tokio::test(start_paused = true)]
async fn work_under_a_lock_and_acquiring_with_other_arguments_are_a_mutex() {
    let (manager, diary) = observed(&Shelf::row(3)).await;
    manager.with_lock("k", TTL, async |_| ()).await.unwrap();
    manager.try_acquire("k", LockOptions::ttl(TTL)).await.unwrap().release().await;
    manager.acquire_timeout("k", SECOND).await.unwrap().release().await;
    diary.assert_told(LockKind::Mutex, &["acquired", "released"].repeat(3));
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_resumed_is_of_the_kind_that_its_token_shows() {
    let (manager, diary) = observed(&Shelf::row(3)).await;
    for kind in KINDS {
        let Held::Guard(guard) = Held::of(kind, &manager).await.unwrap() else { continue };
        diary.assert_told(kind, &["acquired"]);
        let resumed = manager.resume(&guard.detach(), LockOptions::ttl(TTL)).await.unwrap();
        sleep(4 * SECOND).await;
        resumed.release().await;
        let shown = if kind == LockKind::Write { LockKind::Mutex } else { kind };
        diary.assert_told(shown, &["renewed", "released"]);
    }
}

#[test]
fn names_are_words_in_lower_case() {
    let names = KINDS.map(LockKind::name);
    assert_eq!(names, ["mutex", "read", "write", "semaphore", "multi", "leader"]);
}
