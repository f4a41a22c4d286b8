//! Batches of reads on one server: `MGET`, which costs it about half of as many `GET`s.

use redis::{Pipeline, Value};
use state_core::{ErrorKind, StateResult};

use crate::batch::{REQUEST_BYTES, not_sent};
use crate::error;
use crate::exec::Task;
use crate::reply;

/// What one key brought.
type Found = StateResult<Option<Vec<u8>>>;

/// Reads the server's keys in requests of at most `size` keys, in order. When a request fails as a whole, its keys get
/// that error, and those of later requests are not asked for.
pub(crate) async fn read(task: &Task<'_>, size: usize, keys: Vec<StateResult<Vec<u8>>>) -> Vec<Found> {
    let mut results: Vec<Found> = Vec::with_capacity(keys.len());
    let mut places = Vec::with_capacity(keys.len());
    let mut asked = Vec::with_capacity(keys.len());
    for key in keys {
        match key {
            Ok(key) => {
                places.push(results.len());
                asked.push(key);
                results.push(Ok(None));
            }
            Err(error) => results.push(Err(error)),
        }
    }
    let mut failure = None;
    let mut places = places.into_iter();
    for request in requests(&asked, size) {
        let found = match &failure {
            Some(first) => Err(not_sent(first)),
            None => read_request(task, request).await,
        };
        match found {
            Ok(found) => found.into_iter().zip(&mut places).for_each(|(found, place)| results[place] = found),
            Err(error) => {
                places.by_ref().take(request.len()).for_each(|place| results[place] = Err(error.clone()));
                failure.get_or_insert(error);
            }
        }
    }
    results
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
    let mut pipeline = Pipeline::with_capacity(keys.len());
    for key in keys {
        pipeline.cmd("GET").arg(key);
    }
    let replies = task.pipeline(&pipeline).await?;
    Ok(replies
        .into_iter()
        .map(|reply| reply.and_then(|value| reply::bytes(task.operation(), value)))
        .collect())
}
