//! Typed values on any backend: a serialization format, schema versions, and read-modify-write.

mod migrate;
#[cfg_attr(
    not(any(feature = "json", feature = "msgpack", feature = "postcard")),
    allow(dead_code, unused_imports, unused_variables, reason = "what only a format uses")
)]
mod scheme;
mod view;

pub use crate::typed::migrate::Migration;
pub use crate::typed::view::Typed;
