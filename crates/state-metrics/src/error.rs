//! Why building instruments or an exporter failed.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

/// Why building instruments or an exporter failed.
///
/// Recording never fails; only construction, installation and serving do.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    context: Cow<'static, str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// A `Result` of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is out of range; the context names the field. Correct it.
    InvalidConfig,
    /// The process already has a global metrics recorder. Use that one, or do not install another.
    RecorderInstalled,
    /// The listen address cannot be used: taken by another socket, not local, or not permitted. Choose another.
    AddressUnavailable,
    /// The operating system refused a thread, or there is no Tokio runtime to serve on. Free resources, or
    /// start a runtime.
    Resource,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { kind, context: context.into(), source: None }))
    }

    pub(crate) fn invalid(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidConfig, context)
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was being done, or which setting is wrong.
    #[must_use]
    pub fn context(&self) -> &str {
        &self.0.context
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidConfig => "a setting is invalid",
            Self::RecorderInstalled => "a global metrics recorder is already installed",
            Self::AddressUnavailable => "the listen address is unavailable",
            Self::Resource => "a thread or runtime is unavailable",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind, self.0.context)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("context", &self.0.context)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
