#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

// From a value to stored bytes and back, and the bytes themselves.
mod codec;
mod config;
mod envelope;

// What is done to the bytes.
mod compress;
mod dictionary;
#[cfg(feature = "encrypt")]
mod encrypt;
#[cfg(not(feature = "encrypt"))]
#[path = "encrypt_off.rs"]
mod encrypt;
mod workspace;

// Typed values.
#[cfg(feature = "serde")]
mod format;
#[cfg(feature = "serde")]
mod schema;
#[cfg(feature = "serde")]
mod typed;

// The bounds that every format keeps.
#[cfg(feature = "serde")]
mod bounded_read;
#[cfg(feature = "serde")]
mod bounded_write;

mod error;

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
