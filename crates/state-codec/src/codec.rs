//! From a value to stored bytes, and back.

use std::{borrow::Cow, fmt, sync::Arc};

use crate::{
    Algorithm, CodecConfig, Compression, Dictionary, DictionaryId, DictionaryStore, Error, ErrorKind,
    Fingerprint, Result, Stored, compress,
    dictionary::Dictionaries,
    encrypt::EncryptionKey,
    envelope::{self, Header, TAG_LEN},
};

/// Turns values into the bytes that are stored, and back.
///
/// Cloning is cheap and gives a handle on the same codec, its registered dictionaries included.
/// Encoding and decoding never block, never wait and do no I/O.
#[derive(Clone)]
pub struct Codec(Arc<Inner>);

struct Inner {
    config: CodecConfig,
    dictionaries: Dictionaries,
}

impl Codec {
    /// A codec with these settings.
    ///
    /// # Errors
    /// `InvalidConfig` when a setting is out of range or two contradict each other, `Unsupported` when
    /// the algorithm's feature is off. The context names the field.
    pub fn new(config: CodecConfig) -> Result<Self> {
        config.check()?;
        let dictionaries = Dictionaries::default();
        if let Some(dictionary) = &config.dictionary {
            dictionaries.add(dictionary.clone())?;
        }
        Ok(Self(Arc::new(Inner { config, dictionaries })))
    }

    /// The settings that this codec was made with.
    pub fn config(&self) -> &CodecConfig {
        &self.0.config
    }

    /// The bytes to store for `value` under `key`.
    ///
    /// Borrowed, and so without a copy, when the value is stored as it is: below the threshold, or
    /// when compression does not make it smaller, the envelope included. A value that could be taken
    /// for an envelope is always wrapped in one. `key` is the state key; only encryption uses it, to
    /// bind the stored value to it.
    ///
    /// # Errors
    /// `TooLarge` above `max_value_len`, `KeyExhausted` when the encryption key may seal no more values,
    /// `Internal` when a compression library fails.
    pub fn encode<'v>(&self, key: &[u8], value: &'v [u8]) -> Result<Cow<'v, [u8]>> {
        let config = &self.0.config;
        if value.len() < config.threshold
            && value.len() <= config.max_value_len
            && !envelope::is_marked(value)
            && config.sealing_key().is_none()
        {
            return Ok(Cow::Borrowed(value));
        }
        self.wrap(key, value).map_err(|error| error.under(key))
    }

    /// The value that `stored`, read from under `key`, stands for.
    ///
    /// A raw value is handed back as it came, without a copy. What to do with an envelope is decided
    /// by its header alone, so it does not matter which settings wrote it.
    ///
    /// # Errors
    /// `Corrupt`, `TooLarge`, `Unsupported`, `MissingDictionary`, `MissingKey` and `PlaintextRefused`,
    /// as [`ErrorKind`] defines them; `Internal` when a compression library cannot allocate.
    pub fn decode(&self, key: &[u8], stored: Vec<u8>) -> Result<Vec<u8>> {
        self.decode_within(key, Cow::Owned(stored), self.0.config.max_value_len).map(Cow::into_owned)
    }

    /// [`decode`](Self::decode) for bytes that the caller keeps.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_slice<'s>(&self, key: &[u8], stored: &'s [u8]) -> Result<Cow<'s, [u8]>> {
        self.decode_within(key, Cow::Borrowed(stored), self.0.config.max_value_len)
    }

    /// Starts decoding values that are held in memory together: `max_batch_len` bounds their sum.
    pub fn batch(&self) -> Batch<'_> {
        Batch { codec: self, left: self.0.config.max_batch_len }
    }

    /// The dictionary that decoding `stored` needs and that is not registered yet.
    ///
    /// Bytes that are no valid envelope need none; decoding them says what is wrong. Costs a look at
    /// four bytes for a raw value.
    pub fn missing_dictionary(&self, stored: &[u8]) -> Option<DictionaryId> {
        let id = Stored::parse(stored).ok()?.dictionary()?;
        self.0.dictionaries.get(id).is_none().then_some(id)
    }

    /// Registers a dictionary, so that values written with it can be read. Repeating it is harmless.
    ///
    /// # Errors
    /// `InvalidConfig` when another dictionary is registered under the same id, or
    /// [`Dictionary::MAX_REGISTERED`] already are.
    pub fn add_dictionary(&self, dictionary: Dictionary) -> Result<()> {
        self.0.dictionaries.add(dictionary)
    }

    /// Fetches the dictionary that `stored` needs, where one is missing, and registers it.
    ///
    /// Call this before [`decode`](Self::decode): decoding cannot wait.
    ///
    /// # Errors
    /// `DictionaryStore` when the store fails, `MissingDictionary` when it does not hold the dictionary,
    /// `Corrupt` when it holds something else under the id; and as [`add_dictionary`](Self::add_dictionary).
    pub async fn fetch_dictionary(&self, store: &dyn DictionaryStore, stored: &[u8]) -> Result<()> {
        let Some(id) = self.missing_dictionary(stored) else { return Ok(()) };
        let bytes = store.load(id).await.map_err(|source| {
            Error::new(ErrorKind::DictionaryStore, format!("loading dictionary {id}")).with_source(source)
        })?;
        let bytes = bytes.ok_or_else(|| missing_dictionary(id))?;
        let dictionary = Dictionary::from_bytes(bytes)
            .ok()
            .filter(|dictionary| dictionary.id() == id)
            .ok_or_else(|| Error::corrupt(format!("the store's entry for dictionary {id} is not it")))?;
        self.add_dictionary(dictionary)
    }

    fn wrap<'v>(&self, key: &[u8], value: &'v [u8]) -> Result<Cow<'v, [u8]>> {
        let config = &self.0.config;
        if value.len() > config.max_value_len {
            return Err(too_large(value.len(), config.max_value_len, "max_value_len"));
        }
        let compresses = config.compression != Compression::None && value.len() >= config.threshold;
        if compresses && let Some(stored) = self.wrap_compressed(key, value)? {
            return Ok(Cow::Owned(stored));
        }
        if config.sealing_key().is_none() && !envelope::is_marked(value) {
            return Ok(Cow::Borrowed(value));
        }
        self.assemble(key, &self.header(Algorithm::None), value, value).map(Cow::Owned)
    }

    /// The envelope with a compressed payload, unless the value is better stored as it is.
    fn wrap_compressed(&self, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>> {
        let config = &self.0.config;
        let header = self.header(compress::algorithm(config.compression));
        // Encryption needs an envelope in any case, so only the payload is weighed.
        let overhead = if header.seal.is_some() { 0 } else { header.payload_offset() };
        compress::with_compressed(config.compression, config.dictionary.as_ref(), value, |payload| {
            let smaller = overhead + payload.len() < value.len();
            smaller.then(|| self.assemble(key, &header, value, payload)).transpose()
        })?
    }

    fn header(&self, algorithm: Algorithm) -> Header {
        let config = &self.0.config;
        let dictionary = config.dictionary.as_ref().filter(|_| algorithm == Algorithm::Zstd);
        let seal = config.sealing_key().map(EncryptionKey::seal);
        Header { algorithm, dictionary: dictionary.map(Dictionary::id), seal }
    }

    fn assemble(&self, key: &[u8], header: &Header, value: &[u8], payload: &[u8]) -> Result<Vec<u8>> {
        let sealing_key = self.0.config.sealing_key();
        let fingerprint = Fingerprint::of(value)?;
        let tag_len = sealing_key.map_or(0, |_| TAG_LEN);
        let mut out = Vec::with_capacity(header.payload_offset() + payload.len() + tag_len);
        header.write_prefix(&mut out);
        if let Some(sealing_key) = sealing_key {
            sealing_key.write_nonce(&mut out);
        }
        header.write_body(&fingerprint, &mut out);
        out.extend_from_slice(payload);
        if let Some(sealing_key) = sealing_key {
            sealing_key.seal_in_place(key, &mut out, header.fingerprint_offset())?;
        }
        Ok(out)
    }

    fn decode_within<'s>(&self, key: &[u8], stored: Cow<'s, [u8]>, max_len: usize) -> Result<Cow<'s, [u8]>> {
        let value = if envelope::is_marked(&stored) {
            self.unwrap(key, stored, max_len).map(Cow::Owned)
        } else {
            self.check_plaintext().map(|()| stored)
        };
        value.map_err(|error| error.under(key))
    }

    fn check_plaintext(&self) -> Result<()> {
        if self.0.config.refuses_plaintext() {
            return Err(Error::new(ErrorKind::PlaintextRefused, "the value is not encrypted"));
        }
        Ok(())
    }

    fn unwrap(&self, key: &[u8], mut stored: Cow<'_, [u8]>, max_len: usize) -> Result<Vec<u8>> {
        let header = Header::parse(&stored)?;
        if let Some(seal) = header.seal {
            let opening_key = self.0.config.opening_key(seal.key_id)?;
            let clear = header.fingerprint_offset();
            stored = Cow::Owned(opening_key.open_in_place(key, seal, stored.into_owned(), clear)?);
        } else {
            self.check_plaintext()?;
        }
        let (fingerprint, payload) = header.split_body(&stored)?;
        let raw_len = fingerprint.raw_len();
        compress::check_lengths(header.algorithm, payload.len(), raw_len)?;
        self.check_limit(raw_len, max_len)?;
        let value = if header.algorithm == Algorithm::None {
            let mut owned = stored.into_owned();
            owned.drain(..header.payload_offset());
            owned
        } else {
            let dictionary = self.dictionary(&header)?;
            compress::decompress(header.algorithm, dictionary.as_ref(), payload, raw_len)?
        };
        if Fingerprint::of(&value)? != fingerprint {
            return Err(Error::corrupt("the checksum does not match"));
        }
        Ok(value)
    }

    fn check_limit(&self, raw_len: usize, max_len: usize) -> Result<()> {
        if raw_len <= max_len {
            return Ok(());
        }
        let whole = max_len == self.0.config.max_value_len;
        Err(too_large(raw_len, max_len, if whole { "max_value_len" } else { "max_batch_len" }))
    }

    fn dictionary(&self, header: &Header) -> Result<Option<Dictionary>> {
        let Some(id) = header.dictionary else { return Ok(None) };
        self.0.dictionaries.get(id).map(Some).ok_or_else(|| missing_dictionary(id))
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").field("config", &self.0.config).finish_non_exhaustive()
    }
}

/// Decodes values that are held in memory together, within one limit on their sum.
///
/// A value that does not fit is an error of its own and leaves the rest of the batch usable.
/// Raw values are not counted: they take the memory that the reply already took.
#[derive(Debug)]
pub struct Batch<'c> {
    codec: &'c Codec,
    left: usize,
}

impl Batch<'_> {
    /// [`Codec::decode`], within what is left of `max_batch_len`.
    ///
    /// # Errors
    /// As [`Codec::decode`]; `TooLarge` also when the batch would exceed `max_batch_len`.
    pub fn decode(&mut self, key: &[u8], stored: Vec<u8>) -> Result<Vec<u8>> {
        let raw = !envelope::is_marked(&stored);
        let max_len = self.left.min(self.codec.0.config.max_value_len);
        let value = self.codec.decode_within(key, Cow::Owned(stored), max_len)?.into_owned();
        if !raw {
            self.left -= value.len();
        }
        Ok(value)
    }
}

fn too_large(len: usize, max: usize, limit: &str) -> Error {
    Error::new(ErrorKind::TooLarge, format!("{len} bytes, {limit} leaves {max}"))
}

fn missing_dictionary(id: DictionaryId) -> Error {
    Error::new(ErrorKind::MissingDictionary, format!("dictionary {id}"))
}
