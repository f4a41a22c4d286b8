//! Writes that count only once replicas have them: group commit with one `WAIT` a batch.
//!
//! `WAIT` speaks for the writes of the connection it is sent on, and blocks that connection. So such writes have a
//! connection of their own, on which one batch is under way while the next one forms.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::classify::server_error;
use crate::config::Config;
use crate::error::{Class, Error, ErrorKind, Result};
use crate::handshake::Purpose;
use crate::link::Link;
use crate::queue::{Member, Queue, in_time};
use crate::reply;
use crate::request::Piped;
use crate::setup::Setup;
use crate::supervisor::Supervised;

/// Silence beyond the blocking time from which on the connection counts as stalled.
const MARGIN: Duration = Duration::from_secs(1);

/// When a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WriteConcern {
    /// When the master has answered. A failover may lose what it had not passed on yet.
    #[default]
    Fast,
    /// When so many replicas have confirmed it, too (`WAIT`); otherwise the write fails with
    /// [`ErrorKind::NotReplicated`](crate::ErrorKind::NotReplicated). Writes that come while one batch of them
    /// waits are committed together in the next one.
    ///
    /// This narrows the loss in a failover and does not exclude it: Redis may promote a replica that is not among
    /// those that confirmed.
    Wait {
        /// Replicas that have to confirm; at least 1.
        replicas: u32,
        /// How long to wait for them; at least 1 ms.
        timeout: Duration,
    },
}

/// One write under [`WriteConcern::Wait`].
pub(crate) struct Write {
    pub(crate) command: Cmd,
    /// Its slot is on the way to this node, which takes it for this once after an `ASKING`.
    pub(crate) asking: bool,
}

/// The connection of writes under [`WriteConcern::Wait`], and the loop that commits them in groups.
pub(crate) struct Committer {
    lane: Supervised,
    queue: Arc<Queue<Write>>,
    committing: AbortHandle,
}

impl Committer {
    /// `None` when writes are not to wait.
    pub(crate) fn start(setup: &Setup) -> Option<Self> {
        let WriteConcern::Wait { replicas, timeout } = setup.config.write_concern else { return None };
        let config = Arc::new(patient(&setup.config, timeout));
        let dialer = setup.dialer.sharing(Arc::clone(&config), Purpose::Any);
        let lane = Supervised::start(&setup.beside(config, dialer, Arc::clone(&setup.source)));
        let queue = Arc::new(Queue::new(setup.config.max_in_flight));
        let (link, waiting) = (Arc::clone(&lane.link), Arc::clone(&queue));
        let committing = tokio::spawn(async move {
            tokio::join!(commit_loop(&link, &waiting, replicas, timeout), waiting.keep_deadlines());
        });
        let committing = committing.abort_handle();
        Some(Self { lane, queue, committing })
    }

    pub(crate) async fn ready(&self, deadline: Instant) -> Result<()> {
        self.lane.ready(deadline).await
    }

    /// Sends a write with others, and answers when enough replicas have it.
    pub(crate) async fn write(&self, write: Write, bytes: usize, deadline: Instant) -> Result<Value> {
        let link = &self.lane.link;
        link.on_current(|_| ())?;
        let _share = link.charge(bytes, deadline).await?;
        self.queue.push(write, deadline).await
    }

    pub(crate) async fn stop(&self) {
        self.lane.stop().await;
        self.committing.abort();
        self.queue.close();
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.committing.abort();
    }
}

/// The server is silent while `WAIT` blocks, which must not pass for a stall.
fn patient(config: &Config, timeout: Duration) -> Config {
    Config { stall_timeout: config.stall_timeout.max(timeout + MARGIN), ..config.clone() }
}

async fn commit_loop(link: &Link, queue: &Queue<Write>, replicas: u32, timeout: Duration) {
    let mut members = Vec::new();
    loop {
        let deadline = queue.next(&mut members, link.setup.config.batching.max_members).await;
        let mut batch = Pipeline::with_capacity(members.len() + 1);
        for member in &mut members {
            if member.payload.asking {
                batch.cmd("ASKING");
            }
            batch.add_command(std::mem::take(&mut member.payload.command));
        }
        let left = deadline.saturating_duration_since(Instant::now()).min(timeout);
        // Zero would mean for ever.
        batch.cmd("WAIT").arg(replicas).arg(left.as_millis().max(1) as u64);
        let outcome = in_time(&members, link.send_charged(Piped::new(&batch), deadline)).await;
        let outcome = outcome.map(|replies| without_asking(&members, replies));
        match outcome.and_then(|replies| judge(replies, replicas)) {
            Ok((replies, None)) => hand_out(&mut members, Ok(replies)),
            Ok((replies, Some(unmet))) => hand_out_unmet(&mut members, replies, &unmet),
            Err(error) => hand_out(&mut members, Err(error)),
        }
    }
}

/// The replies to the writes and to `WAIT`; where it was not allowed to ask, that is the reply.
fn without_asking(members: &[Member<Write>], replies: Vec<Value>) -> Vec<Value> {
    let mut replies = replies.into_iter();
    let mut kept = Vec::with_capacity(members.len() + 1);
    for member in members {
        let asking = if member.payload.asking { replies.next() } else { None };
        let refused = asking.filter(|reply| matches!(reply, Value::ServerError(_)));
        let own = replies.next();
        kept.extend(refused.or(own));
    }
    kept.extend(replies);
    kept
}

/// The answers to the writes, and why they do not count, if so.
fn judge(mut replies: Vec<Value>, replicas: u32) -> Result<(Vec<Value>, Option<Error>)> {
    let unmet = match replies.pop() {
        Some(Value::Int(confirmed)) if confirmed >= i64::from(replicas) => None,
        Some(Value::Int(confirmed)) => Some(Error::new(
            ErrorKind::NotReplicated,
            Class::Ambiguous,
            format!("the master has the write, {confirmed} of {replicas} replicas confirmed it in time"),
        )),
        Some(Value::ServerError(error)) => Some(server_error(&error).made_ambiguous()),
        _ => return Err(reply::unexpected()),
    };
    Ok((replies, unmet))
}

fn hand_out(members: &mut Vec<Member<Write>>, outcome: Result<Vec<Value>>) {
    match outcome {
        Ok(values) if values.len() == members.len() => {
            for (member, value) in members.drain(..).zip(values) {
                member.answer(Ok(value));
            }
        }
        outcome => {
            let error = outcome.err().unwrap_or_else(reply::unexpected);
            for member in members.drain(..) {
                member.answer(Err(error.restated()));
            }
        }
    }
}

/// A write that the server refused keeps its own error.
fn hand_out_unmet(members: &mut Vec<Member<Write>>, replies: Vec<Value>, unmet: &Error) {
    for (member, reply) in members.drain(..).zip(replies) {
        let answer = match reply {
            Value::ServerError(_) => Ok(reply),
            _ => Err(unmet.restated()),
        };
        member.answer(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_confirmations_are_an_error_of_their_own() {
        let (replies, unmet) = judge(vec![Value::Okay, Value::Int(1)], 2).expect("well-formed");
        assert_eq!(replies, [Value::Okay]);
        let unmet = unmet.expect("one of two");
        assert_eq!((unmet.kind(), unmet.class()), (ErrorKind::NotReplicated, Class::Ambiguous));
    }

    #[test]
    fn enough_confirmations_are_none() {
        for confirmed in [2, 3] {
            let (_, unmet) = judge(vec![Value::Okay, Value::Int(confirmed)], 2).expect("well-formed");
            assert!(unmet.is_none());
        }
    }

    #[test]
    fn an_answer_to_wait_that_is_no_number_is_unexpected() {
        assert!(judge(vec![Value::Okay, Value::Nil], 1).is_err());
        assert!(judge(Vec::new(), 1).is_err());
    }
}
