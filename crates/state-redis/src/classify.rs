//! What a failure of the connection means for the policy.

use state_resilience::Class;

/// The policy's class of `error`.
pub(crate) fn classify(error: &redis_conn::Error) -> Class {
    use redis_conn::{Class as Fate, ErrorKind};
    match (error.kind(), error.class()) {
        // Guards below refused it: repeating would only press on.
        (ErrorKind::Rejected | ErrorKind::Overloaded, _) => Class::Shed,
        (ErrorKind::Closed, _) => Class::Fatal,
        // The master has the write; a repeat brings no replica back.
        (ErrorKind::NotReplicated, _) => Class::Fatal,
        (_, Fate::NotSent) if !may_pass(error.kind()) => Class::Fatal,
        (_, Fate::NotSent) => Class::NotSent,
        (_, Fate::Refused) => refused(error.code()),
        (_, Fate::WrongRole) => Class::Misdirected,
        (_, Fate::Ambiguous) => Class::Ambiguous,
        (_, Fate::Reply) => Class::Rejected,
        (_, Fate::Fatal) => Class::Fatal,
        // A class of a later version: nothing is known, so the worst is assumed.
        _ => Class::Ambiguous,
    }
}

/// Whether what kept a command from being sent may pass by itself.
fn may_pass(kind: redis_conn::ErrorKind) -> bool {
    use redis_conn::ErrorKind::{Disconnected, NotReady, ReadOnly, Redirected, Timeout, Unavailable};
    matches!(kind, Unavailable | Timeout | Disconnected | NotReady | ReadOnly | Redirected)
}

/// The server serves nothing now, or just not this.
fn refused(code: Option<&str>) -> Class {
    match code {
        Some("LOADING" | "MASTERDOWN" | "CLUSTERDOWN") => Class::Unavailable { wait: None },
        _ => Class::Deferred { wait: None },
    }
}
