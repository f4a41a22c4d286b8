//! Records that know their schema's version, and how to bring older ones up to date.

use std::{cell::Cell, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
    ser::SerializeStruct,
};

use crate::{Error, ErrorKind, Format, Result};

/// A record type at one version of its schema, linked to the version before.
///
/// Keep each released version's type, and give it the next one as a new type whose `Previous` it is.
/// A record of any version in the chain is read as its own type and then up-cast step by step.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use state_codec::{NoPrevious, Versioned};
///
/// #[derive(Serialize, Deserialize)]
/// struct UserV1 { name: String }
///
/// #[derive(Serialize, Deserialize)]
/// struct User { first: String, last: String }
///
/// impl Versioned for UserV1 {
///     const VERSION: u32 = 1;
///     type Previous = NoPrevious;
///     fn upcast(previous: NoPrevious) -> Self { match previous {} }
/// }
///
/// impl Versioned for User {
///     const VERSION: u32 = 2;
///     type Previous = UserV1;
///     fn upcast(previous: UserV1) -> Self {
///         let (first, last) = previous.name.split_once(' ').unwrap_or((&previous.name, ""));
///         Self { first: first.into(), last: last.into() }
///     }
/// }
/// ```
pub trait Versioned: Serialize + DeserializeOwned {
    /// This type's version: at least 1, and above `Previous`'s. Anything else does not compile once
    /// the type is read or written.
    const VERSION: u32;
    /// The version before, or [`NoPrevious`].
    type Previous: Versioned;
    /// Makes this version's record of the previous one's. It cannot fail: what was stored stays readable.
    fn upcast(previous: Self::Previous) -> Self;
}

/// The end of a chain of versions. There is no value of this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPrevious {}

impl Versioned for NoPrevious {
    const VERSION: u32 = 0;
    type Previous = Self;
    fn upcast(previous: Self) -> Self {
        previous
    }
}

impl Serialize for NoPrevious {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        match *self {}
    }
}

impl<'de> Deserialize<'de> for NoPrevious {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("no record has this type"))
    }
}

/// The bytes of a record: a struct of its version, `v`, and itself, `data`.
pub(crate) fn to_bytes<T: Versioned>(format: &impl Format, record: &T) -> Result<Vec<u8>> {
    const { assert!(T::VERSION > <T::Previous as Versioned>::VERSION, "VERSION is not above Previous's") };
    format.encode(&Tagged(record))
}

/// The record in `bytes`, up-cast from whichever version it was written in.
pub(crate) fn from_bytes<T: Versioned>(format: &impl Format, bytes: &[u8]) -> Result<T> {
    let unknown = Cell::new(None);
    let seed = TaggedSeed { unknown: &unknown, record: PhantomData };
    format.decode_seed(bytes, seed).map_err(|error| match unknown.get() {
        Some(version) if version > T::VERSION => unknown_version::<T>(ErrorKind::NewerSchema, version),
        Some(version) => unknown_version::<T>(ErrorKind::OlderSchema, version),
        None => error,
    })
}

fn unknown_version<T: Versioned>(kind: ErrorKind, version: u32) -> Error {
    Error::new(kind, format!("version {version}, this program's is {}", T::VERSION))
}

struct Tagged<'r, T>(&'r T);

impl<T: Versioned> Serialize for Tagged<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tagged = serializer.serialize_struct(NAME, FIELDS.len())?;
        tagged.serialize_field(FIELDS[0], &T::VERSION)?;
        tagged.serialize_field(FIELDS[1], self.0)?;
        tagged.end()
    }
}

/// Reads the version, and then the record as that version's type. An unknown version is left in
/// `unknown`, since a format's error cannot carry it.
struct TaggedSeed<'u, T> {
    unknown: &'u Cell<Option<u32>>,
    record: PhantomData<T>,
}

impl<'de, T: Versioned> DeserializeSeed<'de> for TaggedSeed<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_struct(NAME, FIELDS, self)
    }
}

impl<'de, T: Versioned> Visitor<'de> for TaggedSeed<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version `v` followed by a record `data`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut fields: A) -> Result<T, A::Error> {
        let version = fields.next_element()?.ok_or_else(|| A::Error::missing_field(FIELDS[0]))?;
        let record =
            fields.next_element_seed(RecordSeed { version, unknown: self.unknown, record: self.record })?;
        record.ok_or_else(|| A::Error::missing_field(FIELDS[1]))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<T, A::Error> {
        expect_key(&mut fields, FIELDS[0])?;
        let version = fields.next_value()?;
        expect_key(&mut fields, FIELDS[1])?;
        let record =
            fields.next_value_seed(RecordSeed { version, unknown: self.unknown, record: self.record })?;
        match fields.next_key::<String>()? {
            None => Ok(record),
            Some(_) => Err(A::Error::custom("more fields than two")),
        }
    }
}

fn expect_key<'de, A: MapAccess<'de>>(fields: &mut A, name: &'static str) -> Result<(), A::Error> {
    match fields.next_key::<String>()? {
        Some(key) if key == name => Ok(()),
        _ => Err(A::Error::missing_field(name)),
    }
}

struct RecordSeed<'u, T> {
    version: u32,
    unknown: &'u Cell<Option<u32>>,
    record: PhantomData<T>,
}

impl<'de, T: Versioned> DeserializeSeed<'de> for RecordSeed<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        const { assert!(T::VERSION > <T::Previous as Versioned>::VERSION || T::VERSION == 0) };
        let Self { version, unknown, .. } = self;
        if version == T::VERSION && version != NoPrevious::VERSION {
            return T::deserialize(deserializer);
        }
        if version > T::VERSION || T::VERSION == NoPrevious::VERSION {
            unknown.set(Some(version));
            return Err(D::Error::custom("a version that is not known"));
        }
        let previous = RecordSeed::<T::Previous> { version, unknown, record: PhantomData };
        previous.deserialize(deserializer).map(T::upcast)
    }
}

const NAME: &str = "Record";
const FIELDS: &[&str] = &["v", "data"];
