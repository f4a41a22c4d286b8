//! Why an operation failed.

use std::{borrow::Cow, fmt};

use xxhash_rust::xxh3::xxh3_64;

/// What this crate's fallible functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed: a kind to act on, a context to read, and a cause where there is one.
///
/// Neither a value nor a key is ever part of it. Where a state key is known, the context ends with
/// `key digest` and the 16 hexadecimal digits of the key's XXH3-64, so that one can find the entry
/// without reading its name in a log.
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
    /// A setting is out of range, or two settings contradict each other. Correct the configuration.
    InvalidConfig,
    /// The stored bytes carry the envelope's mark and are no envelope that this version can vouch for:
    /// damaged, truncated, lengthened, forged, copied under another key when encrypted, or written in
    /// a later envelope version. Repeating the read does not help; quarantine or delete the entry.
    Corrupt,
    /// The value is larger than a limit allows, before or after decoding. Raise the limit or store less.
    TooLarge,
    /// The envelope is well formed, and its algorithm or cipher is not compiled in. Enable the feature.
    Unsupported,
    /// The dictionary is not registered. Fetch it and call [`Codec::add_dictionary`](crate::Codec::add_dictionary).
    MissingDictionary,
    /// A [`DictionaryStore`](crate::DictionaryStore) failed. Whether a repeat helps, its error in `source()` says.
    DictionaryStore,
    /// The key ring does not hold the key that the value was encrypted with. Add the key and read again.
    MissingKey,
    /// The active encryption key has sealed as many values as its cipher safely allows. Rotate it.
    KeyExhausted,
    /// The value is plaintext, and the codec is configured to refuse that.
    PlaintextRefused,
    /// The bytes are intact, and they are not an encoding of the type that was asked for.
    Malformed,
    /// The value cannot be expressed in the format, or nests too deeply to be read back.
    Unencodable,
    /// The record was written by a later version of its schema. Upgrade this program.
    NewerSchema,
    /// The record was written by a version of its schema older than the chain of up-casts reaches.
    OlderSchema,
    /// A compression library refused work that does not depend on the data, such as for lack of memory.
    Internal,
}

impl Error {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was being done, for a reader: no value and no raw key is in it.
    pub fn context(&self) -> &str {
        &self.0.context
    }

    pub(crate) fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { kind, context: context.into(), source: None }))
    }

    pub(crate) fn corrupt(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Corrupt, context)
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Names the state key by its digest.
    pub(crate) fn under(mut self, key: &[u8]) -> Self {
        self.0.context = format!("{} (key digest {:016x})", self.0.context, xxh3_64(key)).into();
        self
    }
}

impl ErrorKind {
    fn sentence(self) -> &'static str {
        match self {
            Self::InvalidConfig => "invalid configuration",
            Self::Corrupt => "corrupt stored value",
            Self::TooLarge => "value too large",
            Self::Unsupported => "support not compiled in",
            Self::MissingDictionary => "dictionary not registered",
            Self::DictionaryStore => "dictionary store failed",
            Self::MissingKey => "encryption key not in the ring",
            Self::KeyExhausted => "encryption key used up",
            Self::PlaintextRefused => "plaintext refused",
            Self::Malformed => "bytes do not decode as the requested type",
            Self::Unencodable => "value cannot be encoded",
            Self::NewerSchema => "record of a newer schema version",
            Self::OlderSchema => "record of a schema version no longer known",
            Self::Internal => "compression library failed",
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
            .field("context", &self.0.context)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
