//! Batches on one server as one command of many keys: it costs the server about half of as many commands.

use std::collections::VecDeque;
use std::error::Error as _;

use redis::{Pipeline, Value};
use redis_conn::{Class, ErrorKind as ConnKind};
use state_core::{StateError, StateResult};

use crate::batch::{REQUEST_BYTES, not_sent};
use crate::error;
use crate::exec::Task;
use crate::put::Put;
use crate::reply;

/// What one key brought.
type Found = StateResult<Option<Vec<u8>>>;

/// Reads the server's keys in requests of at most `size` keys, in order. When a request fails as a whole, its keys get
/// that error, and those of later requests are not asked for.
pub(crate) async fn read(task: &Task<'_>, size: usize, keys: Vec<StateResult<Vec<u8>>>) -> Vec<Found> {
    let (asked, mut answers) = sort(keys);
    for request in requests(&asked, size) {
        let found = match answers.check() {
            Ok(()) => read_request(task, request).await,
            Err(error) => Err(error),
        };
        answers.put(request.len(), found);
    }
    answers.results
}

/// Deletes the server's keys, as [`read`] reads them.
pub(crate) async fn delete(
    task: &Task<'_>,
    size: usize,
    keys: Vec<StateResult<Vec<u8>>>,
) -> Vec<StateResult<()>> {
    let (asked, mut answers) = sort(keys);
    for request in requests(&asked, size) {
        let deleted = match answers.check() {
            Ok(()) => delete_request(task, request).await,
            Err(error) => Err(error),
        };
        answers.put(request.len(), deleted);
    }
    answers.results
}

/// Stores values that have no condition and no TTL, in requests of at most `size` of them, in order; as [`read`] reads.
///
/// Requests are made as they are needed, so that a long batch is not in memory twice.
pub(crate) async fn store<'v>(
    task: &Task<'_>,
    size: usize,
    puts: impl Iterator<Item = StateResult<Put<'v>>>,
) -> Vec<StateResult<bool>> {
    let mut answers = Answers::default();
    let mut request = Vec::new();
    let mut bytes = 0;
    for put in puts {
        if let Some(put) = answers.sort(put) {
            bytes += put.len();
            request.push(put);
        }
        if request.len() >= size || bytes >= REQUEST_BYTES {
            answers.store(task, &request).await;
            request.clear();
            bytes = 0;
        }
    }
    answers.store(task, &request).await;
    answers.results
}

/// Results in the order of the caller's items, filled in as requests are answered.
#[derive(Default)]
struct Answers<T> {
    results: Vec<StateResult<T>>,
    /// Where the results of the items that are sent go.
    places: VecDeque<usize>,
    failure: Option<StateError>,
}

/// The keys to ask for, and the results of those that cannot be.
fn sort<T: Default>(keys: Vec<StateResult<Vec<u8>>>) -> (Vec<Vec<u8>>, Answers<T>) {
    let mut answers = Answers::default();
    let asked = keys.into_iter().filter_map(|key| answers.sort(key)).collect();
    (asked, answers)
}

impl<T: Default> Answers<T> {
    /// The next item, if it is to be sent.
    fn sort<I>(&mut self, item: StateResult<I>) -> Option<I> {
        match item {
            Ok(item) => {
                self.places.push_back(self.results.len());
                self.results.push(Ok(T::default()));
                Some(item)
            }
            Err(error) => {
                self.results.push(Err(error));
                None
            }
        }
    }
}

impl Answers<bool> {
    async fn store(&mut self, task: &Task<'_>, puts: &[Put<'_>]) {
        if puts.is_empty() {
            return;
        }
        let stored = match self.check() {
            Ok(()) => store_request(task, puts).await,
            Err(error) => Err(error),
        };
        self.put(puts.len(), stored);
    }
}

impl<T> Answers<T> {
    /// Whether all requests so far were answered.
    fn check(&self) -> StateResult<()> {
        self.failure.as_ref().map_or(Ok(()), |first| Err(not_sent(first)))
    }

    fn put(&mut self, count: usize, answers: StateResult<Vec<StateResult<T>>>) {
        let places = self.places.drain(..count);
        match answers {
            Ok(answers) => places.zip(answers).for_each(|(place, answer)| self.results[place] = answer),
            Err(error) => {
                places.for_each(|place| self.results[place] = Err(error.clone()));
                self.failure.get_or_insert(error);
            }
        }
    }
}

/// Cuts keys into requests of bounded count and size.
fn requests(mut keys: &[Vec<u8>], size: usize) -> impl Iterator<Item = &[Vec<u8>]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |key: &&Vec<u8>| {
            bytes += key.len();
            bytes <= REQUEST_BYTES
        };
        let count = keys.iter().take(size).take_while(fits).count().max(1);
        let (request, rest) = keys.split_at(count.min(keys.len()));
        keys = rest;
        (!request.is_empty()).then_some(request)
    })
}

async fn read_request(task: &Task<'_>, keys: &[Vec<u8>]) -> StateResult<Vec<Found>> {
    let values = match task.command(redis::cmd("MGET").arg(keys)).await {
        Ok(Value::Array(values)) if values.len() == keys.len() => values,
        Ok(_) => return Err(error::unexpected_reply(task.operation())),
        Err(error) if may_be_of_one(&error) => return read_each(task, keys).await,
        Err(error) => return Err(error),
    };
    let mut found: Vec<Found> =
        values.into_iter().map(|value| reply::bytes(task.operation(), value)).collect();
    let absent: Vec<usize> = (0..found.len()).filter(|at| matches!(found[*at], Ok(None))).collect();
    let doubtful: Vec<Vec<u8>> = absent.iter().map(|at| keys[*at].clone()).collect();
    if !doubtful.is_empty() && are_there(task, &doubtful).await? {
        let again = read_each(task, &doubtful).await?;
        absent.into_iter().zip(again).for_each(|(at, value)| found[at] = value);
    }
    Ok(found)
}

/// `MGET` answers nil for a key of another type as for one that is absent; `EXISTS` tells whether there are any.
async fn are_there(task: &Task<'_>, keys: &[Vec<u8>]) -> StateResult<bool> {
    Ok(reply::integer(task.operation(), task.command(redis::cmd("EXISTS").arg(keys)).await?)? > 0)
}

async fn read_each(task: &Task<'_>, keys: &[Vec<u8>]) -> StateResult<Vec<Found>> {
    let replies = each(task, "GET", keys).await?;
    Ok(replies
        .into_iter()
        .map(|reply| reply.and_then(|value| reply::bytes(task.operation(), value)))
        .collect())
}

async fn store_request(task: &Task<'_>, puts: &[Put<'_>]) -> StateResult<Vec<StateResult<bool>>> {
    let mut command = redis::cmd("MSET");
    puts.iter().for_each(|put| put.add_to(&mut command));
    match task.command(&command).await {
        Ok(reply) => {
            let stored = reply::written(task.operation(), reply)?;
            Ok(puts.iter().map(|_| Ok(stored)).collect())
        }
        Err(error) if may_be_of_one(&error) => {
            let mut pipeline = Pipeline::with_capacity(puts.len());
            for put in puts {
                pipeline.add_command(put.command());
            }
            let replies = task.pipeline(&pipeline).await?;
            let written = |reply| reply::written(task.operation(), reply);
            Ok(replies.into_iter().map(|reply| reply.and_then(written)).collect())
        }
        Err(error) => Err(error),
    }
}

async fn delete_request(task: &Task<'_>, keys: &[Vec<u8>]) -> StateResult<Vec<StateResult<()>>> {
    match task.command(redis::cmd("UNLINK").arg(keys)).await {
        Ok(removed) => {
            reply::integer(task.operation(), removed)?;
            Ok(keys.iter().map(|_| Ok(())).collect())
        }
        Err(error) if may_be_of_one(&error) => {
            let replies = each(task, "UNLINK", keys).await?;
            Ok(replies.into_iter().map(|reply| reply.map(|_removed| ())).collect())
        }
        Err(error) => Err(error),
    }
}

/// Whether an error may lie in one of the keys, or in their being together: the user may not touch it, they are of
/// different slots of a server that is a cluster's, a proxy does not know the command. That is no reason to refuse all.
fn may_be_of_one(error: &StateError) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<redis_conn::Error>());
    cause.is_some_and(|cause| cause.kind() == ConnKind::Denied || cause.class() == Class::Reply)
}

async fn each(task: &Task<'_>, name: &str, keys: &[Vec<u8>]) -> StateResult<Vec<StateResult<Value>>> {
    let mut pipeline = Pipeline::with_capacity(keys.len());
    for key in keys {
        pipeline.cmd(name).arg(key);
    }
    task.pipeline(&pipeline).await
}
