//! Operations of one key: how each is sent by itself, and what stands for it among others.

use std::time::Duration;

use redis::{Cmd, ServerError, Value};

use crate::error::Result;
use crate::mux::Expected;
use crate::observe::BatchKind;
use crate::options::{Condition, Expiry, SetOptions};
use crate::request::{Request, argument_bytes, as_error};

/// An operation of one reply that may travel in a group.
pub(crate) trait Typed: Sync {
    const KIND: BatchKind;

    /// Bytes of its arguments.
    fn bytes(&self) -> usize;

    /// Whether there is nothing in it that a server would answer.
    fn is_empty(&self) -> bool {
        false
    }

    /// Appends it as a command.
    fn write_alone(&self, out: &mut Vec<u8>);

    /// Appends what stands for it in a group; true for a part of a command that others can share, false for a whole
    /// command.
    fn write_frame(&self, out: &mut Vec<u8>) -> bool {
        self.write_alone(out);
        false
    }
}

/// `GET`.
pub(crate) struct Get<'a>(pub(crate) &'a [u8]);

/// `SET`.
pub(crate) struct Set<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) options: SetOptions,
}

impl Get<'_> {
    pub(crate) fn command(&self) -> Cmd {
        let mut command = Cmd::with_capacity(2, self.0.len() + 3);
        command.arg("GET").arg(self.0);
        command
    }
}

impl Set<'_> {
    /// `SET key value [PX n | KEEPTTL] [NX | XX]`.
    pub(crate) fn command(&self) -> Cmd {
        let mut command = Cmd::with_capacity(6, self.bytes() + 32);
        command.arg("SET").arg(self.key).arg(self.value);
        let mut number = itoa::Buffer::new();
        for word in self.words(&mut number) {
            command.arg(word);
        }
        command
    }

    /// What stands behind the value.
    fn words<'n>(&self, number: &'n mut itoa::Buffer) -> impl Iterator<Item = &'n str> + Clone {
        let (expiry, time) = match self.options.expiry {
            Expiry::Never => (None, None),
            Expiry::Keep => (Some("KEEPTTL"), None),
            Expiry::After(ttl) => (Some("PX"), Some(number.format(millis(ttl)))),
        };
        let condition = match self.options.condition {
            Condition::Always => None,
            Condition::IfAbsent => Some("NX"),
            Condition::IfPresent => Some("XX"),
        };
        [expiry, time, condition].into_iter().flatten()
    }
}

/// Begins a command that `count` operations share.
pub(crate) fn write_header(kind: BatchKind, count: usize, out: &mut Vec<u8>) {
    let (one, many, parts) = match kind {
        BatchKind::Get => (b"*2\r\n$3\r\nGET\r\n", "$4\r\nMGET\r\n", 1),
        BatchKind::Set => (b"*3\r\n$3\r\nSET\r\n", "$4\r\nMSET\r\n", 2),
    };
    if count == 1 {
        return out.extend_from_slice(one);
    }
    write_number(b'*', 1 + count * parts, out);
    out.extend_from_slice(many.as_bytes());
}

impl Typed for Get<'_> {
    const KIND: BatchKind = BatchKind::Get;

    fn bytes(&self) -> usize {
        self.0.len()
    }

    fn write_alone(&self, out: &mut Vec<u8>) {
        write_header(Self::KIND, 1, out);
        self.write_frame(out);
    }

    fn write_frame(&self, out: &mut Vec<u8>) -> bool {
        write_text(self.0, out);
        true
    }
}

impl Typed for Set<'_> {
    const KIND: BatchKind = BatchKind::Set;

    fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }

    fn write_alone(&self, out: &mut Vec<u8>) {
        let mut number = itoa::Buffer::new();
        let words = self.words(&mut number);
        write_number(b'*', 3 + words.clone().count(), out);
        for text in [b"SET", self.key, self.value].into_iter().chain(words.map(str::as_bytes)) {
            write_text(text, out);
        }
    }

    fn write_frame(&self, out: &mut Vec<u8>) -> bool {
        let is_plain = self.options == SetOptions::default();
        if is_plain {
            write_text(self.key, out);
            write_text(self.value, out);
        } else {
            self.write_alone(out);
        }
        is_plain
    }
}

impl Typed for Cmd {
    const KIND: BatchKind = BatchKind::Set;

    fn bytes(&self) -> usize {
        self.args_iter().map(argument_bytes).sum()
    }

    fn is_empty(&self) -> bool {
        self.args_iter().len() == 0
    }

    fn write_alone(&self, out: &mut Vec<u8>) {
        self.write_packed_command(out);
    }
}

/// One that travels by itself.
impl<T: Typed> Request for &T {
    type Reply = Value;

    fn bytes(&self) -> usize {
        (**self).bytes()
    }

    fn is_empty(&self) -> bool {
        (**self).is_empty()
    }

    fn write_to(&self, out: &mut Vec<u8>) {
        self.write_alone(out);
    }

    fn expects(&self) -> Expected {
        Expected::ONE
    }

    fn reply(&self, answer: Value) -> Result<Value> {
        Ok(answer)
    }

    fn errors(reply: &Value) -> impl Iterator<Item = &ServerError> {
        as_error(reply).into_iter()
    }
}

/// Whole milliseconds; [`SetOptions::validate`] has seen to it that they fit.
fn millis(ttl: Duration) -> u64 {
    ttl.as_millis() as u64
}

fn write_text(text: &[u8], out: &mut Vec<u8>) {
    write_number(b'$', text.len(), out);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn write_number(kind: u8, number: usize, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(operation: &impl Typed) -> Vec<u8> {
        let mut out = Vec::new();
        operation.write_alone(&mut out);
        out
    }

    #[test]
    fn operations_are_the_commands_of_redis_rs() {
        assert_eq!(alone(&Get(b"k\r\n")), redis::cmd("GET").arg("k\r\n").get_packed_command());
        let once =
            SetOptions::new().with_ttl(Duration::from_millis(1_500)).with_condition(Condition::IfAbsent);
        let keep = SetOptions::new().with_expiry(Expiry::Keep).with_condition(Condition::IfPresent);
        let texts: [(SetOptions, &[&str]); 3] =
            [(SetOptions::new(), &[]), (once, &["PX", "1500", "NX"]), (keep, &["KEEPTTL", "XX"])];
        for (options, words) in texts {
            let command = redis::cmd("SET").arg("key").arg("").arg(words).get_packed_command();
            assert_eq!(alone(&Set { key: b"key", value: b"", options }), command);
        }
    }

    #[test]
    fn a_group_of_parts_is_one_command() {
        let mut out = Vec::new();
        write_header(BatchKind::Set, 2, &mut out);
        for key in ["a", "b"] {
            let set = Set { key: key.as_bytes(), value: b"x", options: SetOptions::new() };
            assert!(set.write_frame(&mut out));
        }
        assert_eq!(out, redis::cmd("MSET").arg(&["a", "x", "b", "x"]).get_packed_command());
    }
}
