//! Adaptive batching of typed operations: group commit over the shared connection.
//!
//! Below the threshold of operations in flight nothing here is used. From it on, operations queue up, and a few
//! loops each take all that is waiting, send it as one request and hand out the replies. There is no timer: a
//! batch forms while the batches before it are on the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::{Cmd, Pipeline, Value};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use crate::error::{Class, Error, ErrorKind, Result};
use crate::link::Link;
use crate::observe::BatchKind;
use crate::options::get_command;
use crate::reply;
use crate::request::Piped;

/// Share of absent keys from which on reads are sent as single `GET`s instead of as one `MGET`, whose nils have
/// to be asked again.
const MANY_MISSES: f32 = 0.2;

/// The queues of one link and the loops that empty them.
pub(crate) struct Batcher {
    link: Arc<Link>,
    threshold: usize,
    reads: mpsc::Sender<Member<Vec<u8>>>,
    writes: mpsc::Sender<Member<Cmd>>,
    loops: Vec<AbortHandle>,
}

/// One operation in a queue.
pub(crate) struct Member<T> {
    pub(crate) payload: T,
    deadline: Instant,
    pub(crate) reply: oneshot::Sender<Result<Value>>,
    /// Set by whoever is first: the loop that sends it, or the caller who gives it up unsent.
    settled: Arc<AtomicBool>,
}

impl Batcher {
    /// `None` when batching is off.
    pub(crate) fn start(link: &Arc<Link>) -> Option<Self> {
        let settings = &link.setup.config.batching;
        let threshold = settings.threshold?;
        let (reads, read_queue) = mpsc::channel(link.setup.config.max_in_flight);
        let (writes, write_queue) = mpsc::channel(link.setup.config.max_in_flight);
        let (read_queue, write_queue) = (Arc::new(Mutex::new(read_queue)), Arc::new(Mutex::new(write_queue)));
        let mut loops = Vec::new();
        for _ in 0..settings.concurrency {
            let reading = read_loop(Arc::clone(link), Arc::clone(&read_queue));
            let writing = write_loop(Arc::clone(link), Arc::clone(&write_queue));
            loops.push(tokio::spawn(reading).abort_handle());
            loops.push(tokio::spawn(writing).abort_handle());
        }
        Some(Self { link: Arc::clone(link), threshold, reads, writes, loops })
    }

    /// Ends the loops, and with them the queues: whoever waits in one is told.
    pub(crate) fn stop(&self) {
        self.loops.iter().for_each(AbortHandle::abort);
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

    /// Sends one write with others.
    pub(crate) async fn set(&self, command: Cmd, bytes: usize, deadline: Instant) -> Result<Value> {
        join(&self.link, &self.writes, bytes, || command, deadline).await
    }
}

/// Puts an operation into a queue and waits for its answer.
pub(crate) async fn join<T>(
    link: &Link,
    queue: &mpsc::Sender<Member<T>>,
    bytes: usize,
    payload: impl FnOnce() -> T,
    deadline: Instant,
) -> Result<Value> {
    drop(link.live()?);
    let _share = link.charge(bytes, deadline).await?;
    let (reply, answer) = oneshot::channel();
    let settled = Arc::new(AtomicBool::new(false));
    let member = Member { payload: payload(), deadline, reply, settled: Arc::clone(&settled) };
    // Members whose callers have gone stay in the queue until a loop passes by, so it can be full for a moment.
    match timeout_at(deadline, queue.send(member)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Err(gone(ErrorKind::Closed, &settled)),
        Err(_) => return Err(gone(ErrorKind::Timeout, &settled)),
    }
    match timeout_at(deadline, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(gone(ErrorKind::Closed, &settled)),
        Err(_) => Err(gone(ErrorKind::Timeout, &settled)),
    }
}

impl Drop for Batcher {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The caller stops waiting: taking its member back tells whether it was sent.
fn gone(kind: ErrorKind, settled: &AtomicBool) -> Error {
    if settled.swap(true, Ordering::AcqRel) {
        Error::new(kind, Class::Ambiguous, "waiting for the answer; the command may have run")
    } else {
        Error::not_sent(kind, "while queued for a batch; nothing was sent")
    }
}

async fn read_loop(link: Arc<Link>, queue: Arc<Mutex<mpsc::Receiver<Member<Vec<u8>>>>>) {
    let mut members = Vec::new();
    let mut misses = 0.0;
    while let Some(deadline) = next_batch(&link, &queue, &mut members).await {
        link.setup.observe(|observer| observer.batch_sent(BatchKind::Get, members.len()));
        let outcome = read(&link, &members, deadline, &mut misses).await;
        hand_out(&mut members, outcome);
    }
}

async fn write_loop(link: Arc<Link>, queue: Arc<Mutex<mpsc::Receiver<Member<Cmd>>>>) {
    let mut members = Vec::new();
    while let Some(deadline) = next_batch(&link, &queue, &mut members).await {
        link.setup.observe(|observer| observer.batch_sent(BatchKind::Set, members.len()));
        let mut pipeline = Pipeline::with_capacity(members.len());
        for member in &mut members {
            pipeline.add_command(std::mem::take(&mut member.payload));
        }
        let outcome = link.send_charged(Piped::new(&pipeline), deadline).await;
        hand_out(&mut members, outcome);
    }
}

/// Takes all that waits and may still be sent, and says when the last of it is due; `None` when there will be
/// no more.
pub(crate) async fn next_batch<T>(
    link: &Link,
    queue: &Mutex<mpsc::Receiver<Member<T>>>,
    members: &mut Vec<Member<T>>,
) -> Option<Instant> {
    let limit = link.setup.config.batching.max_members;
    loop {
        members.clear();
        if queue.lock().await.recv_many(members, limit).await == 0 {
            return None;
        }
        let now = Instant::now();
        // A member that is late or whose caller is gone is never written.
        members.retain(|member| {
            member.deadline > now && !member.reply.is_closed() && !member.settled.swap(true, Ordering::AcqRel)
        });
        if let Some(deadline) = members.iter().map(|member| member.deadline).max() {
            return Some(deadline);
        }
    }
}

pub(crate) fn hand_out<T>(members: &mut Vec<Member<T>>, outcome: Result<Vec<Value>>) {
    match outcome {
        Ok(values) if values.len() == members.len() => {
            for (member, value) in members.drain(..).zip(values) {
                // A caller that has gone does not want its answer.
                let _ = member.reply.send(Ok(value));
            }
        }
        outcome => {
            let error = outcome.err().unwrap_or_else(reply::unexpected);
            for member in members.drain(..) {
                let _ = member.reply.send(Err(error.restated()));
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
