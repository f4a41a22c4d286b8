//! In which format typed values are stored.

use state_core::{ErrorKind, StateError, StateResult};
#[cfg(feature = "typed")]
use {
    serde::{Serialize, de::DeserializeOwned},
    state_codec::{ErrorKind as CodecKind, Format as _, Versioned},
    state_core::KeyDigest,
};

/// The format in which typed values are stored. Its name is not stored: who reads has to know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SerializationFormat {
    /// MessagePack, structs as maps with their fields' names: compact, and readable from other languages.
    /// Feature `msgpack`.
    #[default]
    MessagePack,
    /// JSON without white space: readable by people. Feature `json`.
    Json,
    /// Postcard: the most compact; the order of fields is part of the schema. Feature `postcard`.
    Postcard,
}

impl SerializationFormat {
    /// Checks that the format is compiled in.
    ///
    /// # Errors
    /// `Unsupported`, naming the feature.
    pub fn check(self) -> StateResult<()> {
        let (is_on, feature) = match self {
            Self::MessagePack => (cfg!(feature = "msgpack"), "msgpack"),
            Self::Json => (cfg!(feature = "json"), "json"),
            Self::Postcard => (cfg!(feature = "postcard"), "postcard"),
        };
        if is_on {
            return Ok(());
        }
        let context = format!("the format needs the feature `{feature}`");
        Err(StateError::new(ErrorKind::Unsupported, context))
    }
}

/// Runs `$work` with the format's codec, or returns what [`SerializationFormat::check`] says.
#[cfg(feature = "typed")]
macro_rules! with_codec {
    ($chosen:expr, |$format:ident| $work:expr) => {{
        $chosen.check()?;
        match $chosen {
            #[cfg(feature = "msgpack")]
            SerializationFormat::MessagePack => {
                let $format = state_codec::MessagePack;
                $work
            }
            #[cfg(feature = "json")]
            SerializationFormat::Json => {
                let $format = state_codec::Json;
                $work
            }
            #[cfg(feature = "postcard")]
            SerializationFormat::Postcard => {
                let $format = state_codec::Postcard;
                $work
            }
            #[cfg(not(all(feature = "msgpack", feature = "json", feature = "postcard")))]
            _ => unreachable!("the format is compiled in"),
        }
    }};
}

/// How a type is stored: as it is, or with its schema's version.
#[cfg(feature = "typed")]
pub(super) struct Scheme<T> {
    pub(super) encode: fn(SerializationFormat, &[u8], &T) -> StateResult<Vec<u8>>,
    pub(super) decode: fn(SerializationFormat, &[u8], &[u8]) -> StateResult<T>,
}

#[cfg(feature = "typed")]
impl<T: Serialize + DeserializeOwned> Scheme<T> {
    pub(super) const PLAIN: Self = Self {
        encode: |format, key, value| {
            with_codec!(format, |codec| codec.encode(value).map_err(|cause| from_codec(key, cause)))
        },
        decode: |format, key, stored| {
            with_codec!(format, |codec| codec.decode(stored).map_err(|cause| from_codec(key, cause)))
        },
    };
}

#[cfg(feature = "typed")]
impl<T: Versioned> Scheme<T> {
    pub(super) const VERSIONED: Self = Self {
        encode: |format, key, value| {
            with_codec!(format, |codec| codec.encode_versioned(value).map_err(|cause| from_codec(key, cause)))
        },
        decode: |format, key, stored| {
            with_codec!(format, |codec| codec
                .decode_versioned(stored)
                .map_err(|cause| from_codec(key, cause)))
        },
    };
}

/// The contract's error for `cause`, which keeps the value under `key` from being written or read.
#[cfg(feature = "typed")]
fn from_codec(key: &[u8], cause: state_codec::Error) -> StateError {
    let (kind, advice) = match cause.kind() {
        CodecKind::Malformed => (ErrorKind::Corrupt, "the stored bytes are no such value in this format"),
        CodecKind::Unencodable => (ErrorKind::InvalidInput, "the format cannot express the value"),
        CodecKind::NewerSchema => {
            (ErrorKind::Unsupported, "a later schema version wrote the record; upgrade this program")
        }
        CodecKind::OlderSchema => {
            (ErrorKind::Unsupported, "the record's schema version is older than any this program knows")
        }
        _ => (ErrorKind::Internal, "the format failed"),
    };
    StateError::new(kind, format!("{advice}, {}", KeyDigest::of(key))).with_source(cause)
}
