#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "serde")]
#[cfg_attr(
    not(any(feature = "msgpack", feature = "json", feature = "postcard")),
    allow(dead_code, unused_imports, reason = "what only a format uses")
)]
mod bounded_read;
#[cfg(feature = "serde")]
#[cfg_attr(
    not(any(feature = "msgpack", feature = "json", feature = "postcard")),
    allow(dead_code, unused_imports, reason = "what only a format uses")
)]
mod bounded_write;
mod codec;
#[cfg_attr(
    not(all(feature = "lz4", feature = "snappy", feature = "zstd")),
    allow(dead_code, unused_variables, unreachable_code, reason = "what only the missing algorithm uses")
)]
mod compress;
mod config;
#[cfg_attr(
    not(all(feature = "lz4", feature = "snappy", feature = "zstd")),
    allow(dead_code, unused_variables, unreachable_code, reason = "what only the missing algorithm uses")
)]
mod dictionary;
#[cfg(feature = "encrypt")]
mod encrypt;
#[cfg(not(feature = "encrypt"))]
#[path = "encrypt_off.rs"]
mod encrypt;
mod envelope;
mod error;
#[cfg(feature = "serde")]
#[cfg_attr(
    not(any(feature = "msgpack", feature = "json", feature = "postcard")),
    allow(dead_code, unused_imports, reason = "what only a format uses")
)]
mod format;
#[cfg(feature = "serde")]
mod schema;
#[cfg(feature = "serde")]
mod typed;
#[cfg_attr(
    not(all(feature = "lz4", feature = "snappy", feature = "zstd")),
    allow(dead_code, unused_variables, unreachable_code, reason = "what only the missing algorithm uses")
)]
mod workspace;

pub use codec::{Batch, Codec};
pub use config::{CodecConfig, Compression};
pub use dictionary::{
    Dictionary, DictionaryId, DictionaryStore, DictionaryStoreError, MemoryDictionaryStore,
};
#[cfg(feature = "encrypt")]
pub use encrypt::{Cipher, EncryptionKey, KeyRing, Plaintext};
pub use envelope::{Algorithm, ENVELOPE_VERSION, Fingerprint, MAGIC, Stored};
pub use error::{Error, ErrorKind, Result};
#[cfg(feature = "serde")]
pub use format::Format;
#[cfg(feature = "json")]
pub use format::Json;
#[cfg(feature = "msgpack")]
pub use format::MessagePack;
#[cfg(feature = "postcard")]
pub use format::Postcard;
#[cfg(feature = "serde")]
pub use schema::{NoPrevious, Versioned};
