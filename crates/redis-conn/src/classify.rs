//! From what went wrong, and how far the operation had come, to an [`Error`].

use redis::{RedisError, ServerError};

use crate::error::{Class, Error, ErrorKind, Redirect};

/// How far an operation had come when its connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendState {
    /// Proven: no byte of it left this process, and none will.
    NotSent,
    /// It was handed to the socket layer.
    Unknown,
}

/// What a server's answer tells the supervisor about the connection it came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// This is not the master (any more).
    WrongRole,
    /// The server no longer accepts how we authenticated.
    Auth,
}

/// The one classifier: an error of redis-rs plus the send state.
pub(crate) fn classify(error: RedisError, sent: SendState) -> Error {
    if let Some(code) = error.code() {
        return by_code(code, error.detail());
    }
    match error.kind() {
        redis::ErrorKind::Io => lost(sent).with_source(error),
        redis::ErrorKind::Parse => {
            Error::new(ErrorKind::Protocol, Class::Ambiguous, "the reply is not valid RESP")
        }
        redis::ErrorKind::UnexpectedReturnType => {
            Error::new(ErrorKind::Protocol, Class::Ambiguous, "the reply is of another type than expected")
        }
        redis::ErrorKind::AuthenticationFailed => {
            Error::new(ErrorKind::Auth, Class::Fatal, "authentication failed")
        }
        redis::ErrorKind::Client => {
            Error::new(ErrorKind::Unsupported, Class::NotSent, "redis-rs refused to send the command")
        }
        _ => Error::new(ErrorKind::Protocol, Class::Ambiguous, "redis-rs reported an unknown error"),
    }
}

/// The error for an error reply of the server.
pub(crate) fn server_error(error: &ServerError) -> Error {
    by_code(error.code(), error.details())
}

/// What an error reply means for the connection.
pub(crate) fn trouble(error: &ServerError) -> Option<Trouble> {
    match effective_code(error.code(), error.details()) {
        "READONLY" | "MASTERDOWN" | "UNBLOCKED" => Some(Trouble::WrongRole),
        "NOAUTH" | "WRONGPASS" => Some(Trouble::Auth),
        _ => None,
    }
}

/// The connection ended before the answer.
pub(crate) fn lost(sent: SendState) -> Error {
    match sent {
        SendState::NotSent => {
            Error::not_sent(ErrorKind::Unavailable, "the connection broke before anything was sent")
        }
        SendState::Unknown => {
            Error::new(ErrorKind::Disconnected, Class::Ambiguous, "after sending; the command may have run")
        }
    }
}

fn by_code(code: &str, detail: Option<&str>) -> Error {
    let code = effective_code(code, detail);
    let (kind, class, context) = entry(code);
    let context = match detail.and_then(known_sentence) {
        Some(sentence) => format!("{code}: {sentence}").into(),
        None if context.is_empty() => std::borrow::Cow::Owned(code.to_owned()),
        None => std::borrow::Cow::Borrowed(context),
    };
    let redirect = (kind == ErrorKind::Redirected).then(|| redirect(code, detail?)).flatten();
    Error::new(kind, class, context).with_code(code.to_owned()).with_redirect(redirect)
}

/// `<slot> <host>:<port>`; an IPv6 host stands there without brackets.
fn redirect(code: &str, detail: &str) -> Option<Redirect> {
    let (host, port) = detail.split(' ').nth(1)?.rsplit_once(':')?;
    Some(Redirect { host: host.to_owned(), port: port.parse().ok()?, asking: code == "ASK" })
}

/// Servers before 7.0 wrap the refusal a script met into `ERR ... -READONLY ...`.
fn effective_code<'a>(code: &'a str, detail: Option<&str>) -> &'a str {
    match detail {
        Some(detail) if code == "ERR" && detail.contains("-READONLY ") => "READONLY",
        _ => code,
    }
}

fn entry(code: &str) -> (ErrorKind, Class, &'static str) {
    use ErrorKind as Kind;
    match code {
        "LOADING" => (Kind::NotReady, Class::Refused, "LOADING: reading its data from disk"),
        "BUSY" => (Kind::NotReady, Class::Refused, "BUSY: running a script for too long"),
        "MASTERDOWN" => (Kind::NotReady, Class::Refused, "MASTERDOWN: a replica cut off from its master"),
        "CLUSTERDOWN" => (Kind::NotReady, Class::Refused, "CLUSTERDOWN: the cluster does not serve the slot"),
        "TRYAGAIN" => (Kind::NotReady, Class::Refused, "TRYAGAIN: the keys are being moved"),
        "NOREPLICAS" => (Kind::NotReady, Class::Refused, "NOREPLICAS: too few replicas for a write"),
        "NOQUORUM" | "INPROG" | "NOGOODSLAVE" => {
            (Kind::NotReady, Class::Refused, "the sentinels cannot fail over now")
        }
        "READONLY" => (Kind::ReadOnly, Class::WrongRole, "READONLY: the node is a replica"),
        "UNBLOCKED" => (Kind::ReadOnly, Class::WrongRole, "UNBLOCKED: the node became a replica"),
        "MOVED" => (Kind::Redirected, Class::WrongRole, "MOVED: another node serves the slot"),
        "ASK" => (Kind::Redirected, Class::WrongRole, "ASK: the key is on its way to another node"),
        "OOM" => (Kind::ServerFull, Class::Fatal, "OOM: maxmemory is reached"),
        "MISCONF" => (Kind::ServerFull, Class::Fatal, "MISCONF: the server cannot persist"),
        "NOAUTH" => (Kind::Auth, Class::Fatal, "NOAUTH: the server wants a password"),
        "WRONGPASS" => (Kind::Auth, Class::Fatal, "WRONGPASS: wrong user or password, or user off"),
        "NOPERM" => (Kind::Denied, Class::Fatal, "NOPERM: the ACL forbids the command, a key or a channel"),
        "WRONGTYPE" => (Kind::WrongType, Class::Reply, "WRONGTYPE"),
        "NOSCRIPT" => (Kind::NoScript, Class::Reply, "NOSCRIPT"),
        "EXECABORT" => (Kind::Aborted, Class::Reply, "EXECABORT: a command of it was refused"),
        "CROSSSLOT" => (Kind::CrossSlot, Class::Reply, "CROSSSLOT"),
        _ => (Kind::Reply, Class::Reply, ""),
    }
}

/// Error texts that quote nothing of the command, and so may be repeated.
const KNOWN: &[&str] = &[
    "syntax error",
    "no such key",
    "value is not an integer or out of range",
    "value is not a valid float",
    "increment or decrement would overflow",
    "increment would produce NaN or Infinity",
    "index out of range",
    "offset is out of range",
    "string exceeds maximum allowed size",
    "invalid expire time",
    "invalid cursor",
    "DB index is out of range",
    "max number of clients reached",
    "Protocol error",
    "SELECT is not allowed in cluster mode",
];

fn known_sentence(detail: &str) -> Option<&'static str> {
    KNOWN.iter().find(|sentence| detail.starts_with(**sentence)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_message_that_quotes_arguments_is_not_repeated() {
        let error = by_code("ERR", Some("unknown command 'c4nary', with args beginning with: 'c4nary'"));
        assert!(!format!("{error} {error:?}").contains("c4nary"));
        assert_eq!((error.kind(), error.code()), (ErrorKind::Reply, Some("ERR")));
    }

    #[test]
    fn a_fixed_server_message_is_repeated() {
        let error = by_code("ERR", Some("increment or decrement would overflow"));
        assert_eq!(error.context(), "ERR: increment or decrement would overflow");
    }

    #[test]
    fn readonly_wrapped_by_an_old_server_is_recognised() {
        let error = by_code(
            "ERR",
            Some("Error running script (call to f_1): @user_script:1: -READONLY You can't write"),
        );
        assert_eq!((error.kind(), error.class()), (ErrorKind::ReadOnly, Class::WrongRole));
    }

    #[test]
    fn redirects_say_where_to_go() {
        let to = |code, detail| {
            let redirect = by_code(code, Some(detail)).redirect().cloned()?;
            Some((redirect.host, redirect.port, redirect.asking))
        };
        assert_eq!(to("MOVED", "3999 127.0.0.1:6381"), Some(("127.0.0.1".to_owned(), 6381, false)));
        assert_eq!(to("ASK", "3999 ::1:6381"), Some(("::1".to_owned(), 6381, true)));
        assert_eq!(to("MOVED", "3999 :6381"), Some((String::new(), 6381, false)));
        assert_eq!(to("MOVED", "nonsense"), None);
    }

    #[test]
    fn a_lost_connection_is_ambiguous_unless_nothing_was_sent() {
        let broken = || RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(classify(broken(), SendState::Unknown).class(), Class::Ambiguous);
        assert_eq!(classify(broken(), SendState::NotSent).class(), Class::NotSent);
    }
}
