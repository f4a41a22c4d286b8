//! Adaptive batching of typed operations: group commit over the shared connection.
//!
//! Below the threshold of operations in flight nothing here is used. From it on, operations queue up, and a few
//! loops each take all that is waiting, send it as one request and hand out the replies. There is no timer: a
//! batch forms while the batches before it are on the wire.

use std::sync::Arc;

use redis::{Cmd, Pipeline, Value};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::error::Result;
use crate::link::Link;
use crate::observe::BatchKind;
use crate::options::get_command;
use crate::queue::{Member, Queue, in_time};
use crate::reply;
use crate::request::Piped;

/// Share of absent keys from which on reads are sent as single `GET`s instead of as one `MGET`, whose nils have
/// to be asked again.
const MANY_MISSES: f32 = 0.2;

/// The queues of one link and the loops that empty them.
pub(crate) struct Batcher {
    link: Arc<Link>,
    threshold: usize,
    reads: Arc<Queue<Vec<u8>>>,
    writes: Arc<Queue<Cmd>>,
    /// The loops; they end with it.
    _tasks: JoinSet<()>,
}

impl Batcher {
    /// `None` when batching is off.
    pub(crate) fn start(link: &Arc<Link>) -> Option<Self> {
        let settings = &link.setup.config.batching;
        let threshold = settings.threshold?;
        let in_flight = link.setup.config.max_in_flight;
        let (reads, writes) = (Arc::new(Queue::new(in_flight)), Arc::new(Queue::new(in_flight)));
        let mut tasks = JoinSet::new();
        for _ in 0..settings.concurrency {
            tasks.spawn(read_loop(Arc::clone(link), Arc::clone(&reads)));
            tasks.spawn(write_loop(Arc::clone(link), Arc::clone(&writes)));
        }
        let (reading, writing) = (Arc::clone(&reads), Arc::clone(&writes));
        tasks.spawn(async move {
            tokio::join!(reading.keep_deadlines(), writing.keep_deadlines());
        });
        Some(Self { link: Arc::clone(link), threshold, reads, writes, _tasks: tasks })
    }

    /// Whether enough is in flight for batches to pay.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.link.budget.count() >= self.threshold
    }

    /// Reads one string with others.
    pub(crate) async fn get(&self, key: &[u8], deadline: Instant) -> Result<Value> {
        join(&self.link, &self.reads, key.len(), || key.to_vec(), deadline).await
    }

    /// Sends one write, or another command that the server answers at once, with others.
    pub(crate) async fn set(&self, command: Cmd, bytes: usize, deadline: Instant) -> Result<Value> {
        join(&self.link, &self.writes, bytes, || command, deadline).await
    }
}

/// Puts an operation into a queue and waits for its answer.
pub(crate) async fn join<T>(
    link: &Link,
    queue: &Queue<T>,
    bytes: usize,
    payload: impl FnOnce() -> T,
    deadline: Instant,
) -> Result<Value> {
    link.check_up()?;
    let _share = link.charge(bytes, deadline).await?;
    queue.push(payload(), deadline).await
}

async fn read_loop(link: Arc<Link>, queue: Arc<Queue<Vec<u8>>>) {
    let mut members = Vec::new();
    let mut misses = 0.0;
    loop {
        let deadline = queue.next(&mut members, link.setup.config.batching.max_members).await;
        link.setup.observe(|observer| observer.batch_sent(BatchKind::Get, members.len()));
        let outcome = in_time(&members, read(&link, &members, deadline, &mut misses)).await;
        hand_out(&mut members, outcome);
    }
}

async fn write_loop(link: Arc<Link>, queue: Arc<Queue<Cmd>>) {
    let mut members = Vec::new();
    loop {
        let deadline = queue.next(&mut members, link.setup.config.batching.max_members).await;
        link.setup.observe(|observer| observer.batch_sent(BatchKind::Set, members.len()));
        let mut pipeline = Pipeline::with_capacity(members.len());
        for member in &mut members {
            pipeline.add_command(std::mem::take(&mut member.payload));
        }
        let outcome = in_time(&members, link.send_charged(Piped::new(&pipeline), deadline)).await;
        hand_out(&mut members, outcome);
    }
}

pub(crate) fn hand_out<T>(members: &mut Vec<Member<T>>, outcome: Result<Vec<Value>>) {
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

/// One `MGET`, and `GET` for what it found absent: `MGET` answers nil also for a key of another type, which must
/// not be taken for absent. Where keys lie in many slots, where much is absent, or where the user may not read one of
/// the keys, `GET`s from the start.
async fn read(
    link: &Link,
    members: &[Member<Vec<u8>>],
    deadline: Instant,
    misses: &mut f32,
) -> Result<Vec<Value>> {
    let keys: Vec<&[u8]> = members.iter().map(|member| member.payload.as_slice()).collect();
    if keys.len() == 1 || link.setup.many_slots || *misses > MANY_MISSES {
        let values = get_each(link, &keys, deadline).await?;
        note_misses(misses, &values);
        return Ok(values);
    }
    let Value::Array(mut values) = link.send_charged(&mget(&keys), deadline).await? else {
        return get_each(link, &keys, deadline).await;
    };
    if values.len() != keys.len() {
        return Err(reply::unexpected());
    }
    note_misses(misses, &values);
    let absent: Vec<usize> = (0..values.len()).filter(|at| values[*at] == Value::Nil).collect();
    if absent.is_empty() {
        return Ok(values);
    }
    let doubtful: Vec<&[u8]> = absent.iter().map(|at| keys[*at]).collect();
    let again = get_each(link, &doubtful, deadline).await;
    for (nth, at) in absent.into_iter().enumerate() {
        values[at] = match &again {
            Ok(again) => again.get(nth).cloned().ok_or_else(reply::unexpected)?,
            Err(error) => return Err(error.restated()),
        };
    }
    Ok(values)
}

async fn get_each(link: &Link, keys: &[&[u8]], deadline: Instant) -> Result<Vec<Value>> {
    let mut pipeline = Pipeline::with_capacity(keys.len());
    for key in keys {
        pipeline.add_command(get_command(key));
    }
    link.send_charged(Piped::new(&pipeline), deadline).await
}

fn mget(keys: &[&[u8]]) -> Cmd {
    let mut command = Cmd::with_capacity(keys.len() + 1, keys.iter().map(|key| key.len()).sum::<usize>() + 4);
    command.arg("MGET");
    for key in keys {
        command.arg(*key);
    }
    command
}

/// A running average over some eight batches.
fn note_misses(average: &mut f32, values: &[Value]) {
    let absent = values.iter().filter(|value| **value == Value::Nil).count();
    *average += (absent as f32 / values.len().max(1) as f32 - *average) / 8.0;
}
