//! Typed values on any backend: a serialization format, schema versions, and read-modify-write.

mod format;
#[cfg(feature = "typed")]
mod migrate;
#[cfg(feature = "typed")]
mod view;

pub use crate::typed::format::SerializationFormat;
#[cfg(feature = "typed")]
pub use crate::typed::migrate::Migration;
#[cfg(feature = "typed")]
pub use crate::typed::view::Typed;
