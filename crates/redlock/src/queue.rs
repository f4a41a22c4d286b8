//! Waiting in the queue of a single authority.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio::time::Instant;

use crate::{
    Claim, Error, ErrorKind, Fault, NodeVerdict, Operation, Place, Result, Vote,
    acquire::Backoff,
    hold::{Hold, Mark},
    manager::Core,
    quorum,
    subscriber::Ticket,
    vote::{Grant, verdict_of},
};

/// Waits for a turn until `deadline`. Every look at the server is a heartbeat too; between two looks the waiter
/// sleeps until its process is told of its turn, the holder's time is over, or the next heartbeat is due.
pub(crate) async fn wait_in_line(
    core: &Arc<Core>,
    claim: Claim,
    priority: i8,
    deadline: Option<Instant>,
    attempts: &mut u32,
) -> Result<Grant> {
    let hold = Hold::new(core, claim);
    let ticket = core.wakeups.as_ref().map(|wakeups| wakeups.register(&hold.claim.id));
    let mut place = Place {
        priority,
        patience: core.config.waiter_timeout,
        claim: core.config.claim_timeout,
        channel: core.wakeups.as_ref().map_or_else(String::new, |wakeups| wakeups.channel().to_owned()),
        score: None,
    };
    let mut backoff = Backoff::new(&core.config);
    loop {
        *attempts += 1;
        let until = core.clock.now().after(quorum::validity(hold.claim.ttl));
        let answer = look(&hold, &place).await;
        hold.ballots.record(0, Mark::of(&answer));
        if let Ok(Vote::Granted { token }) = answer
            && core.clock.now() < until
        {
            return Ok(Grant { hold, token, until });
        }
        if let Ok(Vote::Waiting { score, .. }) = &answer {
            place.score = Some(score.clone());
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) || is_final(&answer) {
            return Err(refusal(core, &answer));
        }
        let nap = nap(core, &answer, &mut backoff);
        let left = deadline.map_or(nap, |deadline| deadline.saturating_duration_since(Instant::now()));
        sleep(nap.min(left), ticket.as_ref()).await;
    }
}

async fn look(hold: &Hold, place: &Place) -> Result<Vote, Fault> {
    let core = &hold.core;
    let timeout = core.request_timeout(hold.claim.ttl);
    let mut answers = core.members.ask(
        Operation::Enqueue,
        timeout,
        |_| true,
        |index, node| {
            let (claim, place, members) = (Arc::clone(&hold.claim), place.clone(), Arc::clone(&core.members));
            async move {
                members.admit(index).await?;
                node.enqueue(&claim, &place).await
            }
        },
    );
    answers.next().await.map_or(Err(Fault::Timeout), |(_, answer)| answer)
}

/// How long to sleep before the next look. With a live subscription a look is only a heartbeat; without one it is
/// also the way to hear of the turn.
fn nap(core: &Core, answer: &Result<Vote, Fault>, backoff: &mut Backoff) -> Duration {
    let heartbeat = core.config.waiter_timeout / 3;
    let live = core.wakeups.as_ref().is_some_and(|wakeups| wakeups.live());
    match answer {
        Ok(Vote::Waiting { remaining, .. }) if live => {
            let expiry = *remaining + Duration::from_millis(2);
            if remaining.is_zero() { heartbeat } else { heartbeat.min(expiry) }
        }
        _ => backoff.next(None).min(heartbeat),
    }
}

async fn sleep(nap: Duration, ticket: Option<&Ticket>) {
    let Some(ticket) = ticket else { return tokio::time::sleep(nap).await };
    tokio::select! {
        () = ticket.called() => {}
        () = tokio::time::sleep(nap) => {}
    }
}

fn is_final(answer: &Result<Vote, Fault>) -> bool {
    matches!(answer, Err(Fault::WrongType | Fault::Unfit(_)))
}

fn refusal(core: &Core, answer: &Result<Vote, Fault>) -> Error {
    let kind = match answer {
        Ok(Vote::Granted { .. }) => ErrorKind::TooLate,
        Ok(_) => ErrorKind::Held,
        Err(Fault::WrongType) => ErrorKind::WrongType,
        Err(Fault::Unfit(_)) => ErrorKind::InvalidConfig,
        Err(_) => ErrorKind::Unavailable,
    };
    let verdict = NodeVerdict { node: core.members.label(0).to_owned(), verdict: verdict_of(answer) };
    Error::new(kind, "acquire").with_verdicts(vec![verdict])
}
