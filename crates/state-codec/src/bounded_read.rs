//! A deserializer around any other that bounds nesting and the number of elements.
//!
//! Postcard has no bound on nesting at all, MessagePack's does not count enums and options, and none
//! of the formats bounds a list whose elements take no bytes. A value that nests as deeply as its
//! bytes allow overflows the stack, which ends the process and cannot be caught.
#![cfg_attr(
    not(any(feature = "msgpack", feature = "json", feature = "postcard")),
    allow(dead_code, unused_imports, reason = "what only a format uses")
)]

use std::{cell::Cell, fmt};

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// How deeply a value may nest. Lists, maps, structs, enums, options and newtypes count as one each.
pub(crate) const MAX_DEPTH: usize = 128;

/// How many elements and map entries a value may have even when it has fewer bytes than that.
const MIN_ELEMENTS: usize = 1 << 16;

/// How many elements are believed before they are seen. A container reserves memory for as many, and
/// promises can be nested.
const MAX_PROMISE: usize = 4096;

/// What is still allowed: levels below this point, and elements in the whole value.
#[derive(Clone, Copy)]
pub(crate) struct Budget<'b> {
    depth: usize,
    elements: &'b Cell<usize>,
}

impl<'b> Budget<'b> {
    /// How many elements a value of `len` bytes may have: each takes a byte, but for the empty ones.
    pub(crate) fn elements(len: usize) -> Cell<usize> {
        Cell::new(len.max(MIN_ELEMENTS))
    }

    pub(crate) fn new(elements: &'b Cell<usize>) -> Self {
        Self { depth: MAX_DEPTH, elements }
    }

    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(Self { depth, ..self })
    }

    fn count<T, E: Error>(self, element: Option<T>) -> Result<Option<T>, E> {
        if element.is_some() {
            let left = self.elements.get().checked_sub(1).ok_or_else(|| E::custom("too many elements"))?;
            self.elements.set(left);
        }
        Ok(element)
    }
}

/// `inner`, which may be a deserializer, a visitor, a seed or an accessor, within a budget.
pub(crate) struct Limited<'b, T> {
    pub(crate) inner: T,
    pub(crate) budget: Budget<'b>,
}

macro_rules! forward_deserialize {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method($($argument,)* Limited { inner: visitor, budget: self.budget })
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Limited<'_, D> {
    type Error = D::Error;

    forward_deserialize! {
        deserialize_any() deserialize_bool() deserialize_char()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64()
        deserialize_str() deserialize_string() deserialize_bytes() deserialize_byte_buf()
        deserialize_option() deserialize_unit() deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str) deserialize_seq() deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize) deserialize_map()
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
        deserialize_identifier() deserialize_ignored_any()
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! forward_visit {
    ($($method:ident($type:ty))*) => {$(
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Limited<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    forward_visit! {
        visit_bool(bool) visit_char(char)
        visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128)
        visit_u8(u8) visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128)
        visit_f32(f32) visit_f64(f64)
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let budget = self.budget.deeper()?;
        self.inner.visit_some(Limited { inner, budget })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let budget = self.budget.deeper()?;
        self.inner.visit_newtype_struct(Limited { inner, budget })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let budget = self.budget.deeper()?;
        self.inner.visit_seq(Limited { inner, budget })
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let budget = self.budget.deeper()?;
        self.inner.visit_map(Limited { inner, budget })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let budget = self.budget.deeper()?;
        self.inner.visit_enum(Limited { inner, budget })
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Limited<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Limited { inner, budget: self.budget })
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Limited<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, inner: S) -> Result<Option<S::Value>, A::Error> {
        let element = self.inner.next_element_seed(Limited { inner, budget: self.budget })?;
        self.budget.count(element)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|promised| promised.min(MAX_PROMISE))
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Limited<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, inner: S) -> Result<Option<S::Value>, A::Error> {
        let key = self.inner.next_key_seed(Limited { inner, budget: self.budget })?;
        self.budget.count(key)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, inner: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(Limited { inner, budget: self.budget })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|promised| promised.min(MAX_PROMISE))
    }
}

impl<'b, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Limited<'b, A> {
    type Error = A::Error;
    type Variant = Limited<'b, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, inner: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let budget = self.budget;
        let (value, inner) = self.inner.variant_seed(Limited { inner, budget })?;
        Ok((value, Limited { inner, budget }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Limited<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, inner: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(Limited { inner, budget: self.budget })
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, inner: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, Limited { inner, budget: self.budget })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        inner: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, Limited { inner, budget: self.budget })
    }
}
