//! What can be sent, and the exchange of one request for its answer.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisResult, ServerError, Value};
use tokio::time::{Instant, timeout_at};

use crate::classify::{SendState, classify};
use crate::error::{Class, Error, ErrorKind, Result};
use crate::stream::Traffic;

/// Something to send, and how to look for server errors in its answer.
pub(crate) trait Request: Send {
    type Reply: Send;

    /// Bytes of its arguments.
    fn bytes(&self) -> usize;

    fn send(&self, mux: &mut MultiplexedConnection) -> impl Future<Output = RedisResult<Self::Reply>> + Send;

    /// The error replies in the answer, nested ones left out.
    fn errors(reply: &Self::Reply) -> impl Iterator<Item = &ServerError>;
}

/// How an exchange ended.
pub(crate) struct Exchange<T> {
    pub(crate) result: Result<T>,
    /// Whether the connection owes nothing more: it has answered, or is over.
    pub(crate) is_settled: bool,
}

/// Sends a request and waits for its answer, at most until `deadline`; the only timer of an operation.
pub(crate) async fn exchange<R: Request>(
    mux: &mut MultiplexedConnection,
    traffic: &Traffic,
    request: &R,
    deadline: Instant,
) -> Exchange<R::Reply> {
    if Instant::now() >= deadline {
        let error = Error::not_sent(ErrorKind::Timeout, "before sending; nothing was sent");
        return Exchange { result: Err(error), is_settled: true };
    }
    let closed_before = traffic.is_closed();
    let written_before = traffic.written();
    match timeout_at(deadline, request.send(mux)).await {
        Ok(answer) => {
            // The driver reports an error only when it has stopped writing for good.
            let unsent = || closed_before || traffic.written() == written_before;
            let result = answer.map_err(|error| {
                classify(error, if unsent() { SendState::NotSent } else { SendState::Unknown })
            });
            Exchange { result, is_settled: true }
        }
        Err(_) => {
            let late = "waiting for the answer; the command may have run";
            Exchange {
                result: Err(Error::new(ErrorKind::Timeout, Class::Ambiguous, late)),
                is_settled: false,
            }
        }
    }
}

impl Request for &Cmd {
    type Reply = Value;

    fn bytes(&self) -> usize {
        self.args_iter().map(argument_bytes).sum()
    }

    fn send(&self, mux: &mut MultiplexedConnection) -> impl Future<Output = RedisResult<Value>> + Send {
        mux.send_packed_command(self)
    }

    fn errors(reply: &Value) -> impl Iterator<Item = &ServerError> {
        as_error(reply).into_iter()
    }
}

/// A pipeline with the count of replies to skip and to keep.
pub(crate) struct Piped<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) offset: usize,
    pub(crate) count: usize,
}

impl<'a> Piped<'a> {
    pub(crate) fn new(pipeline: &'a Pipeline) -> Self {
        let len = pipeline.len();
        let (offset, count) = if pipeline.is_transaction() { (len + 1, 1) } else { (0, len) };
        Self { pipeline, offset, count }
    }
}

impl Request for Piped<'_> {
    type Reply = Vec<Value>;

    fn bytes(&self) -> usize {
        self.pipeline.cmd_iter().flat_map(Cmd::args_iter).map(argument_bytes).sum()
    }

    fn send(&self, mux: &mut MultiplexedConnection) -> impl Future<Output = RedisResult<Vec<Value>>> + Send {
        mux.send_packed_commands(self.pipeline, self.offset, self.count)
    }

    fn errors(reply: &Vec<Value>) -> impl Iterator<Item = &ServerError> {
        reply.iter().filter_map(as_error)
    }
}

fn argument_bytes(argument: redis::Arg<&[u8]>) -> usize {
    match argument {
        redis::Arg::Simple(bytes) => bytes.len(),
        _ => 0,
    }
}

fn as_error(value: &Value) -> Option<&ServerError> {
    match value {
        Value::ServerError(error) => Some(error),
        _ => None,
    }
}
