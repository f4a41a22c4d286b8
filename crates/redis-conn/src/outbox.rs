//! What waits until the pump of a connection takes it.

use std::task::Waker;

use redis::Value;
use tokio::time::Instant;

use crate::group::Group;
use crate::mux::{Answer, Caller, Cause, Expected, Lost};
use crate::observe::BatchKind;
use crate::request::Request;
use crate::typed::Typed;

/// Requests that the pump has not taken yet, and what it needs to know.
#[derive(Default)]
pub(crate) struct Outbox {
    pub(crate) requests: Requests,
    pub(crate) pump: Option<Waker>,
    /// The pump has nothing to write, and sleeps until it is woken.
    pub(crate) is_idle: bool,
    /// No deadline of a request that is unanswered is before this; `None` is for ever.
    pub(crate) due: Option<Instant>,
    pub(crate) over: Option<Over>,
}

/// Why nothing is sent any more.
pub(crate) struct Over {
    pub(crate) cause: Cause,
    /// An error that the server closed the connection with, before it was asked anything.
    pub(crate) farewell: Option<Value>,
}

/// Requests in the order in which they are sent: `reads`, `entries`, `writes`. Reads overtake only what nobody waited for
/// before he read.
#[derive(Default)]
pub(crate) struct Requests {
    pub(crate) reads: Group,
    pub(crate) entries: Vec<Entry>,
    /// Those of `entries` that stand alone, one after the other.
    pub(crate) bytes: Vec<u8>,
    pub(crate) writes: Group,
}

pub(crate) enum Entry {
    Alone(Waiting),
    Together(BatchKind, Group),
}

/// Who waits for the replies to one request.
pub(crate) struct Waiting {
    /// Bytes of the request.
    pub(crate) len: usize,
    /// Replies to come.
    missing: usize,
    /// `None` is one reply that is the answer itself; otherwise the last so many are collected.
    keep: Option<usize>,
    collected: Vec<Value>,
    deadline: Option<Instant>,
    /// `None` once it was told that it is late.
    caller: Option<Caller>,
}

impl Outbox {
    /// Notes the deadline of a new request; returns the pump if it has to be woken.
    pub(crate) fn note(&mut self, deadline: Option<Instant>) -> Option<Waker> {
        let is_sooner = deadline.is_some_and(|deadline| self.due.is_none_or(|due| deadline < due));
        if is_sooner {
            self.due = deadline;
        }
        let wakes = std::mem::take(&mut self.is_idle) || is_sooner;
        if wakes { self.pump.clone() } else { None }
    }
}

impl Requests {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.reads.is_empty() && self.writes.is_empty()
    }

    pub(crate) fn push<R: Request>(&mut self, request: &R, deadline: Option<Instant>, caller: Caller) {
        self.close(BatchKind::Set);
        let before = self.bytes.len();
        request.write_to(&mut self.bytes);
        let len = self.bytes.len() - before;
        self.entries.push(Entry::Alone(Waiting::new(request, len, deadline, caller)));
    }

    /// Adds an operation to the group of its kind, of at most `limit` members.
    pub(crate) fn join<T: Typed>(&mut self, operation: &T, limit: usize, deadline: Instant, caller: Caller) {
        if self.group(T::KIND).len() >= limit {
            self.close(T::KIND);
        }
        self.group(T::KIND).join(operation, deadline, caller);
    }

    /// What comes after it is sent after it.
    fn close(&mut self, kind: BatchKind) {
        let group = std::mem::take(self.group(kind));
        if !group.is_empty() {
            self.entries.push(Entry::Together(kind, group));
        }
    }

    fn group(&mut self, kind: BatchKind) -> &mut Group {
        match kind {
            BatchKind::Get => &mut self.reads,
            BatchKind::Set => &mut self.writes,
        }
    }

    /// Takes out those whose deadline has come, and tells them.
    pub(crate) fn take_back(&mut self, now: Instant) {
        self.reads.take_back(now);
        self.writes.take_back(now);
        let bytes = std::mem::take(&mut self.bytes);
        let mut rest = &bytes[..];
        self.entries.retain_mut(|entry| match entry {
            Entry::Together(_, group) => {
                group.take_back(now);
                !group.is_empty()
            }
            Entry::Alone(waiting) => {
                let (own, others) = rest.split_at(waiting.len);
                rest = others;
                let is_late = waiting.is_late(now);
                if is_late {
                    waiting.fail(false, Cause::Late);
                } else {
                    self.bytes.extend_from_slice(own);
                }
                !is_late
            }
        });
    }

    /// The earliest deadline.
    pub(crate) fn due(&self) -> Option<Instant> {
        let entries = self.entries.iter().filter_map(|entry| match entry {
            Entry::Alone(waiting) => waiting.due(),
            Entry::Together(_, group) => group.due(),
        });
        entries.chain(self.reads.due()).chain(self.writes.due()).min()
    }

    /// Tells all of them that they were not sent.
    pub(crate) fn fail(mut self, cause: &Cause) {
        self.reads.fail(cause);
        self.writes.fail(cause);
        for entry in &mut self.entries {
            match entry {
                Entry::Alone(waiting) => waiting.fail(false, cause.clone()),
                Entry::Together(_, group) => group.fail(cause),
            }
        }
    }
}

impl Waiting {
    fn new<R: Request>(request: &R, len: usize, deadline: Option<Instant>, caller: Caller) -> Self {
        let Expected { skip, keep } = request.expects();
        let collected = Vec::with_capacity(keep.unwrap_or(0));
        let missing = skip + keep.unwrap_or(1);
        Self { len, missing, keep, collected, deadline, caller: Some(caller) }
    }

    /// Takes the next reply; says how many operations it answers.
    pub(crate) fn reply(&mut self, reply: Value) -> usize {
        self.missing -= 1;
        let Some(keep) = self.keep else {
            self.tell(Ok(reply));
            return 1;
        };
        if self.missing < keep {
            self.collected.push(reply);
        }
        if self.missing > 0 {
            return 0;
        }
        let collected = std::mem::take(&mut self.collected);
        self.tell(Ok(Value::Array(collected)));
        1
    }

    /// Whether no more replies are to come.
    pub(crate) fn is_over(&self) -> bool {
        self.missing == 0
    }

    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| due <= now)
    }

    /// Its deadline, while it waits.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.deadline.filter(|_| self.caller.is_some())
    }

    pub(crate) fn fail(&mut self, is_sent: bool, cause: Cause) {
        self.tell(Err(Lost::new(is_sent, cause)));
    }

    fn tell(&mut self, answer: Answer) {
        if let Some(caller) = self.caller.take() {
            caller.tell(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::endpoint::{Endpoint, FixedEndpoint};
    use crate::launch::{Apart, Output};
    use crate::mux::{Caller, Terms};
    use crate::options::SetOptions;
    use crate::setup::Setup;
    use crate::slot::Pending;
    use crate::typed::{Get, Set};

    fn setup() -> Arc<Setup> {
        let endpoint = Endpoint::tcp("unused", 1);
        let source = Arc::new(FixedEndpoint::new(endpoint.clone()));
        Setup::new(Config::standalone(endpoint).into(), source)
    }

    /// The words that are sent, without lengths.
    fn launched(requests: &mut Requests, setup: Arc<Setup>, apart: &Apart) -> String {
        let terms = Terms { setup, endpoint: Endpoint::tcp("unused", 1).into() };
        let mut output = Output::default();
        output.launch(requests, &mut VecDeque::new(), apart, Some(&terms));
        assert!(requests.is_empty());
        let text = String::from_utf8_lossy(output.rest());
        text.lines().filter(|line| !line.starts_with(['*', '$'])).collect::<Vec<_>>().join(" ")
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// Two reads, and who waits for them.
    fn reads() -> (Requests, [Pending<Answer>; 2]) {
        let mut requests = Requests::default();
        let waiting = [b"a", b"b"].map(|key| {
            let (caller, pending) = Caller::new();
            requests.join(&Get(key), 64, soon(), caller);
            pending
        });
        (requests, waiting)
    }

    #[tokio::test]
    async fn reads_share_a_command_where_that_pays() {
        let (mut requests, _waiting) = reads();
        assert_eq!(launched(&mut requests, setup(), &Apart::default()), "MGET a b");

        let (mut requests, _waiting) = reads();
        let node = setup().for_node(Arc::new(FixedEndpoint::new(Endpoint::tcp("unused", 1))));
        assert_eq!(launched(&mut requests, node, &Apart::default()), "GET a GET b", "of many slots");

        let mut apart = Apart::default();
        apart.note(BatchKind::Get, 1.0);
        let (mut requests, _waiting) = reads();
        assert_eq!(launched(&mut requests, setup(), &apart), "MGET a b", "one group says little");
        apart.note(BatchKind::Get, 1.0);
        let (mut requests, _waiting) = reads();
        assert_eq!(launched(&mut requests, setup(), &apart), "GET a GET b", "of absent keys");
        (0..8).for_each(|_| apart.note(BatchKind::Get, 0.0));
        let (mut requests, _waiting) = reads();
        assert_eq!(launched(&mut requests, setup(), &apart), "MGET a b", "they are there again");
    }

    #[tokio::test]
    async fn who_has_gone_is_not_sent() {
        let (mut requests, [a, _b]) = reads();
        drop(a);
        assert_eq!(launched(&mut requests, setup(), &Apart::default()), "GET b");
    }

    #[tokio::test]
    async fn writes_keep_their_order_and_reads_go_first() {
        let deadline = soon();
        let mut requests = Requests::default();
        // As long as their callers wait, or they would be taken out.
        let mut waiting = Vec::new();
        let mut caller = || {
            let (caller, pending) = Caller::new();
            waiting.push(pending);
            caller
        };
        let set = |key: &'static str| Set { key: key.as_bytes(), value: b"v", options: SetOptions::new() };
        requests.join(&set("a"), 2, deadline, caller());
        requests.push(&&redis::cmd("PING"), Some(deadline), caller());
        for key in ["b", "c", "d"] {
            requests.join(&set(key), 2, deadline, caller());
        }
        requests.join(&Get(b"e"), 2, deadline, caller());
        let sent = launched(&mut requests, setup(), &Apart::default());
        assert_eq!(sent, "GET e SET a v PING MSET b v c v SET d v");
    }
}
