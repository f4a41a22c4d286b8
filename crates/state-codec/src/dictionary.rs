//! Zstandard dictionaries: what small values that resemble each other need to compress well.
#![cfg_attr(
    not(all(feature = "lz4", feature = "snappy", feature = "zstd")),
    allow(dead_code, unused_variables, unreachable_code, reason = "what only the missing algorithm uses")
)]

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;
use xxhash_rust::xxh3::xxh3_128;

use crate::{Error, ErrorKind, Result};

/// Names a dictionary in envelopes and stores. It is the id that Zstandard itself puts in the dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DictionaryId(u32);

impl DictionaryId {
    /// The id with this number.
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for DictionaryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A trained Zstandard dictionary. Cloning is cheap.
///
/// Its bytes are made of the samples it was trained on: keep it as secret as they are. `Debug` shows
/// the id and the length only.
#[derive(Clone, PartialEq, Eq)]
pub struct Dictionary {
    id: DictionaryId,
    digest: u128,
    bytes: Arc<[u8]>,
}

impl Dictionary {
    /// The most bytes a dictionary may have: 1 MiB. 16 to 110 KiB is what is usual.
    pub const MAX_LEN: usize = 1 << 20;
    /// How many dictionaries one codec takes.
    pub const MAX_REGISTERED: usize = 256;

    /// Trains a dictionary of at most `max_len` bytes.
    ///
    /// Samples are values as they are before compression; a few hundred at least, and about a hundred
    /// times `max_len` in all, give good results.
    ///
    /// # Errors
    /// `InvalidConfig` when `max_len` is above [`MAX_LEN`](Self::MAX_LEN) or the samples are too few or
    /// too uniform to train on.
    #[cfg(feature = "zstd")]
    pub fn train<S: AsRef<[u8]>>(samples: &[S], max_len: usize) -> Result<Self> {
        if max_len > Self::MAX_LEN {
            return Err(Error::new(ErrorKind::InvalidConfig, "max_len: above Dictionary::MAX_LEN"));
        }
        let bytes = zstd::dict::from_samples(samples, max_len).map_err(|source| {
            let context = format!("{} samples do not make a dictionary", samples.len());
            Error::new(ErrorKind::InvalidConfig, context).with_source(source)
        })?;
        Self::from_bytes(bytes)
    }

    /// Takes up a dictionary in Zstandard's format, as [`as_bytes`](Self::as_bytes) or `zstd --train` give it.
    ///
    /// # Errors
    /// `InvalidConfig` when the bytes are no such dictionary, carry no id, or are more than
    /// [`MAX_LEN`](Self::MAX_LEN); `Unsupported` when feature `zstd` is off.
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Result<Self> {
        let bytes = bytes.into();
        let id = Self::read_id(&bytes)?;
        Ok(Self { id, digest: xxh3_128(&bytes), bytes })
    }

    /// The id, which Zstandard derives from the content.
    pub fn id(&self) -> DictionaryId {
        self.id
    }

    /// The dictionary in Zstandard's format.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[cfg(feature = "zstd")]
    pub(crate) fn digest(&self) -> u128 {
        self.digest
    }

    #[cfg(feature = "zstd")]
    fn read_id(bytes: &[u8]) -> Result<DictionaryId> {
        use zstd::zstd_safe::{DDict, get_dict_id_from_dict};

        let id = get_dict_id_from_dict(bytes).filter(|_| bytes.len() <= Self::MAX_LEN);
        match id {
            // The id may stand in a damaged dictionary too: only loading it tells.
            Some(id) if DDict::try_create(bytes).is_some() => Ok(DictionaryId(id.get())),
            _ => Err(Error::new(ErrorKind::InvalidConfig, "not a Zstandard dictionary of at most 1 MiB")),
        }
    }

    #[cfg(not(feature = "zstd"))]
    fn read_id(_: &[u8]) -> Result<DictionaryId> {
        Err(Error::new(ErrorKind::Unsupported, "dictionary: feature `zstd` is off"))
    }
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dictionary")
            .field("id", &self.id)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Why a [`DictionaryStore`] failed: its own error, which becomes the `source()` of ours.
pub type DictionaryStoreError = Box<dyn std::error::Error + Send + Sync>;

/// Where dictionaries are kept, so that every reader can get at them.
///
/// It is asked before decoding, by [`Codec::fetch_dictionary`](crate::Codec::fetch_dictionary), since
/// a fetch may wait and decoding does not. A dictionary must outlive every value written with it.
#[async_trait]
pub trait DictionaryStore: Send + Sync {
    /// The bytes of a dictionary, or `None` when the store does not have it.
    ///
    /// # Errors
    /// When the store cannot tell.
    async fn load(&self, id: DictionaryId) -> Result<Option<Vec<u8>>, DictionaryStoreError>;

    /// Keeps a dictionary. Saving the same one again is no error; ids are never reused for another one.
    ///
    /// # Errors
    /// When the dictionary may not have been saved.
    async fn save(&self, dictionary: &Dictionary) -> Result<(), DictionaryStoreError>;
}

/// Dictionaries in this process's memory.
#[derive(Debug, Default)]
pub struct MemoryDictionaryStore(RwLock<HashMap<DictionaryId, Dictionary>>);

#[async_trait]
impl DictionaryStore for MemoryDictionaryStore {
    async fn load(&self, id: DictionaryId) -> Result<Option<Vec<u8>>, DictionaryStoreError> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Ok(known.get(&id).map(|dictionary| dictionary.as_bytes().to_vec()))
    }

    async fn save(&self, dictionary: &Dictionary) -> Result<(), DictionaryStoreError> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(dictionary.id(), dictionary.clone());
        Ok(())
    }
}

/// The dictionaries that a codec can decode with. No panic can happen under its lock.
#[derive(Default)]
pub(crate) struct Dictionaries(RwLock<HashMap<DictionaryId, Dictionary>>);

impl Dictionaries {
    pub(crate) fn get(&self, id: DictionaryId) -> Option<Dictionary> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub(crate) fn add(&self, dictionary: Dictionary) -> Result<()> {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let reason = match known.get(&dictionary.id()) {
            Some(same) if *same == dictionary => return Ok(()),
            Some(_) => "dictionary: another one is registered under this id",
            None if known.len() >= Dictionary::MAX_REGISTERED => "dictionary: too many are registered",
            None => {
                known.insert(dictionary.id(), dictionary);
                return Ok(());
            }
        };
        Err(Error::new(ErrorKind::InvalidConfig, reason))
    }
}
