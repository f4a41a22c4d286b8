//! What can be sent.

use redis::{Cmd, Pipeline, ServerError, Value};
use tokio::time::Instant;

use crate::classify::server_error;
use crate::error::{Class, Error, ErrorKind, Result};
use crate::mux::{Answer, Expected, Mux};
use crate::reply;
use crate::slot::Pending;

/// Something to send, and how to look for server errors in its answer.
pub(crate) trait Request: Send {
    type Reply: Send;

    /// Bytes of its arguments.
    fn bytes(&self) -> usize;

    /// Whether there is nothing in it that a server would answer.
    fn is_empty(&self) -> bool;

    /// Appends its bytes.
    fn write_to(&self, out: &mut Vec<u8>);

    fn expects(&self) -> Expected;

    /// From the answer, which is as expected.
    ///
    /// # Errors
    /// When the answer as a whole says that nothing was run.
    fn reply(&self, answer: Value) -> Result<Self::Reply>;

    /// The error replies in the answer, nested ones left out.
    fn errors(reply: &Self::Reply) -> impl Iterator<Item = &ServerError>;
}

/// Sends a request that is to be answered by `deadline`.
///
/// # Errors
/// Nothing was sent: it is late already, or there is nothing in it.
pub(crate) fn submit<R: Request>(mux: &Mux, request: &R, deadline: Instant) -> Result<Pending<Answer>> {
    if Instant::now() >= deadline {
        return Err(Error::not_sent(ErrorKind::Timeout, "before sending; nothing was sent"));
    }
    if request.is_empty() {
        return Err(Error::new(ErrorKind::Unsupported, Class::NotSent, "an empty command"));
    }
    Ok(mux.send(request, Some(deadline)))
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

    fn is_empty(&self) -> bool {
        self.pipeline.is_empty() || self.pipeline.cmd_iter().any(|command| command.args_iter().len() == 0)
    }

    fn write_to(&self, out: &mut Vec<u8>) {
        if self.pipeline.is_transaction() {
            out.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n");
        }
        self.pipeline.cmd_iter().for_each(|command| command.write_packed_command(out));
        if self.pipeline.is_transaction() {
            out.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
        }
    }

    /// All replies there will be, whatever part of them is wanted.
    fn expects(&self) -> Expected {
        let all = self.pipeline.len() + if self.pipeline.is_transaction() { 2 } else { 0 };
        let skip = self.offset.min(all - 1);
        Expected { skip, keep: Some(all - skip) }
    }

    fn reply(&self, answer: Value) -> Result<Vec<Value>> {
        let Value::Array(mut replies) = answer else { return Err(reply::unexpected()) };
        replies.truncate(self.count);
        match replies.last() {
            Some(Value::ServerError(error))
                if self.pipeline.is_transaction() && error.code() == "EXECABORT" =>
            {
                Err(server_error(error))
            }
            _ => Ok(replies),
        }
    }

    fn errors(reply: &Vec<Value>) -> impl Iterator<Item = &ServerError> {
        reply.iter().filter_map(as_error)
    }
}

pub(crate) fn argument_bytes(argument: redis::Arg<&[u8]>) -> usize {
    match argument {
        redis::Arg::Simple(bytes) => bytes.len(),
        _ => 0,
    }
}

pub(crate) fn as_error(value: &Value) -> Option<&ServerError> {
    match value {
        Value::ServerError(error) => Some(error),
        _ => None,
    }
}
