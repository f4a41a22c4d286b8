//! Which node of a cluster a command is for, read off its name and its keys.

use redis::{Arg, Cmd, Pipeline};

use crate::error::{Class, Error, ErrorKind, Result};
use crate::slots::slot_of;

#[cfg(test)]
mod tests;

/// Where a command has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// To the master of this slot.
    Slot(u16),
    /// To several masters: its keys may live in different slots, and it can be divided among them.
    Divided(Division),
    /// To any master: it has no key, and each answers the same.
    AnyMaster,
    /// To all masters.
    AllMasters(Gather),
}

/// How a command of many keys is divided: arguments for each key, and how the replies come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Division {
    /// Arguments a key, itself included.
    pub(crate) step: usize,
    pub(crate) gather: Gather,
}

/// How the replies of several nodes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gather {
    /// The first one, once all have succeeded.
    Same,
    /// Numbers are added up.
    Sum,
    /// Arrays are joined.
    Concat,
    /// Arrays are put back into the order of the keys.
    ByKey,
    /// Arrays of 0 and 1: 1 where all nodes said so.
    All,
}

impl Route {
    /// The route of one command.
    ///
    /// # Errors
    /// `Unsupported` for commands whose meaning is bound to one node.
    pub(crate) fn of(cmd: &Cmd) -> Result<Self> {
        let args = Args(cmd);
        let mut buffer = [0; 24];
        let name = args.name(&mut buffer).ok_or_else(|| unsupported("a command without a name"))?;
        if let Some(route) = keyless(name, args)? {
            return Ok(route);
        }
        let (step, gather) = match name {
            b"MGET" => (1, Gather::ByKey),
            b"DEL" | b"UNLINK" | b"EXISTS" | b"TOUCH" => (1, Gather::Sum),
            b"MSET" => (2, Gather::Same),
            _ => return Ok(first_key(name, args).map_or(Self::AnyMaster, |key| Self::Slot(slot_of(key)))),
        };
        Ok(match args.one_slot(step) {
            Some(slot) => Self::Slot(slot),
            None => Self::Divided(Division { step, gather }),
        })
    }

    /// The slot all members of a transaction belong to; `None` when none of them has a key.
    ///
    /// # Errors
    /// `CrossSlot` when they have keys of different slots.
    pub(crate) fn of_transaction(pipeline: &Pipeline) -> Result<Option<u16>> {
        let mut common = None;
        for cmd in pipeline.cmd_iter() {
            match Self::of(cmd)? {
                Self::Slot(slot) if common.is_none_or(|known| known == slot) => common = Some(slot),
                Self::AnyMaster => {}
                _ => {
                    return Err(Error::new(
                        ErrorKind::CrossSlot,
                        Class::NotSent,
                        "a transaction has to stay in one slot; give its keys a common hash tag",
                    ));
                }
            }
        }
        Ok(common)
    }
}

/// A command's name, as it was given.
pub(crate) fn name(cmd: &Cmd) -> &[u8] {
    Args(cmd).at(0).unwrap_or_default()
}

/// The keys of a command that can be divided, each with its further arguments and its slot.
pub(crate) fn divided_args(cmd: &Cmd, step: usize) -> Vec<(u16, Vec<&[u8]>)> {
    let args: Vec<&[u8]> = Args(cmd).all().skip(1).collect();
    args.chunks(step).map(|group| (slot_of(group[0]), group.to_vec())).collect()
}

/// Routes of commands that name no key. `None`: look for one.
fn keyless(name: &[u8], args: Args<'_>) -> Result<Option<Route>> {
    Ok(Some(match name {
        b"SCAN" => return Err(unsupported("SCAN walks one node; use Conn::scan, which walks the cluster")),
        b"SELECT" => return Err(unsupported("a cluster has database 0 only")),
        b"DBSIZE" => Route::AllMasters(Gather::Sum),
        b"KEYS" => Route::AllMasters(Gather::Concat),
        b"FLUSHALL" | b"FLUSHDB" => Route::AllMasters(Gather::Same),
        b"SCRIPT" if args.is(1, b"EXISTS") => Route::AllMasters(Gather::All),
        b"SCRIPT" => Route::AllMasters(Gather::Same),
        b"FUNCTION"
            if ["LOAD", "DELETE", "FLUSH", "RESTORE"].iter().any(|verb| args.is(1, verb.as_bytes())) =>
        {
            Route::AllMasters(Gather::Same)
        }
        b"CONFIG" if args.is(1, b"SET") || args.is(1, b"RESETSTAT") => Route::AllMasters(Gather::Same),
        b"ACL" | b"ASKING" | b"AUTH" | b"BGREWRITEAOF" | b"BGSAVE" | b"CLIENT" | b"CLUSTER" | b"COMMAND"
        | b"CONFIG" | b"DEBUG" | b"DISCARD" | b"ECHO" | b"EXEC" | b"FAILOVER" | b"FUNCTION" | b"HELLO"
        | b"INFO" | b"LASTSAVE" | b"LATENCY" | b"LOLWUT" | b"MODULE" | b"MONITOR" | b"MULTI"
        | b"PFSELFTEST" | b"PING" | b"PSUBSCRIBE" | b"PSYNC" | b"PUBLISH" | b"PUBSUB" | b"PUNSUBSCRIBE"
        | b"QUIT" | b"RANDOMKEY" | b"READONLY" | b"READWRITE" | b"REPLCONF" | b"REPLICAOF" | b"RESET"
        | b"ROLE" | b"SAVE" | b"SHUTDOWN" | b"SLAVEOF" | b"SLOWLOG" | b"SUBSCRIBE" | b"SWAPDB" | b"SYNC"
        | b"TIME" | b"UNSUBSCRIBE" | b"UNWATCH" | b"WAIT" | b"WAITAOF" => Route::AnyMaster,
        _ => return Ok(None),
    }))
}

/// The first key. Commands not listed have it as their first argument, which is how Redis names keys unless
/// there is a reason; the list of reasons is checked against a server's own `COMMAND` table.
fn first_key<'a>(name: &[u8], args: Args<'a>) -> Option<&'a [u8]> {
    match name {
        b"MEMORY" => args.at(2).filter(|_| args.is(1, b"USAGE")),
        b"OBJECT" | b"XGROUP" | b"XINFO" | b"BITOP" | b"PFDEBUG" => args.at(2),
        b"EVAL" | b"EVALSHA" | b"EVAL_RO" | b"EVALSHA_RO" | b"FCALL" | b"FCALL_RO" => args.counted(2),
        b"LMPOP" | b"SINTERCARD" | b"ZDIFF" | b"ZINTER" | b"ZINTERCARD" | b"ZMPOP" | b"ZUNION" => {
            args.counted(1)
        }
        b"BLMPOP" | b"BZMPOP" => args.counted(2),
        b"XREAD" | b"XREADGROUP" => args.after(b"STREAMS"),
        b"MIGRATE" => args.at(3).filter(|key| !key.is_empty()).or_else(|| args.after(b"KEYS")),
        _ => args.at(1),
    }
}

/// A command's arguments; the name is argument 0.
#[derive(Clone, Copy)]
struct Args<'a>(&'a Cmd);

impl<'a> Args<'a> {
    fn all(self) -> impl Iterator<Item = &'a [u8]> {
        self.0.args_iter().map(|arg| match arg {
            Arg::Simple(bytes) => bytes,
            // A cursor is no key, whatever stands in it.
            _ => b"0",
        })
    }

    fn at(self, index: usize) -> Option<&'a [u8]> {
        self.all().nth(index)
    }

    fn is(self, index: usize, word: &[u8]) -> bool {
        self.at(index).is_some_and(|arg| arg.eq_ignore_ascii_case(word))
    }

    /// The name in upper case; a name longer than any command's comes back cut, and so matches none.
    fn name(self, buffer: &mut [u8; 24]) -> Option<&[u8]> {
        let name = self.at(0)?;
        let length = name.len().min(buffer.len());
        buffer[..length].copy_from_slice(&name[..length]);
        buffer[..length].make_ascii_uppercase();
        Some(&buffer[..length])
    }

    /// The key behind a number of keys at `index`, when that is not zero.
    fn counted(self, index: usize) -> Option<&'a [u8]> {
        self.at(index).filter(|count| *count != b"0")?;
        self.at(index + 1)
    }

    fn after(self, word: &[u8]) -> Option<&'a [u8]> {
        self.all().skip(1).skip_while(|arg| !arg.eq_ignore_ascii_case(word)).nth(1)
    }

    /// The slot of all keys where it is one and the same.
    fn one_slot(self, step: usize) -> Option<u16> {
        let mut slots = self.all().skip(1).step_by(step).map(slot_of);
        let first = slots.next()?;
        slots.all(|slot| slot == first).then_some(first)
    }
}

fn unsupported(why: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, Class::NotSent, why)
}
