//! What a user of each kind of lock sees, on healthy servers.

use std::sync::Arc;

use redlock::{ErrorKind, Extension, LockManager, LockToken, Outcome, Verdict};

use crate::support::*;

/// Runs a check over one authority and over a quorum of three, with two managers; nothing may stay on the servers.
macro_rules! both {
    ($name:ident) => {
        mod $name {
            use crate::support::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn single_authority() {
                let server = forgetful().await;
                let managers = [single(&server, config()).await, single(&server, config()).await];
                check(&managers, &[server]).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn three_masters() {
                let servers = forgetful_masters(3).await;
                let managers = [quorum(&servers, config()).await, quorum(&servers, config()).await];
                check(&managers, &servers).await;
            }

            async fn check(
                [ours, theirs]: &[redlock::LockManager; 2],
                servers: &[integration_tests::Server],
            ) {
                super::$name(ours.clone(), theirs.clone()).await;
                theirs.shutdown().await;
                // A release returns with a majority; the others follow, long before the times to live are over.
                for server in servers {
                    integration_tests::eventually("nothing stays on the servers", 2 * SECOND, async || {
                        let keys = lock_keys(server).await;
                        if keys.is_empty() { Ok(()) } else { Err(format!("{keys:?}")) }
                    })
                    .await;
                }
            }
        }
    };
}

both!(a_lock_has_one_holder_and_rising_tokens);
async fn a_lock_has_one_holder_and_rising_tokens(ours: LockManager, theirs: LockManager) {
    let guard = ours.acquire("orders", plain(5 * SECOND)).await.unwrap();
    assert!(guard.is_valid() && guard.validity() > 4 * SECOND);
    let refused = theirs.try_acquire("orders", plain(5 * SECOND)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Held, "{refused}");
    assert!(
        refused
            .verdicts()
            .iter()
            .any(|v| matches!(&v.verdict, Verdict::Held { owner, .. } if owner.len() == 8))
    );
    let first = guard.token();
    assert_eq!(guard.release().await, Outcome::Released);
    let guard = theirs.try_acquire("orders", plain(5 * SECOND)).await.unwrap();
    assert!(guard.token() > first);
    drop(guard);
    theirs.shutdown().await;
    assert_eq!(theirs.acquire("orders", plain(5 * SECOND)).await.unwrap_err().kind(), ErrorKind::Closed);
}

both!(readers_share_and_a_waiting_writer_keeps_new_ones_out);
async fn readers_share_and_a_waiting_writer_keeps_new_ones_out(ours: LockManager, theirs: LockManager) {
    let (first, second) = (
        ours.read("r", plain(5 * SECOND)).await.unwrap(),
        theirs.read("r", plain(5 * SECOND)).await.unwrap(),
    );
    let writer = tokio::spawn({
        let theirs = theirs.clone();
        async move { theirs.acquire("r", plain(5 * SECOND)).await.unwrap() }
    });
    let once = plain(5 * SECOND).with_wait(Some(std::time::Duration::ZERO));
    integration_tests::eventually("new readers are refused", 10 * SECOND, async || {
        match ours.read("r", once).await {
            Ok(_) => Err("let in".into()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Held);
                Ok(())
            }
        }
    })
    .await;
    assert!(!writer.is_finished());
    for reader in [first, second] {
        assert_eq!(reader.release().await, Outcome::Released);
    }
    assert_eq!(writer.await.unwrap().release().await, Outcome::Released);
}

both!(a_semaphore_gives_its_permits_and_no_more);
async fn a_semaphore_gives_its_permits_and_no_more(ours: LockManager, theirs: LockManager) {
    let once = plain(5 * SECOND).with_wait(Some(std::time::Duration::ZERO));
    let (here, there) = (ours.semaphore("s", 2).unwrap(), theirs.semaphore("s", 2).unwrap());
    let (first, second) = (here.acquire(once).await.unwrap(), there.acquire(once).await.unwrap());
    assert_eq!(here.acquire(once).await.unwrap_err().kind(), ErrorKind::Held);
    assert_eq!(first.release().await, Outcome::Released);
    let third = there.acquire(plain(5 * SECOND)).await.unwrap();
    assert_eq!(third.release().await, Outcome::Released);
    assert_eq!(second.release().await, Outcome::Released);
    assert_eq!(ours.semaphore("s", 0).unwrap_err().kind(), ErrorKind::InvalidInput);
}

both!(several_locks_are_had_all_or_none);
async fn several_locks_are_had_all_or_none(ours: LockManager, theirs: LockManager) {
    let once = plain(5 * SECOND).with_wait(Some(std::time::Duration::ZERO));
    let single = ours.acquire("b", once).await.unwrap();
    assert_eq!(theirs.acquire_all(&["a", "b"], once).await.unwrap_err().kind(), ErrorKind::Held);
    let free = ours.acquire("a", plain(5 * SECOND)).await.unwrap();
    let highest = free.token().max(single.token());
    free.release().await;
    single.release().await;
    let all = theirs.acquire_all(&["a", "b"], plain(5 * SECOND)).await.unwrap();
    assert!(all.token() > highest);
    assert_eq!(ours.try_acquire("a", once).await.unwrap_err().kind(), ErrorKind::Held);
    assert_eq!(all.release().await, Outcome::Released);
    for names in [&[][..], &["a", "a"]] {
        assert_eq!(ours.acquire_all(names, once).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

both!(a_lock_is_renewed_until_its_longest_hold);
async fn a_lock_is_renewed_until_its_longest_hold(ours: LockManager, theirs: LockManager) {
    let renewal = redlock::Renewal::UpTo { max_hold: 3 * SECOND };
    let begun = std::time::Instant::now();
    let guard = ours.acquire("k", plain(SECOND).with_renewal(renewal)).await.unwrap();
    let taken = theirs.acquire("k", plain(SECOND)).await.unwrap();
    let held = begun.elapsed();
    assert!(!guard.is_valid() && taken.token() > guard.token());
    assert!(held > ms(2000) && held < 13 * SECOND, "held for {held:?}");
    guard.lost().await;
    assert_eq!(guard.check().unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!(guard.extend(SECOND).await.unwrap(), Extension::Lost);
    assert_eq!(guard.release().await, Outcome::Stolen);
    assert_eq!(taken.release().await, Outcome::Released);
}

both!(an_expired_lock_is_released_as_expired);
async fn an_expired_lock_is_released_as_expired(ours: LockManager, _: LockManager) {
    let guard = ours.acquire("k", plain(ms(300))).await.unwrap();
    guard.lost().await;
    tokio::time::sleep(ms(50)).await;
    assert_eq!(guard.release().await, Outcome::AlreadyExpired);
}

both!(a_detached_lock_is_taken_over_by_its_token);
async fn a_detached_lock_is_taken_over_by_its_token(ours: LockManager, theirs: LockManager) {
    let guard = ours.acquire("k", plain(5 * SECOND)).await.unwrap();
    let (fencing, text) = (guard.token(), guard.detach().encode());
    assert_eq!(theirs.holders("k").await.unwrap().len(), 1);
    let token = LockToken::decode(&text).unwrap();
    let guard = theirs.resume(&token, plain(5 * SECOND)).await.unwrap();
    assert_eq!(guard.token(), fencing);
    assert_eq!(guard.release().await, Outcome::Released);
    assert_eq!(theirs.holders("k").await.unwrap(), []);
    assert_eq!(ours.resume(&token, plain(5 * SECOND)).await.unwrap_err().kind(), ErrorKind::Lost);
}

both!(work_under_a_lock_is_stopped_when_it_is_lost);
async fn work_under_a_lock_is_stopped_when_it_is_lost(ours: LockManager, theirs: LockManager) {
    let done = ours.with_lock("k", SECOND, |lease| async move { lease.token() }).await.unwrap();
    let token = Arc::new(std::sync::Mutex::new(None));
    let seen = Arc::clone(&token);
    let error = ours.with_lock("k", SECOND, |lease| async move {
        *seen.lock().unwrap() = Some(lease.token());
        // Another process deletes everything; the lock is lost at the next renewal.
        std::future::pending::<()>().await
    });
    let flush = async {
        integration_tests::eventually("held", 10 * SECOND, async || {
            token.lock().unwrap().ok_or_else(String::new)
        })
        .await;
        let holder = theirs.holders("k").await.unwrap();
        assert_eq!(holder.len(), 1);
    };
    let cut = tokio::time::timeout(3 * SECOND, async { tokio::join!(error, flush) }).await;
    assert!(cut.is_err(), "renewal keeps the lock");
    assert!(token.lock().unwrap().unwrap() > done);
    // The future that was dropped releases in the background.
    assert!(theirs.acquire("k", plain(SECOND)).await.unwrap().token() > done);
}

/// The script that the README gives for checking a token at a Redis key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_script_of_the_readme_refuses_a_holder_that_was_overtaken() {
    let readme = include_str!("../../../crates/redlock/README.md");
    let script = readme.split("```lua\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let server = forgetful().await;
    let locks = single(&server, config()).await;
    let first = locks.acquire("k", plain(ms(300))).await.unwrap();
    first.lost().await;
    let second = locks.acquire("k", plain(5 * SECOND)).await.unwrap();
    let write = async |token: u64, value: &str| -> i64 {
        let mut eval = redis::cmd("EVAL");
        eval.arg(script).arg(2).arg("{d}data").arg("{d}fence").arg(token).arg(value);
        server.command(&eval).await
    };
    assert_eq!(write(first.token(), "first").await, 1, "nobody has written with a higher token yet");
    assert_eq!(write(second.token(), "second").await, 1);
    assert_eq!(write(first.token(), "late").await, 0);
    assert_eq!(write(second.token(), "again").await, 1);
    assert_eq!(server.command::<String>(redis::cmd("GET").arg("{d}data")).await, "again");
}
