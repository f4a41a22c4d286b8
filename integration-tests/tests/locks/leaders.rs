//! Leader election: one leader, terms that rise, step-down when the servers are gone.

use std::sync::Arc;

use futures_util::StreamExt;
use redlock::Outcome;
use tokio::time::timeout;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_resigns_and_the_next_is_observed() {
    let servers = forgetful_masters(3).await;
    let ours = quorum(&servers, config().with_owner("ours")).await.election("office", SECOND).unwrap();
    let theirs = quorum(&servers, config().with_owner("theirs")).await.election("office", SECOND).unwrap();
    let mut seen = std::pin::pin!(theirs.observe());
    assert_eq!(seen.next().await.unwrap().unwrap(), None);
    let first = ours.campaign().await.unwrap();
    assert_eq!(seen.next().await.unwrap().unwrap().as_deref(), Some("ours"));
    let candidate = tokio::spawn({
        let theirs = theirs.clone();
        async move { theirs.campaign().await.unwrap() }
    });
    // Longer than the time to live: the leader renews.
    tokio::time::sleep(2 * SECOND).await;
    first.check().unwrap();
    assert!(!candidate.is_finished());
    let term = first.term();
    assert_eq!(first.resign().await, Outcome::Released);
    let second = candidate.await.unwrap();
    assert!(second.term() > term);
    let next = seen.next().await.unwrap().unwrap();
    assert!(next.is_none() || next.as_deref() == Some("theirs"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_servers_steps_down_and_leads_again() {
    let server = Arc::new(forgetful().await);
    let election = single(&server, config()).await.election("office", SECOND).unwrap();
    let mut terms = Vec::new();
    let last = election.lead(|lease| {
        terms.push(lease.token());
        let cut_off = terms.len() == 1;
        if cut_off {
            server.freeze();
            // Not by the work itself: it may be dropped at the loss before it has seen it.
            let (server, lost) = (Arc::clone(&server), lease.lost());
            tokio::spawn(async move {
                lost.await;
                server.thaw();
            });
        }
        async move {
            if cut_off {
                std::future::pending::<()>().await;
            }
            lease.token()
        }
    });
    let last = timeout(20 * SECOND, last).await.expect("a second term within 20 s").unwrap();
    assert!(terms.len() == 2 && terms[0] < terms[1] && terms[1] == last, "{terms:?}");
}
