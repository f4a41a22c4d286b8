//! Typed values through a format and a codec.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Codec, Format, Result, Versioned, schema};

impl Codec {
    /// The bytes to store for a typed value: in the format first, then as [`encode`](Self::encode) does.
    ///
    /// # Errors
    /// `Unencodable` when the format cannot express the value; and as [`encode`](Self::encode).
    pub fn encode_as<T: Serialize + ?Sized>(
        &self,
        key: &[u8],
        value: &T,
        format: impl Format,
    ) -> Result<Vec<u8>> {
        let bytes = format.encode(value).map_err(|error| error.under(key))?;
        self.encode_owned(key, bytes)
    }

    /// The typed value that `stored`, read from under `key`, stands for.
    ///
    /// # Errors
    /// `Malformed` when the bytes are no `T` in this format; and as [`decode`](Self::decode).
    pub fn decode_as<T: DeserializeOwned>(
        &self,
        key: &[u8],
        stored: impl AsRef<[u8]>,
        format: impl Format,
    ) -> Result<T> {
        let bytes = self.decode_slice(key, stored.as_ref())?;
        format.decode(&bytes).map_err(|error| error.under(key))
    }

    /// [`encode_as`](Self::encode_as) for a record that carries its schema's version.
    ///
    /// # Errors
    /// As [`encode_as`](Self::encode_as).
    pub fn encode_versioned<T: Versioned>(
        &self,
        key: &[u8],
        record: &T,
        format: impl Format,
    ) -> Result<Vec<u8>> {
        let bytes = schema::to_bytes(&format, record).map_err(|error| error.under(key))?;
        self.encode_owned(key, bytes)
    }

    /// The record that `stored` stands for, up-cast from whichever version it was written in.
    ///
    /// # Errors
    /// `NewerSchema` when a later version wrote it, `OlderSchema` when its version is not in the chain,
    /// `Malformed` when it is no such record; and as [`decode`](Self::decode).
    pub fn decode_versioned<T: Versioned>(
        &self,
        key: &[u8],
        stored: impl AsRef<[u8]>,
        format: impl Format,
    ) -> Result<T> {
        let bytes = self.decode_slice(key, stored.as_ref())?;
        schema::from_bytes(&format, &bytes).map_err(|error| error.under(key))
    }

    fn encode_owned(&self, key: &[u8], bytes: Vec<u8>) -> Result<Vec<u8>> {
        // A borrowed answer is the bytes themselves, so that they need not be copied.
        let wrapped = match self.encode(key, &bytes)? {
            std::borrow::Cow::Borrowed(_) => None,
            std::borrow::Cow::Owned(wrapped) => Some(wrapped),
        };
        Ok(wrapped.unwrap_or(bytes))
    }
}
