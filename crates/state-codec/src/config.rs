//! What a codec is told to do.

use crate::{Dictionary, Error, ErrorKind, Result};

#[cfg(feature = "encrypt")]
use crate::{KeyRing, Plaintext};

/// How values are compressed when they are written. Reading follows the envelope, never this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Values are stored as they are.
    #[default]
    None,
    /// LZ4, fastest. Feature `lz4`.
    Lz4,
    /// Snappy, for peers that read Snappy. Feature `snappy`.
    Snappy,
    /// Zstandard, smallest. Feature `zstd`.
    Zstd {
        /// -7 (fastest) to 22 (smallest); 0 is the library's default, 3.
        /// Levels above 19 take tens of MiB of working memory on each thread that encodes.
        level: i32,
    },
}

impl Compression {
    /// Zstandard at the library's default level, 3.
    pub const ZSTD: Self = Self::Zstd { level: 3 };

    fn check(self) -> Result<()> {
        let missing = match self {
            Self::Lz4 if cfg!(not(feature = "lz4")) => "lz4",
            Self::Snappy if cfg!(not(feature = "snappy")) => "snappy",
            Self::Zstd { .. } if cfg!(not(feature = "zstd")) => "zstd",
            Self::Zstd { level } if !(-7..=22).contains(&level) => {
                return Err(invalid(format!("compression: Zstd level {level} is not in -7..=22")));
            }
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::Unsupported, format!("compression: feature `{missing}` is off")))
    }
}

/// Settings of a [`Codec`](crate::Codec). [`Codec::new`](crate::Codec::new) validates them.
///
/// The first three and `dictionary` and `keys` decide how values are written. What was written under
/// other settings stays readable, within the limits, as long as its dictionary and key are at hand.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CodecConfig {
    /// How values are compressed. Default: `Compression::None`.
    pub compression: Compression,
    /// Values shorter than this many bytes are not compressed. Default: 1,024.
    pub threshold: usize,
    /// The most bytes a value may have, when it is encoded and once it is decoded. At most 1 GiB.
    /// A stored raw value is passed through on read whatever its length, since it is in memory already.
    /// Default: 64 MiB.
    pub max_value_len: usize,
    /// The most bytes that the values of one [`Batch`](crate::Batch) may decode to, raw ones not
    /// counted. At least `max_value_len`. Default: 256 MiB.
    pub max_batch_len: usize,
    /// The dictionary that Zstandard compresses with. Default: none.
    pub dictionary: Option<Dictionary>,
    /// The keys that values are encrypted and decrypted with. Default: none, values are not encrypted.
    #[cfg(feature = "encrypt")]
    pub keys: Option<KeyRing>,
    /// Whether values that are not encrypted may be read. Default: `Plaintext::Accept`.
    #[cfg(feature = "encrypt")]
    pub plaintext: Plaintext,
}

impl Default for CodecConfig {
    fn default() -> Self {
        Self {
            compression: Compression::None,
            threshold: 1024,
            max_value_len: 64 << 20,
            max_batch_len: 256 << 20,
            dictionary: None,
            #[cfg(feature = "encrypt")]
            keys: None,
            #[cfg(feature = "encrypt")]
            plaintext: Plaintext::Accept,
        }
    }
}

impl CodecConfig {
    /// Sets [`compression`](Self::compression).
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets [`threshold`](Self::threshold), in bytes.
    #[must_use]
    pub fn with_threshold(mut self, threshold: usize) -> Self {
        self.threshold = threshold;
        self
    }

    /// Sets [`max_value_len`](Self::max_value_len), in bytes.
    #[must_use]
    pub fn with_max_value_len(mut self, bytes: usize) -> Self {
        self.max_value_len = bytes;
        self
    }

    /// Sets [`max_batch_len`](Self::max_batch_len), in bytes.
    #[must_use]
    pub fn with_max_batch_len(mut self, bytes: usize) -> Self {
        self.max_batch_len = bytes;
        self
    }

    /// Sets [`dictionary`](Self::dictionary).
    #[must_use]
    pub fn with_dictionary(mut self, dictionary: Dictionary) -> Self {
        self.dictionary = Some(dictionary);
        self
    }

    /// Sets [`keys`](Self::keys).
    #[cfg(feature = "encrypt")]
    #[must_use]
    pub fn with_keys(mut self, keys: KeyRing) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Sets [`plaintext`](Self::plaintext).
    #[cfg(feature = "encrypt")]
    #[must_use]
    pub fn with_plaintext(mut self, plaintext: Plaintext) -> Self {
        self.plaintext = plaintext;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.compression.check()?;
        if !(1..=MAX_VALUE_LEN).contains(&self.max_value_len) {
            return Err(invalid("max_value_len: not in 1 byte to 1 GiB".into()));
        }
        if self.max_batch_len < self.max_value_len {
            return Err(invalid("max_batch_len: below max_value_len".into()));
        }
        if self.dictionary.is_some() && !matches!(self.compression, Compression::Zstd { .. }) {
            return Err(invalid("dictionary: only Zstd compresses with one".into()));
        }
        #[cfg(feature = "encrypt")]
        match &self.keys {
            Some(keys) => keys.check()?,
            None if self.plaintext == Plaintext::Refuse => {
                return Err(invalid(
                    "plaintext: refused, and there are no keys to read anything else".into(),
                ));
            }
            None => {}
        }
        Ok(())
    }
}

fn invalid(context: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, context)
}

/// Beyond this neither LZ4's block format nor the arithmetic on 32-bit machines is safe.
const MAX_VALUE_LEN: usize = 1 << 30;
