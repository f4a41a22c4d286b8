//! Typed values to bytes and back: MessagePack, JSON and Postcard.
#![cfg_attr(
    not(any(feature = "msgpack", feature = "json", feature = "postcard")),
    allow(dead_code, unused_imports, reason = "what only a format uses")
)]

use std::marker::PhantomData;

use serde::{
    Serialize,
    de::{DeserializeOwned, DeserializeSeed},
};

use crate::{
    Error, ErrorKind, Result, Versioned,
    bounded_read::{Budget, Limited},
    bounded_write::Bounded,
    schema,
};

/// A serialization format.
///
/// Reading takes all of the bytes or fails, nests at most 128 levels (lists, maps, structs, enums,
/// options and newtypes count one each), and makes no more elements than the value has bytes, or
/// 65,536 where it has fewer. The name of the format is not stored: the reader has to know it.
/// Errors say where the bytes do not fit, and never quote them.
///
/// This trait is sealed, so that these bounds hold for every format there is.
pub trait Format: Copy + sealed::Sealed {
    /// The format's name, for messages.
    fn name(&self) -> &'static str;

    /// The bytes of `value`.
    ///
    /// # Errors
    /// `Unencodable` when the format cannot express the value.
    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>>;

    /// What `seed` makes of `bytes`.
    ///
    /// # Errors
    /// `Malformed` when the bytes are not, from the first to the last, what the seed expects.
    fn decode_seed<'de, S: DeserializeSeed<'de>>(&self, bytes: &'de [u8], seed: S) -> Result<S::Value>;

    /// The value in `bytes`.
    ///
    /// # Errors
    /// `Malformed` when the bytes are not, from the first to the last, an encoding of a `T`.
    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        self.decode_seed(bytes, PhantomData)
    }

    /// The bytes of `record` with its schema's version, without the envelope that
    /// [`Codec::encode_versioned`](crate::Codec::encode_versioned) may put around them.
    ///
    /// # Errors
    /// `Unencodable` when the format cannot express the record.
    fn encode_versioned<T: Versioned>(&self, record: &T) -> Result<Vec<u8>> {
        schema::to_bytes(self, record)
    }

    /// The record in `bytes`, up-cast from whichever version it was written in.
    ///
    /// # Errors
    /// `NewerSchema` when a later version wrote it, `OlderSchema` when its version is not in the chain,
    /// `Malformed` when the bytes are no such record.
    fn decode_versioned<T: Versioned>(&self, bytes: &[u8]) -> Result<T> {
        schema::from_bytes(self, bytes)
    }
}

/// [MessagePack](https://msgpack.org). Structs are maps with their fields' names, so that fields may
/// be added and reordered and other languages can read them.
#[cfg(feature = "msgpack")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessagePack;

#[cfg(feature = "msgpack")]
impl Format for MessagePack {
    fn name(&self) -> &'static str {
        "MessagePack"
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>> {
        rmp_serde::to_vec_named(&Bounded::new(value)).map_err(|_| unencodable(self))
    }

    fn decode_seed<'de, S: DeserializeSeed<'de>>(&self, bytes: &'de [u8], seed: S) -> Result<S::Value> {
        use rmp_serde::decode::Error as Fault;
        use serde::Deserialize as _;

        let elements = Budget::elements(bytes.len());
        let mut inner = rmp_serde::Deserializer::from_read_ref(bytes);
        let value = seed
            .deserialize(Limited { inner: &mut inner, budget: Budget::new(&elements) })
            .map_err(|fault| malformed(self, msgpack_fault(&fault)))?;
        // The reader does not say how far it got. Only at the end is there no marker to be read for
        // a bool, which takes no more than its marker.
        match bool::deserialize(&mut inner) {
            Err(Fault::InvalidMarkerRead(_)) => Ok(value),
            _ => Err(malformed(self, "bytes after the end of the value")),
        }
    }
}

/// [JSON](https://www.rfc-editor.org/rfc/rfc8259), without white space.
///
/// A float that is not a number or not finite is written as `null` and so does not come back.
#[cfg(feature = "json")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json;

#[cfg(feature = "json")]
impl Format for Json {
    fn name(&self) -> &'static str {
        "JSON"
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>> {
        serde_json::to_vec(&Bounded::new(value)).map_err(|_| unencodable(self))
    }

    fn decode_seed<'de, S: DeserializeSeed<'de>>(&self, bytes: &'de [u8], seed: S) -> Result<S::Value> {
        let elements = Budget::elements(bytes.len());
        let mut inner = serde_json::Deserializer::from_slice(bytes);
        seed.deserialize(Limited { inner: &mut inner, budget: Budget::new(&elements) })
            .and_then(|value| inner.end().map(|()| value))
            .map_err(|fault| {
                use serde_json::error::Category;
                let what = match fault.classify() {
                    Category::Io | Category::Syntax => "not the format's syntax",
                    Category::Eof => "cut off",
                    Category::Data => "not the requested type",
                };
                malformed(self, &format!("{what} at line {} column {}", fault.line(), fault.column()))
            })
    }
}

/// [Postcard](https://postcard.jamesmunns.com), the most compact: field names and types are not
/// stored, so a record may only change through [`Versioned`](crate::Versioned).
#[cfg(feature = "postcard")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Postcard;

#[cfg(feature = "postcard")]
impl Format for Postcard {
    fn name(&self) -> &'static str {
        "Postcard"
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>> {
        postcard::to_stdvec(&Bounded::new(value)).map_err(|_| unencodable(self))
    }

    fn decode_seed<'de, S: DeserializeSeed<'de>>(&self, bytes: &'de [u8], seed: S) -> Result<S::Value> {
        let elements = Budget::elements(bytes.len());
        let mut inner = postcard::Deserializer::from_bytes(bytes);
        let value = seed
            .deserialize(Limited { inner: &mut inner, budget: Budget::new(&elements) })
            .map_err(|fault| malformed(self, postcard_fault(&fault)))?;
        match inner.finalize() {
            Ok([]) => Ok(value),
            _ => Err(malformed(self, "bytes after the end of the value")),
        }
    }
}

/// The libraries' own messages quote the value, so only the kind of fault is passed on.
#[cfg(feature = "msgpack")]
fn msgpack_fault(fault: &rmp_serde::decode::Error) -> &'static str {
    use rmp_serde::decode::Error as Fault;
    match fault {
        Fault::InvalidMarkerRead(_) | Fault::InvalidDataRead(_) => "cut off",
        Fault::DepthLimitExceeded => "nested too deeply",
        Fault::Utf8Error(_) => "a string that is not UTF-8",
        _ => "not the requested type",
    }
}

#[cfg(feature = "postcard")]
fn postcard_fault(fault: &postcard::Error) -> &'static str {
    match fault {
        postcard::Error::DeserializeUnexpectedEnd => "cut off",
        postcard::Error::DeserializeBadUtf8 => "a string that is not UTF-8",
        _ => "not the requested type",
    }
}

#[cfg(any(feature = "msgpack", feature = "json", feature = "postcard"))]
fn malformed(format: &impl Format, what: &str) -> Error {
    Error::new(ErrorKind::Malformed, format!("{}: {what}", format.name()))
}

#[cfg(any(feature = "msgpack", feature = "json", feature = "postcard"))]
fn unencodable(format: &impl Format) -> Error {
    Error::new(ErrorKind::Unencodable, format.name())
}

mod sealed {
    pub trait Sealed {}
    #[cfg(feature = "msgpack")]
    impl Sealed for super::MessagePack {}
    #[cfg(feature = "json")]
    impl Sealed for super::Json {}
    #[cfg(feature = "postcard")]
    impl Sealed for super::Postcard {}
}
