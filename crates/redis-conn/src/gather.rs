//! Commands that go to several nodes: divided by slot, and their replies put together.

use redis::{Cmd, Value};

use crate::error::Result;
use crate::reply::unexpected;
use crate::routing::{Gather, divided_args};

/// A command of many keys, as one command for each slot.
pub(crate) struct Parts {
    parts: Vec<Part>,
    keys: usize,
}

struct Part {
    slot: u16,
    command: Cmd,
    /// Which keys of the whole command it has.
    keys: Vec<usize>,
}

impl Parts {
    /// Divides `command`, whose keys stand `step` arguments apart. The parts keep the order of the keys.
    pub(crate) fn of(command: &Cmd, step: usize) -> Self {
        let name = crate::routing::name(command);
        let mut by_slot = std::collections::HashMap::new();
        let mut parts: Vec<Part> = Vec::new();
        let arguments = divided_args(command, step);
        for (index, (slot, group)) in arguments.iter().enumerate() {
            let at = *by_slot.entry(*slot).or_insert_with(|| {
                parts.push(Part { slot: *slot, command: Cmd::new().arg(name).clone(), keys: Vec::new() });
                parts.len() - 1
            });
            let part = &mut parts[at];
            part.keys.push(index);
            for argument in group {
                part.command.arg(*argument);
            }
        }
        Self { parts, keys: arguments.len() }
    }

    /// The parts with their slots.
    pub(crate) fn commands(&self) -> impl Iterator<Item = (u16, &Cmd)> {
        self.parts.iter().map(|part| (part.slot, &part.command))
    }

    /// Makes one reply out of those to the parts, given in their order.
    ///
    /// # Errors
    /// `Protocol` when a reply has not the shape its command has.
    pub(crate) fn join(&self, gather: Gather, replies: Vec<Value>) -> Result<Value> {
        if gather != Gather::ByKey {
            return join(gather, replies);
        }
        let mut whole = vec![Value::Nil; self.keys];
        for (part, reply) in self.parts.iter().zip(replies) {
            match reply {
                Value::Array(values) if values.len() == part.keys.len() => {
                    part.keys.iter().zip(values).for_each(|(index, value)| whole[*index] = value);
                }
                error @ Value::ServerError(_) => return Ok(error),
                _ => return Err(unexpected()),
            }
        }
        Ok(Value::Array(whole))
    }
}

/// Makes one reply out of several; an error reply among them is the whole's.
///
/// # Errors
/// `Protocol` when a reply has not the shape its command has.
pub(crate) fn join(gather: Gather, mut replies: Vec<Value>) -> Result<Value> {
    if let Some(failed) = replies.iter().position(|reply| matches!(reply, Value::ServerError(_))) {
        return Ok(replies.swap_remove(failed));
    }
    match gather {
        Gather::Same => replies.into_iter().next().ok_or_else(unexpected),
        Gather::Sum => {
            let numbers = replies.iter().map(|reply| match reply {
                Value::Int(number) => Ok(*number),
                _ => Err(unexpected()),
            });
            numbers.sum::<Result<i64>>().map(Value::Int)
        }
        Gather::Concat | Gather::ByKey => {
            let arrays = replies.into_iter().map(elements).collect::<Result<Vec<_>>>()?;
            Ok(Value::Array(arrays.into_iter().flatten().collect()))
        }
        Gather::All => {
            let arrays = replies.into_iter().map(elements).collect::<Result<Vec<_>>>()?;
            let length = arrays.iter().map(Vec::len).min().unwrap_or(0);
            let all = |index: usize| arrays.iter().all(|array| array[index] == Value::Int(1));
            Ok(Value::Array((0..length).map(|index| Value::Int(i64::from(all(index)))).collect()))
        }
    }
}

fn elements(reply: Value) -> Result<Vec<Value>> {
    match reply {
        Value::Array(values) | Value::Set(values) => Ok(values),
        _ => Err(unexpected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_the_order_of_the_keys() {
        let mut command = redis::cmd("mget");
        command.arg("a").arg("b").arg("{a}2").arg("a");
        let parts = Parts::of(&command, 1);
        let sizes: Vec<usize> = parts.commands().map(|(_, command)| command.args_iter().len()).collect();
        assert_eq!(sizes, [4, 2]);
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let replies =
            vec![Value::Array(vec![text("A"), Value::Nil, text("A")]), Value::Array(vec![text("B")])];
        let whole = parts.join(Gather::ByKey, replies).unwrap();
        assert_eq!(whole, Value::Array(vec![text("A"), text("B"), Value::Nil, text("A")]));
    }

    #[test]
    fn replies_come_together_as_their_command_needs() {
        let int = Value::Int;
        assert_eq!(join(Gather::Sum, vec![int(2), int(3)]).unwrap(), int(5));
        assert_eq!(join(Gather::Same, vec![Value::Okay, Value::Okay]).unwrap(), Value::Okay);
        let both = vec![Value::Array(vec![int(1), int(1)]), Value::Array(vec![int(1), int(0)])];
        assert_eq!(join(Gather::All, both).unwrap(), Value::Array(vec![int(1), int(0)]));
        let both = vec![Value::Array(vec![int(1)]), Value::Array(vec![int(2)])];
        assert_eq!(join(Gather::Concat, both).unwrap(), Value::Array(vec![int(1), int(2)]));
        assert!(join(Gather::Sum, vec![Value::Nil]).is_err());
    }
}
