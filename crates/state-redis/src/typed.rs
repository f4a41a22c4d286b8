//! Typed values on any backend: a serialization format, schema versions, and read-modify-write.

#[cfg_attr(
    not(any(feature = "json", feature = "msgpack", feature = "postcard")),
    allow(dead_code, unused_imports, unused_variables, reason = "what only a format uses")
)]
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
