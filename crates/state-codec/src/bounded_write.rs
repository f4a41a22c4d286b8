//! A value that refuses to be serialized more deeply than it could be read back.
#![cfg_attr(
    not(any(feature = "msgpack", feature = "json", feature = "postcard")),
    allow(dead_code, unused_imports, reason = "what only a format uses")
)]

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use crate::bounded_read::MAX_DEPTH;

/// `inner`, which may be a value, a serializer or a compound of one, with the levels left below it.
///
/// Levels are counted as reading counts them: a variant with several fields is two.
pub(crate) struct Bounded<T> {
    inner: T,
    depth: usize,
}

impl<'v, T: Serialize + ?Sized> Bounded<&'v T> {
    pub(crate) fn new(value: &'v T) -> Self {
        Self { inner: value, depth: MAX_DEPTH }
    }
}

impl<T: Serialize + ?Sized> Serialize for Bounded<&T> {
    fn serialize<S: Serializer>(&self, inner: S) -> Result<S::Ok, S::Error> {
        self.inner.serialize(Bounded { inner, depth: self.depth })
    }
}

fn below<E: Error>(depth: usize, levels: usize) -> Result<usize, E> {
    depth.checked_sub(levels).ok_or_else(|| E::custom("nested too deeply"))
}

macro_rules! scalars {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {$(
        fn $method(self, $($argument: $type),*) -> Result<S::Ok, S::Error> {
            self.inner.$method($($argument),*)
        }
    )*};
}

macro_rules! compounds {
    ($($method:ident($($argument:ident: $type:ty),*) -> $compound:ident, $levels:literal)*) => {$(
        fn $method(self, $($argument: $type),*) -> Result<Self::$compound, S::Error> {
            let depth = below(self.depth, $levels)?;
            Ok(Bounded { inner: self.inner.$method($($argument),*)?, depth })
        }
    )*};
}

impl<S: Serializer> Serializer for Bounded<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Bounded<S::SerializeSeq>;
    type SerializeTuple = Bounded<S::SerializeTuple>;
    type SerializeTupleStruct = Bounded<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Bounded<S::SerializeTupleVariant>;
    type SerializeMap = Bounded<S::SerializeMap>;
    type SerializeStruct = Bounded<S::SerializeStruct>;
    type SerializeStructVariant = Bounded<S::SerializeStructVariant>;

    scalars! {
        serialize_bool(value: bool) serialize_char(value: char)
        serialize_i8(value: i8) serialize_i16(value: i16) serialize_i32(value: i32)
        serialize_i64(value: i64) serialize_i128(value: i128)
        serialize_u8(value: u8) serialize_u16(value: u16) serialize_u32(value: u32)
        serialize_u64(value: u64) serialize_u128(value: u128)
        serialize_f32(value: f32) serialize_f64(value: f64)
        serialize_str(value: &str) serialize_bytes(value: &[u8])
        serialize_none() serialize_unit() serialize_unit_struct(name: &'static str)
    }

    compounds! {
        serialize_seq(len: Option<usize>) -> SerializeSeq, 1
        serialize_tuple(len: usize) -> SerializeTuple, 1
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct, 1
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeTupleVariant, 2
        serialize_map(len: Option<usize>) -> SerializeMap, 1
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct, 1
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeStructVariant, 2
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        below::<S::Error>(self.depth, 1)?;
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, inner: &T) -> Result<S::Ok, S::Error> {
        let depth = below(self.depth, 1)?;
        self.inner.serialize_some(&Bounded { inner, depth })
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        inner: &T,
    ) -> Result<S::Ok, S::Error> {
        let depth = below(self.depth, 1)?;
        self.inner.serialize_newtype_struct(name, &Bounded { inner, depth })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        inner: &T,
    ) -> Result<S::Ok, S::Error> {
        let depth = below(self.depth, 1)?;
        self.inner.serialize_newtype_variant(name, index, variant, &Bounded { inner, depth })
    }

    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! members {
    ($($compound:ident: $($method:ident($($key:ident: $type:ty)?)),*;)*) => {$(
        impl<C: $compound> $compound for Bounded<C> {
            type Ok = C::Ok;
            type Error = C::Error;

            $(fn $method<T: Serialize + ?Sized>(&mut self, $($key: $type,)? inner: &T) -> Result<(), C::Error> {
                self.inner.$method($($key,)? &Bounded { inner, depth: self.depth })
            })*

            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        }
    )*};
}

members! {
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeMap: serialize_key(), serialize_value();
    SerializeStruct: serialize_field(key: &'static str);
    SerializeStructVariant: serialize_field(key: &'static str);
}
