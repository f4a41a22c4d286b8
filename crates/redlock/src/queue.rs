//! Waiting in the queue of a single authority.
//!
//! A lock that is handed to a waiter belongs to it at once: the message has the token, and names the last look
//! that the server had seen. So the hand-off came after that look was sent, and the claim time counts from there.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    Claim, Error, ErrorKind, Fault, NodeVerdict, Operation, Place, Result, Vote,
    acquire::Backoff,
    clock::Moment,
    hold::{Hold, Mark},
    manager::Core,
    quorum,
    subscriber::HandOff,
    vote::{Grant, verdict_of},
    wakeups::Ticket,
};

/// Waits for a turn until `deadline`. Every look at the server is a heartbeat too; between two looks the waiter
/// sleeps until it is told of its turn, the holder's time is over, or the next heartbeat is due.
pub(crate) async fn wait_in_line(
    core: &Arc<Core>,
    claim: Claim,
    priority: i8,
    deadline: Option<Instant>,
    attempts: &mut u32,
) -> Result<Grant> {
    let hold = Hold::new(core, claim);
    let ticket =
        core.wakeups.as_ref().map(|wakeups| wakeups.register(&hold.claim.id, &hold.claim.resources[0]));
    let mut place = end_of_line(core, priority, ticket.as_ref());
    let mut backoff = Backoff::new(&core.config);
    // A look without an answer may arrive after all that follow it: from then on the release has to bury.
    let mut unheard = false;
    loop {
        *attempts += 1;
        place.look += 1;
        let asked = core.clock.now();
        let answer = look(&hold, &place).await;
        unheard |= Mark::of(&answer) == Mark::Unknown;
        hold.ballots.record(0, if unheard { Mark::Unknown } else { Mark::of(&answer) });
        let until = asked.after(quorum::validity(hold.claim.ttl));
        if let Ok(Vote::Granted { token }) = answer
            && core.clock.now() < until
        {
            return Ok(Grant { hold, token, until, confirmed: true });
        }
        if let Ok(Vote::Waiting { score, .. }) = &answer {
            place.score = Some(score.clone());
            if let Some(ticket) = &ticket {
                ticket.listen();
            }
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) || is_final(&answer) {
            return Err(refusal(core, &answer));
        }
        let is_live = ticket.as_ref().is_some_and(Ticket::is_live);
        let nap = nap(core, &answer, is_live, &mut backoff);
        let left = deadline.map_or(nap, |deadline| deadline.saturating_duration_since(Instant::now()));
        // A message about another look than the last is only a reason to look again.
        if let Some(HandOff { look, token }) = sleep(nap.min(left), ticket.as_ref()).await
            && look == place.look
            && let Some(until) = relied_on(&hold, asked)
        {
            return Ok(Grant { hold, token, until, confirmed: false });
        }
    }
}

/// Where a waiter stands before its first look.
fn end_of_line(core: &Core, priority: i8, ticket: Option<&Ticket>) -> Place {
    Place {
        priority,
        patience: core.config.waiter_timeout,
        claim: core.config.claim_timeout,
        channel: ticket.map_or_else(|| "".into(), |ticket| Arc::clone(ticket.channel())),
        look: 0,
        score: None,
    }
}

/// Until when a lock may be relied on that was handed over after a look sent at `asked`. `None` when so little of
/// that is left that the confirmation might come too late, and where the lock itself is to last no longer than the
/// claim.
fn relied_on(hold: &Hold, asked: Moment) -> Option<Moment> {
    let claim = hold.core.config.claim_timeout;
    let until = asked.after(quorum::validity(claim));
    (claim < hold.claim.ttl && until.since(hold.core.clock.now()) >= claim / 4).then_some(until)
}

async fn look(hold: &Hold, place: &Place) -> Result<Vote, Fault> {
    let core = &hold.core;
    let timeout = core.request_timeout(hold.claim.ttl);
    let question = async {
        core.members.admit(0).await?;
        core.members.only().enqueue(&hold.claim, place).await
    };
    core.members.ask_only(Operation::Enqueue, timeout, question).await
}

/// How long to sleep before the next look. With a live subscription a look is only a heartbeat; without one it is
/// also the way to hear of the turn.
fn nap(core: &Core, answer: &Result<Vote, Fault>, is_live: bool, backoff: &mut Backoff) -> Duration {
    let heartbeat = core.config.heartbeat();
    match answer {
        Ok(Vote::Waiting { remaining, .. }) if is_live => {
            let expiry = *remaining + Duration::from_millis(2);
            if remaining.is_zero() { heartbeat } else { heartbeat.min(expiry) }
        }
        _ => backoff.next(None).min(heartbeat),
    }
}

async fn sleep(nap: Duration, ticket: Option<&Ticket>) -> Option<HandOff> {
    let nap = tokio::time::sleep(nap);
    let Some(ticket) = ticket else {
        nap.await;
        return None;
    };
    tokio::select! {
        told = ticket.called() => told,
        () = nap => None,
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
