//! Commands that must not travel over a connection that others share.

use redis::{Arg, Cmd};

use crate::error::{Class, Error, ErrorKind, Result};

/// Refuses a command that would change the shared connection for everybody, or block it.
///
/// # Errors
/// `Unsupported`, naming the command and the way out.
#[inline]
pub(crate) fn refuse_stateful(command: &Cmd) -> Result<()> {
    let mut arguments = command.args_iter();
    let Some(Arg::Simple(name)) = arguments.next() else { return Ok(()) };
    // The first letter rules out most commands with one comparison.
    match name.first().map(u8::to_ascii_uppercase) {
        Some(
            b'A' | b'B' | b'C' | b'D' | b'E' | b'H' | b'M' | b'P' | b'Q' | b'R' | b'S' | b'U' | b'W' | b'X',
        ) => judge(command, name, arguments),
        _ => Ok(()),
    }
}

/// Refuses a command after which messages nobody asked for arrive among the replies. No connection but a
/// subscription's can tell the two apart.
///
/// # Errors
/// `Unsupported`, naming the way out.
pub(crate) fn refuse_subscribing(command: &Cmd) -> Result<()> {
    match command.args_iter().next() {
        Some(Arg::Simple(name)) if is_one_of(name, SUBSCRIBING) => {
            refuse("turns the connection into a subscriber: use subscribe()")
        }
        Some(Arg::Simple(name)) if is_one_of(name, STREAMING) => {
            refuse("is answered without end, which no connection here is made for")
        }
        _ => Ok(()),
    }
}

/// Whether a command leaves its connection other than it found it.
pub(crate) fn alters_connection(command: &Cmd) -> bool {
    let mut arguments = command.args_iter();
    let Some(Arg::Simple(name)) = arguments.next() else { return false };
    is_one_of(name, STATEFUL) || is_client_setting(name, arguments.next())
}

fn judge<'a>(command: &Cmd, name: &[u8], mut arguments: impl Iterator<Item = Arg<&'a [u8]>>) -> Result<()> {
    refuse_subscribing(command)?;
    if is_one_of(name, BLOCKING) {
        return refuse("blocks its connection: use a dedicated one");
    }
    if is_one_of(name, &["XREAD", "XREADGROUP"]) && arguments.any(|argument| word(&argument, &["BLOCK"])) {
        return refuse("blocks its connection with BLOCK: use a dedicated one");
    }
    if is_one_of(name, STATEFUL) || is_client_setting(name, arguments.next()) {
        return refuse("changes the connection, which others share: use a dedicated one");
    }
    Ok(())
}

fn is_client_setting(name: &[u8], sub: Option<Arg<&[u8]>>) -> bool {
    is_one_of(name, &["CLIENT"]) && sub.is_some_and(|sub| word(&sub, CLIENT))
}

fn is_one_of(name: &[u8], words: &[&str]) -> bool {
    words.iter().any(|word| name.eq_ignore_ascii_case(word.as_bytes()))
}

const BLOCKING: &[&str] = &[
    "BLPOP",
    "BRPOP",
    "BLMOVE",
    "BLMPOP",
    "BRPOPLPUSH",
    "BZPOPMIN",
    "BZPOPMAX",
    "BZMPOP",
    "WAIT",
    "WAITAOF",
];
const STATEFUL: &[&str] = &[
    "AUTH",
    "HELLO",
    "SELECT",
    "RESET",
    "QUIT",
    "MULTI",
    "EXEC",
    "DISCARD",
    "WATCH",
    "UNWATCH",
    "ASKING",
    "READONLY",
    "READWRITE",
];
const STREAMING: &[&str] = &["MONITOR", "SYNC", "PSYNC"];
const SUBSCRIBING: &[&str] =
    &["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"];
const CLIENT: &[&str] = &["REPLY", "TRACKING", "CACHING", "NO-EVICT", "NO-TOUCH", "SETNAME"];

fn word(argument: &Arg<&[u8]>, words: &[&str]) -> bool {
    matches!(argument, Arg::Simple(bytes) if is_one_of(bytes, words))
}

fn refuse(why: &'static str) -> Result<()> {
    Err(Error::new(ErrorKind::Unsupported, Class::NotSent, format!("the command {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> bool {
        let mut words = line.split(' ');
        let mut command = redis::cmd(words.next().expect("name"));
        for word in words {
            command.arg(word);
        }
        refuse_stateful(&command).is_err()
    }

    #[test]
    fn commands_that_block_or_change_the_connection_are_refused() {
        for line in [
            "BLPOP k 0",
            "blpop k 0",
            "WAIT 1 0",
            "XREAD BLOCK 0 STREAMS s $",
            "SELECT 1",
            "MULTI",
            "WATCH k",
            "SUBSCRIBE c",
            "CLIENT REPLY OFF",
            "client tracking on",
            "QUIT",
            "MONITOR",
        ] {
            assert!(refused(line), "{line}");
        }
    }

    #[test]
    fn ordinary_commands_pass() {
        for line in [
            "GET k",
            "SET k v",
            "BITCOUNT k",
            "EVAL s 0",
            "XREAD STREAMS s 0",
            "CLIENT ID",
            "MGET a b",
            "PING",
            "SCAN 0",
            "RENAME a b",
            "WAITER",
            "HGETALL h",
        ] {
            assert!(!refused(line), "{line}");
        }
    }
}
