//! Why a part of a policy could not be built.

use std::borrow::Cow;
use std::fmt;

/// Why a setting was refused or a registry is full.
///
/// What a *call* ends with is [`Failure`](crate::Failure).
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    context: Cow<'static, str>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is out of its range or contradicts another: correct it. The context names the field.
    InvalidConfig,
    /// A [`Registry`](crate::Registry) holds as many breakers as it may: remove those of endpoints that are gone,
    /// or allow more.
    RegistryFull,
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn invalid(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidConfig, context)
    }

    pub(crate) fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { kind, context: context.into(), source: None }))
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The setting or object concerned, for people.
    #[must_use]
    pub fn context(&self) -> &str {
        &self.0.context
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0.kind {
            ErrorKind::InvalidConfig => "invalid configuration",
            ErrorKind::RegistryFull => "the breaker registry is full",
        };
        write!(f, "{kind}: {}", self.0.context)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, context, source } = &*self.0;
        f.debug_struct("Error").field("kind", kind).field("context", context).field("source", source).finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as _)
    }
}

/// Refuses a duration of zero or beyond a year: the range in which every sum of instants here is safe.
pub(crate) fn check_duration(field: &str, value: std::time::Duration) -> Result<()> {
    const YEAR: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3600);
    if value.is_zero() || value > YEAR {
        return Err(Error::invalid(format!("{field} must be above zero and at most a year, not {value:?}")));
    }
    Ok(())
}

/// Refuses a share outside of (0, 1].
pub(crate) fn check_share(field: &str, value: f64) -> Result<()> {
    if value > 0.0 && value <= 1.0 {
        return Ok(());
    }
    Err(Error::invalid(format!("{field} must be above 0 and at most 1, not {value}")))
}

/// Refuses an integer outside of `range`.
pub(crate) fn check_range(field: &str, value: u32, range: std::ops::RangeInclusive<u32>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Error::invalid(format!("{field} must be {} to {}, not {value}", range.start(), range.end())))
}
