//! Why an operation failed, and what that says about the server having run it.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::sync::Arc;

/// Why an operation failed.
///
/// [`kind`](Self::kind) says what the caller can do, [`class`](Self::class) what is known about the server
/// having run the operation, [`code`](Self::code) the server's own error code where it answered with one.
/// Nothing in it repeats a key, a value, a user name or a password; of a server's message only fixed, known
/// sentences are passed on, because the others may quote arguments.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    class: Class,
    code: Option<Cow<'static, str>>,
    redirect: Option<Redirect>,
    context: Cow<'static, str>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is wrong; the context names it. Correct the configuration.
    InvalidConfig,
    /// An argument is out of range; the context names it. Nothing was sent.
    InvalidInput,
    /// This server, topology or handle does not offer what was asked. Use another way; the context names it.
    Unsupported,
    /// There is no connection to the server at the moment. Repeat later: the supervisor keeps connecting.
    Unavailable,
    /// The connection broke while the operation was under way. See [`Class`] for whether it may have run.
    Disconnected,
    /// The deadline passed. See [`Class`] for whether the operation may have run.
    Timeout,
    /// Too much is in flight or waiting already. Send less, or raise the budget in the configuration.
    Overloaded,
    /// The endpoint gate (a circuit breaker, say) did not admit the operation.
    Rejected,
    /// The server does not accept the credentials. Correct or rotate them.
    Auth,
    /// The user may not do this. Extend its ACL rules.
    Denied,
    /// The server answers, but not now: loading, busy with a script, cut off from its master, mid-migration.
    NotReady,
    /// The node is a replica and refuses writes. The supervisor looks for the master.
    ReadOnly,
    /// Another node serves this key.
    Redirected,
    /// The server is out of memory or cannot persist, and refuses writes. An operator has to act.
    ServerFull,
    /// The key holds a value of another type.
    WrongType,
    /// The script is not known to the server. Load it, or send its source.
    NoScript,
    /// The transaction was aborted; none of it ran.
    Aborted,
    /// The keys of one command live in different slots of the cluster.
    CrossSlot,
    /// Any other error reply. See [`Error::code`].
    Reply,
    /// What the peer sent is no answer to what was asked.
    Protocol,
    /// The handle was closed.
    Closed,
}

/// What is known about the server having run a failed operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// No byte of it reached the server: repeating is always safe.
    NotSent,
    /// The server said "not now" and did not run it: wait, then repeating is safe.
    Refused,
    /// It was not run because this is not the node for it: repeating is safe once the right node is known.
    WrongRole,
    /// It may have run. Repeat only what can be repeated without harm.
    Ambiguous,
    /// It did not run, and will not without a change of configuration, rights or server state.
    Fatal,
    /// The server's answer to the command itself: it was understood, and repeating brings the same answer.
    Reply,
}

/// Where a cluster node says that a command belongs (`MOVED`, `ASK`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    /// Empty when it is the host of the node that answered.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// It belongs there for this once, and has to follow an `ASKING`.
    pub(crate) asking: bool,
}

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What is known about the server having run the operation.
    pub fn class(&self) -> Class {
        self.0.class
    }

    /// The first word of the server's error reply (`WRONGTYPE`, `LOADING`, `ERR` ...), `None` when the
    /// server did not answer with an error.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The particulars, in words.
    pub fn context(&self) -> &str {
        &self.0.context
    }

    /// Whether a repetition, at once or after waiting, cannot run the operation twice.
    pub fn is_safe_to_repeat(&self) -> bool {
        matches!(self.0.class, Class::NotSent | Class::Refused | Class::WrongRole)
    }

    /// The error of this crate inside of one that came through `redis::aio::ConnectionLike`; `None` when the
    /// error is one of redis-rs, such as an error reply of the server.
    pub fn from_redis(error: &redis::RedisError) -> Option<&Self> {
        // redis-rs hands out the shared pointer to its cause, not the cause.
        let shared =
            std::error::Error::source(error)?.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?;
        shared.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
    }

    pub(crate) fn new(kind: ErrorKind, class: Class, context: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            class,
            code: None,
            redirect: None,
            context: context.into(),
            source: None,
        }))
    }

    pub(crate) fn not_sent(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(kind, Class::NotSent, context)
    }

    pub(crate) fn invalid(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidConfig, Class::Fatal, context)
    }

    pub(crate) fn redirect(&self) -> Option<&Redirect> {
        self.0.redirect.as_ref()
    }

    pub(crate) fn with_redirect(mut self, redirect: Option<Redirect>) -> Self {
        self.0.redirect = redirect;
        self
    }

    pub(crate) fn with_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    pub(crate) fn with_source(self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.with_cause(Box::new(source))
    }

    pub(crate) fn with_cause(mut self, cause: Box<dyn std::error::Error + Send + Sync>) -> Self {
        self.0.source = Some(cause);
        self
    }

    /// The same failure for another caller; the cause stays with the first one.
    pub(crate) fn restated(&self) -> Self {
        Self(Box::new(Inner {
            kind: self.0.kind,
            class: self.0.class,
            code: self.0.code.clone(),
            redirect: self.0.redirect.clone(),
            context: self.0.context.clone(),
            source: None,
        }))
    }
}

/// For `ConnectionLike`: an error reply keeps its code, any other error becomes the source of an I/O error.
impl From<Error> for redis::RedisError {
    fn from(error: Error) -> Self {
        if let Some(code) = error.code() {
            return redis::make_extension_error(code.to_owned(), Some(error.context().to_owned()));
        }
        let kind = match error.kind() {
            ErrorKind::Timeout => io::ErrorKind::TimedOut,
            ErrorKind::Unavailable | ErrorKind::Closed => io::ErrorKind::NotConnected,
            ErrorKind::Disconnected => io::ErrorKind::BrokenPipe,
            ErrorKind::InvalidInput => io::ErrorKind::InvalidInput,
            ErrorKind::Unsupported => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::Other,
        };
        Self::from(io::Error::new(kind, error))
    }
}

impl ErrorKind {
    fn sentence(self) -> &'static str {
        match self {
            Self::InvalidConfig => "invalid configuration",
            Self::InvalidInput => "invalid argument",
            Self::Unsupported => "not supported",
            Self::Unavailable => "no connection to the server",
            Self::Disconnected => "the connection broke",
            Self::Timeout => "the deadline passed",
            Self::Overloaded => "too much in flight",
            Self::Rejected => "not admitted to the endpoint",
            Self::Auth => "the server does not accept the credentials",
            Self::Denied => "the user may not do this",
            Self::NotReady => "the server is not ready",
            Self::ReadOnly => "the node is read-only",
            Self::Redirected => "another node serves this key",
            Self::ServerFull => "the server refuses writes",
            Self::WrongType => "the key holds another type",
            Self::NoScript => "the script is not loaded",
            Self::Aborted => "the transaction was aborted",
            Self::CrossSlot => "the keys live in different slots",
            Self::Reply => "the server answered with an error",
            Self::Protocol => "unexpected answer",
            Self::Closed => "the connection handle is closed",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.sentence(), self.0.context)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("class", &self.0.class)
            .field("code", &self.0.code)
            .field("context", &self.0.context)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as _)
    }
}
