//! Operations that travel together: many reads as one `MGET`, runs of plain writes as one `MSET`, all else as a pipeline.
//!
//! A member costs the bytes that stand for it, written once by its caller, and the channel of its answer. Its group is
//! one request to the gate and to the observer.

use redis::{ServerError, Value};
use tokio::time::Instant;

use crate::classify::server_error;
use crate::error::{Class, Error, ErrorKind};
use crate::launch::recycle;
use crate::mux::{Answer, Caller, Cause, Lost};
use crate::observe::{BatchKind, Permit};
use crate::typed::{Typed, write_header};

#[cfg(test)]
mod tests;

/// Members that wait to be sent.
#[derive(Default)]
pub(crate) struct Group {
    members: Vec<Member>,
    /// What stands for each of them, one after the other.
    frames: Vec<u8>,
}

/// One operation of a group.
struct Member {
    /// Bytes of its frame.
    len: usize,
    /// The frame is a part of a command that members can share.
    is_part: bool,
    deadline: Instant,
    /// `None` once it was answered.
    caller: Option<Caller>,
}

impl Group {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Adds an operation.
    pub(crate) fn join<T: Typed>(&mut self, operation: &T, deadline: Instant, caller: Caller) {
        let before = self.frames.len();
        let is_part = operation.write_frame(&mut self.frames);
        let len = self.frames.len() - before;
        self.members.push(Member { len, is_part, deadline, caller: Some(caller) });
    }

    /// Takes out members whose deadline has come, and tells them so, and those whose callers have gone.
    pub(crate) fn take_back(&mut self, now: Instant) {
        if self.members.iter().all(|member| member.is_wanted(now)) {
            return;
        }
        let frames = std::mem::take(&mut self.frames);
        let mut rest = &frames[..];
        self.members.retain_mut(|member| {
            let (own, others) = rest.split_at(member.len);
            rest = others;
            let is_wanted = member.is_wanted(now);
            if is_wanted {
                self.frames.extend_from_slice(own);
            } else {
                member.lose(false, Cause::Late);
            }
            is_wanted
        });
    }

    /// The earliest deadline.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.members.iter().map(|member| member.deadline).min()
    }

    /// Tells all members that they were not sent.
    pub(crate) fn fail(&mut self, cause: &Cause) {
        for mut member in self.members.drain(..) {
            member.lose(false, cause.clone());
        }
    }

    /// Writes it to `out`, to be answered as the flight says. Members share commands if it `merges`.
    pub(crate) fn launch(
        &mut self,
        kind: BatchKind,
        merges: bool,
        permit: Permit,
        out: &mut Vec<u8>,
    ) -> Flight {
        let mut rest = &self.frames[..];
        let mut at = 0;
        while at < self.members.len() {
            let run = run_at(&self.members, at, merges);
            let len = self.members[at..at + run].iter().map(|member| member.len).sum();
            let (own, others) = rest.split_at(len);
            if self.members[at].is_part {
                write_header(kind, run, out);
            }
            out.extend_from_slice(own);
            (rest, at) = (others, at + run);
        }
        recycle(&mut self.frames);
        // The next group will be as large as this one.
        let next = Vec::with_capacity(self.members.len());
        let members = std::mem::replace(&mut self.members, next);
        Flight { kind, merges, members, answered: 0, apart: 0, permit: Some(permit), failure: None }
    }
}

/// How many members from `at` on share a command.
fn run_at(members: &[Member], at: usize, merges: bool) -> usize {
    if !merges || !members[at].is_part {
        return 1;
    }
    members[at..].iter().take_while(|member| member.is_part).count()
}

/// A group that was sent.
pub(crate) struct Flight {
    kind: BatchKind,
    merges: bool,
    members: Vec<Member>,
    /// How many of them have got their replies.
    answered: usize,
    /// How many of them a shared command could not answer, or would not have.
    apart: usize,
    permit: Option<Permit>,
    /// The first error reply.
    failure: Option<Error>,
}

impl Flight {
    pub(crate) fn kind(&self) -> BatchKind {
        self.kind
    }

    /// Takes the next reply; says how many operations it answers.
    pub(crate) fn reply(&mut self, reply: Value) -> usize {
        let at = self.answered;
        let run = run_at(&self.members, at, self.merges);
        self.answered += run;
        if let Value::ServerError(error) = &reply {
            self.failure.get_or_insert_with(|| server_error(error));
        }
        match reply {
            reply if run == 1 => self.tell_one(at, reply),
            Value::Array(values) if self.kind == BatchKind::Get && values.len() == run => {
                values.into_iter().zip(at..).for_each(|(value, at)| self.tell_read(at, value));
            }
            Value::Okay if self.kind == BatchKind::Set => {
                self.members[at..at + run].iter_mut().for_each(|member| member.tell(Ok(Value::Okay)));
            }
            Value::ServerError(error) => self.tell_error(at, run, &error),
            _ => self.members[at..at + run].iter_mut().for_each(|member| member.lose(true, Cause::Protocol)),
        }
        if self.is_over()
            && let Some(permit) = self.permit.take()
        {
            permit.finish(&self.failure.take().map_or(Ok(()), Err));
        }
        run
    }

    /// Whether no more replies are to come.
    pub(crate) fn is_over(&self) -> bool {
        self.answered == self.members.len()
    }

    /// Share of the members that do better on their own.
    pub(crate) fn share_apart(&self) -> f32 {
        self.apart as f32 / self.members.len().max(1) as f32
    }

    /// Tells members whose deadline has come. Once nobody waits any more, so much is known of the endpoint, too.
    pub(crate) fn expire(&mut self, now: Instant) {
        let rest = &mut self.members[self.answered..];
        rest.iter_mut().filter(|member| member.is_late(now)).for_each(|late| late.lose(true, Cause::Late));
        if rest.iter().all(|member| member.caller.is_none()) {
            self.finish(true, &Cause::Late);
        }
    }

    /// The earliest deadline of those who wait.
    pub(crate) fn due(&self) -> Option<Instant> {
        let waiting = self.members[self.answered..].iter().filter(|member| member.caller.is_some());
        waiting.map(|member| member.deadline).min()
    }

    /// Tells those who wait that there will be no answer.
    pub(crate) fn fail(&mut self, is_sent: bool, cause: &Cause) {
        for member in &mut self.members[self.answered..] {
            member.lose(is_sent, cause.clone());
        }
        self.finish(is_sent, cause);
    }

    fn finish(&mut self, is_sent: bool, cause: &Cause) {
        if let Some(permit) = self.permit.take() {
            permit.finish::<()>(&Err(Lost::new(is_sent, cause.clone()).into()));
        }
    }

    fn tell_one(&mut self, at: usize, reply: Value) {
        let is_apart = match &reply {
            Value::Nil => true,
            Value::ServerError(error) => may_be_of_one(error),
            _ => false,
        };
        // With others it would have been asked again, or would have spoilt their command.
        self.apart += usize::from(is_apart && self.members[at].is_part);
        self.members[at].tell(Ok(reply));
    }

    /// `MGET` answers nil for a key of another type as for one that is absent.
    fn tell_read(&mut self, at: usize, value: Value) {
        if value == Value::Nil {
            self.tell_apart(at);
        } else {
            self.members[at].tell(Ok(value));
        }
    }

    /// A shared command that was refused did not run. What may be the fault of one member alone, or of sharing, is found
    /// out by asking each for itself.
    fn tell_error(&mut self, at: usize, run: usize, error: &ServerError) {
        let is_apart = may_be_of_one(error);
        for at in at..at + run {
            if is_apart {
                self.tell_apart(at);
            } else {
                self.members[at].tell(Ok(Value::ServerError(error.clone())));
            }
        }
    }

    fn tell_apart(&mut self, at: usize) {
        self.apart += 1;
        self.members[at].lose(true, Cause::Apart);
    }
}

impl Member {
    fn is_late(&self, now: Instant) -> bool {
        self.caller.is_some() && self.deadline <= now
    }

    fn is_wanted(&self, now: Instant) -> bool {
        self.deadline > now && self.caller.as_ref().is_some_and(|caller| !caller.is_gone())
    }

    fn tell(&mut self, answer: Answer) {
        if let Some(caller) = self.caller.take() {
            caller.tell(answer);
        }
    }

    fn lose(&mut self, is_sent: bool, cause: Cause) {
        self.tell(Err(Lost::new(is_sent, cause)));
    }
}

/// Whether an error may lie in one of several keys, or in their being together: the ACL forbids one of them, they are of
/// different slots of a server that is a cluster's, a proxy does not know the command.
fn may_be_of_one(error: &ServerError) -> bool {
    let error = server_error(error);
    error.kind() == ErrorKind::Denied || error.class() == Class::Reply
}
