//! Batches: cut into requests of bounded size, one result an item.

use redis::{Cmd, Pipeline, Value};
use state_core::{ErrorKind, StateError, StateResult};

use crate::exec::Task;
use crate::operation::Operation;

// A request is closed once it holds so much.
pub(crate) const REQUEST_BYTES: usize = 4 * 1024 * 1024;

/// Runs the commands of a batch in requests of at most `size` commands, in order.
///
/// Commands are made as they are needed, so that a long batch is not in memory twice.
/// An item that is an error already is not sent. When a request fails as a whole, its items get that error and those
/// of later requests are not sent: a server that is gone is not asked a thousand times more.
pub(crate) async fn run<T>(
    task: &Task<'_>,
    size: usize,
    is_atomic: bool,
    commands: impl ExactSizeIterator<Item = StateResult<Cmd>>,
    decode: fn(Operation, Value) -> StateResult<T>,
) -> Vec<StateResult<T>> {
    let mut results: Vec<Option<StateResult<T>>> = Vec::with_capacity(commands.len());
    let mut request = Request::new(is_atomic);
    let mut failure = None;
    for command in commands {
        match command {
            Ok(command) => {
                request.push(results.len(), command);
                results.push(None);
            }
            Err(error) => results.push(Some(Err(error))),
        }
        if request.is_full(size) {
            send(task, &mut request, &mut results, &mut failure, decode).await;
        }
    }
    send(task, &mut request, &mut results, &mut failure, decode).await;
    let missing = || Err(StateError::new(ErrorKind::Internal, "an item of the batch got no answer"));
    results.into_iter().map(|result| result.unwrap_or_else(missing)).collect()
}

struct Request {
    pipeline: Pipeline,
    places: Vec<usize>,
    bytes: usize,
}

impl Request {
    fn new(is_atomic: bool) -> Self {
        let mut pipeline = Pipeline::new();
        if is_atomic {
            pipeline.atomic();
        }
        Self { pipeline, places: Vec::new(), bytes: 0 }
    }

    fn push(&mut self, place: usize, command: Cmd) {
        self.bytes += command.args_iter().map(|argument| argument_len(&argument)).sum::<usize>();
        self.places.push(place);
        self.pipeline.add_command(command);
    }

    fn is_full(&self, size: usize) -> bool {
        self.places.len() >= size || self.bytes >= REQUEST_BYTES
    }
}

fn argument_len(argument: &redis::Arg<&[u8]>) -> usize {
    match argument {
        redis::Arg::Simple(bytes) => bytes.len(),
        _ => 1,
    }
}

/// Sends `request` unless an earlier one failed, and puts its answers in their places.
async fn send<T>(
    task: &Task<'_>,
    request: &mut Request,
    results: &mut [Option<StateResult<T>>],
    failure: &mut Option<StateError>,
    decode: fn(Operation, Value) -> StateResult<T>,
) {
    let empty = Request::new(request.pipeline.is_transaction());
    let Request { pipeline, places, .. } = std::mem::replace(request, empty);
    if places.is_empty() {
        return;
    }
    let replies = match failure {
        Some(first) => Err(not_sent(first)),
        None => task.pipeline(&pipeline).await,
    };
    match replies {
        Ok(replies) => {
            for (place, reply) in places.into_iter().zip(replies) {
                results[place] = Some(reply.and_then(|value| decode(task.operation(), value)));
            }
        }
        Err(error) => {
            for place in places {
                results[place] = Some(Err(error.clone()));
            }
            failure.get_or_insert(error);
        }
    }
}

/// The error of items that were not sent because an earlier request of their batch failed with `first`.
pub(crate) fn not_sent(first: &StateError) -> StateError {
    StateError::new(first.kind(), "not sent, since an earlier part of the batch failed")
        .with_source(first.clone())
}
