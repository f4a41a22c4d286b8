//! Batches on one server as one command of many keys: it costs the server about half of as many commands.

use redis::{Pipeline, Value};
use state_core::{ErrorKind, StateError, StateResult};

use crate::batch::{REQUEST_BYTES, not_sent};
use crate::error;
use crate::exec::Task;
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

/// Results in the order of the caller's keys, filled in as requests are answered.
struct Answers<T> {
    results: Vec<StateResult<T>>,
    /// Where the results of the keys that are asked for go.
    places: std::vec::IntoIter<usize>,
    failure: Option<StateError>,
}

/// The keys to ask for, and the results of those that cannot be.
fn sort<T: Default>(keys: Vec<StateResult<Vec<u8>>>) -> (Vec<Vec<u8>>, Answers<T>) {
    let mut results = Vec::with_capacity(keys.len());
    let mut places = Vec::with_capacity(keys.len());
    let mut asked = Vec::with_capacity(keys.len());
    for key in keys {
        match key {
            Ok(key) => {
                places.push(results.len());
                asked.push(key);
                results.push(Ok(T::default()));
            }
            Err(error) => results.push(Err(error)),
        }
    }
    (asked, Answers { results, places: places.into_iter(), failure: None })
}

impl<T> Answers<T> {
    /// Whether all requests so far were answered.
    fn check(&self) -> StateResult<()> {
        self.failure.as_ref().map_or(Ok(()), |first| Err(not_sent(first)))
    }

    fn put(&mut self, count: usize, answers: StateResult<Vec<StateResult<T>>>) {
        let places = self.places.by_ref().take(count);
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
        // The user may not read one of the keys: that is no reason to refuse the others.
        Err(error) if error.kind() == ErrorKind::Auth => return read_each(task, keys).await,
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

async fn delete_request(task: &Task<'_>, keys: &[Vec<u8>]) -> StateResult<Vec<StateResult<()>>> {
    match task.command(redis::cmd("UNLINK").arg(keys)).await {
        Ok(removed) => {
            reply::integer(task.operation(), removed)?;
            Ok(keys.iter().map(|_| Ok(())).collect())
        }
        // As with reads.
        Err(error) if error.kind() == ErrorKind::Auth => {
            let replies = each(task, "UNLINK", keys).await?;
            Ok(replies.into_iter().map(|reply| reply.map(|_removed| ())).collect())
        }
        Err(error) => Err(error),
    }
}

async fn each(task: &Task<'_>, name: &str, keys: &[Vec<u8>]) -> StateResult<Vec<StateResult<Value>>> {
    let mut pipeline = Pipeline::with_capacity(keys.len());
    for key in keys {
        pipeline.cmd(name).arg(key);
    }
    task.pipeline(&pipeline).await
}
