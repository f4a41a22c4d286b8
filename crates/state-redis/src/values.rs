//! Values and the bytes that stand for them on the server.

use std::borrow::Cow;
use std::sync::Arc;

use state_codec::{Batch, Codec, CodecConfig, DictionaryStore, Fingerprint, MAGIC, Stored};
use state_core::StateResult;

use crate::config::RedisConfig;
use crate::error;
use crate::instruments::Instruments;
use crate::operation::Operation;

/// Turns values into stored bytes and back. Keys are those of the caller, without prefix: encryption binds to them.
pub(crate) struct Values {
    codec: Codec,
    dictionaries: Option<Arc<dyn DictionaryStore>>,
    instruments: Instruments,
}

impl Values {
    pub(crate) fn new(
        config: &RedisConfig,
        dictionaries: Option<Arc<dyn DictionaryStore>>,
        instruments: &Instruments,
    ) -> StateResult<Self> {
        Ok(Self { codec: codec(config)?, dictionaries, instruments: instruments.clone() })
    }

    /// Saves the dictionary that values are going to be compressed with, so that every reader gets at it.
    pub(crate) async fn publish_dictionary(&self) -> StateResult<()> {
        if let (Some(store), Some(dictionary)) = (&self.dictionaries, &self.codec.config().dictionary) {
            store.save(dictionary).await.map_err(|cause| error::in_dictionary_store("connect", cause))?;
        }
        Ok(())
    }

    /// The bytes to store for `value` under `key`.
    #[inline]
    pub(crate) fn encode<'v>(
        &self,
        operation: Operation,
        key: &[u8],
        value: &'v [u8],
    ) -> StateResult<Cow<'v, [u8]>> {
        let bytes = self.codec.encode(key, value).map_err(|cause| error::from_codec(operation, cause))?;
        if let Cow::Owned(bytes) = &bytes {
            self.instruments.compressed(self.codec.config().compression, value.len(), bytes.len());
        }
        Ok(bytes)
    }

    /// The value that `bytes`, read from under `key`, stand for.
    #[inline]
    pub(crate) async fn decode(
        &self,
        operation: Operation,
        key: &[u8],
        bytes: Vec<u8>,
    ) -> StateResult<Vec<u8>> {
        self.fetch_dictionary(operation, &bytes).await?;
        self.codec.decode(key, bytes).map_err(|cause| error::from_codec(operation, cause))
    }

    /// For values that are held together: one bound for all of them.
    pub(crate) fn decoder(&self) -> Decoder<'_> {
        Decoder { values: self, batch: self.codec.batch() }
    }

    /// What a script compares with an envelope: its magic, and the fingerprint of `value`.
    pub(crate) fn envelope(&self, operation: Operation, value: &[u8]) -> StateResult<Vec<u8>> {
        let fingerprint = Fingerprint::of(value).map_err(|cause| error::from_codec(operation, cause))?;
        Ok([MAGIC.as_slice(), fingerprint.as_bytes()].concat())
    }

    /// What an envelope begins with.
    pub(crate) fn magic(&self) -> &'static [u8] {
        &MAGIC
    }

    /// Whether numbers are stored as they are, so that the server can add to them.
    pub(crate) fn keeps_numbers(&self) -> bool {
        self.is_raw()
    }

    #[cfg(feature = "encrypt")]
    fn is_raw(&self) -> bool {
        self.codec.config().keys.is_none()
    }

    #[cfg(not(feature = "encrypt"))]
    fn is_raw(&self) -> bool {
        true
    }

    async fn fetch_dictionary(&self, operation: Operation, bytes: &[u8]) -> StateResult<()> {
        let Some(store) = &self.dictionaries else { return Ok(()) };
        if self.codec.missing_dictionary(bytes).is_none() {
            return Ok(());
        }
        let fetched = self.codec.fetch_dictionary(store.as_ref(), bytes).await;
        fetched.map_err(|cause| error::from_codec(operation, cause))
    }
}

/// Decodes the values of one batch.
pub(crate) struct Decoder<'a> {
    values: &'a Values,
    batch: Batch<'a>,
}

impl Decoder<'_> {
    pub(crate) async fn decode(
        &mut self,
        operation: Operation,
        key: &[u8],
        bytes: Vec<u8>,
    ) -> StateResult<Vec<u8>> {
        self.values.fetch_dictionary(operation, &bytes).await?;
        self.batch.decode(key, bytes).map_err(|cause| error::from_codec(operation, cause))
    }
}

/// Whether `bytes` are encrypted, so that only their owner can compare them.
pub(crate) fn is_encrypted(bytes: &[u8]) -> bool {
    Stored::parse(bytes).is_ok_and(|stored| stored.key_id().is_some())
}

/// The codec that the settings describe.
pub(crate) fn codec(config: &RedisConfig) -> StateResult<Codec> {
    let mut settings = CodecConfig::default()
        .with_compression(config.compression)
        .with_threshold(config.compression_threshold)
        .with_max_value_len(config.max_value_len);
    settings.max_batch_len = settings.max_batch_len.max(config.max_value_len);
    settings.dictionary = config.dictionary.clone();
    #[cfg(feature = "encrypt")]
    {
        settings.keys = config.encryption_keys.clone();
        settings.plaintext = config.plaintext;
    }
    Codec::new(settings).map_err(error::in_codec)
}
