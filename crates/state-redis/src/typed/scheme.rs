//! How a type becomes bytes: which format, and with or without its schema's version.

use serde::{Serialize, de::DeserializeOwned};
use state_codec::{Format as _, Versioned};
use state_core::{ErrorKind, StateError, StateResult};

use crate::error;
use crate::format::SerializationFormat;

impl SerializationFormat {
    /// Checks that the format is compiled in.
    ///
    /// # Errors
    /// `Unsupported`, naming the feature.
    pub(super) fn check(self) -> StateResult<()> {
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
pub(super) struct Scheme<T> {
    pub(super) encode: fn(SerializationFormat, &[u8], &T) -> StateResult<Vec<u8>>,
    pub(super) decode: fn(SerializationFormat, &[u8], &[u8]) -> StateResult<T>,
}

impl<T: Serialize + DeserializeOwned> Scheme<T> {
    pub(super) const PLAIN: Self = Self {
        encode: |format, key, value| {
            with_codec!(format, |codec| codec.encode(value).map_err(|cause| error::in_typed(key, cause)))
        },
        decode: |format, key, stored| {
            with_codec!(format, |codec| codec.decode(stored).map_err(|cause| error::in_typed(key, cause)))
        },
    };
}

impl<T: Versioned> Scheme<T> {
    pub(super) const VERSIONED: Self = Self {
        encode: |format, key, value| {
            with_codec!(format, |codec| codec
                .encode_versioned(value)
                .map_err(|cause| error::in_typed(key, cause)))
        },
        decode: |format, key, stored| {
            with_codec!(format, |codec| codec
                .decode_versioned(stored)
                .map_err(|cause| error::in_typed(key, cause)))
        },
    };
}
