//! How typed values are turned into bytes.

/// The format of typed values. It is not stored: whoever reads has to know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SerializationFormat {
    /// MessagePack with field names, which other languages read. Feature `msgpack`.
    #[default]
    MessagePack,
    /// JSON. Feature `json`.
    Json,
    /// Postcard, the most compact. Feature `postcard`.
    Postcard,
}
