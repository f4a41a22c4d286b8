//! The stored envelope, byte by byte: `docs/envelope.md` is its specification.

use xxhash_rust::xxh3::xxh3_128;

use crate::{DictionaryId, Error, ErrorKind, Result};

/// The four bytes that an envelope begins with.
///
/// `F5` and `F8` occur nowhere in UTF-8, so no text starts like this, not even after one bit of it
/// has been flipped.
pub const MAGIC: [u8; 4] = [0xF5, 0xF8, 0x53, 0x45];

/// The envelope version that this crate writes, and the only one there is.
pub const ENVELOPE_VERSION: u8 = 1;

/// How an envelope's payload is compressed. The discriminant is the byte that stands in the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Algorithm {
    /// Stored as it is.
    None = 0,
    /// One LZ4 block without a size prefix.
    Lz4 = 1,
    /// One raw Snappy stream (not the framing format).
    Snappy = 2,
    /// One Zstandard frame that states its content size.
    Zstd = 3,
}

impl Algorithm {
    fn from_code(code: u8) -> Result<Self> {
        [Self::None, Self::Lz4, Self::Snappy, Self::Zstd]
            .into_iter()
            .find(|algorithm| *algorithm as u8 == code)
            .ok_or_else(|| Error::corrupt(format!("unknown algorithm {code}")))
    }
}

/// Length and checksum of a raw value, in the 20 bytes in which an unencrypted envelope stores them.
///
/// Two values with equal fingerprints are equal for all practical purposes (XXH3-128 is no
/// cryptographic hash: whoever may choose both values can make them collide). A compare-and-swap
/// script compares [`as_bytes`](Self::as_bytes) with the bytes from [`Fingerprint::OFFSET`] on,
/// whatever algorithm wrote the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; Self::LEN]);

impl Fingerprint {
    /// How many bytes a fingerprint has: four of length, sixteen of checksum, both big-endian.
    pub const LEN: usize = 20;
    /// Where the fingerprint starts in an unencrypted envelope, counted from 0.
    pub const OFFSET: usize = 8;

    /// The fingerprint of `value`.
    ///
    /// # Errors
    /// `TooLarge` when the value has 4 GiB or more.
    pub fn of(value: &[u8]) -> Result<Self> {
        let len = u32::try_from(value.len())
            .map_err(|_| Error::new(ErrorKind::TooLarge, "an envelope holds less than 4 GiB"))?;
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&len.to_be_bytes());
        bytes[4..].copy_from_slice(&xxh3_128(value).to_be_bytes());
        Ok(Self(bytes))
    }

    /// The bytes as they stand in the envelope.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The raw value's length in bytes.
    pub fn raw_len(&self) -> usize {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d]) as usize
    }
}

/// What a stored value is, told from its bytes alone and without decoding it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stored {
    /// The value itself, byte for byte.
    Raw,
    /// An envelope in plaintext.
    Envelope {
        /// How the payload is compressed.
        algorithm: Algorithm,
        /// The dictionary that decoding needs.
        dictionary: Option<DictionaryId>,
        /// Length and checksum of the raw value.
        fingerprint: Fingerprint,
    },
    /// An encrypted envelope, which shows no fingerprint.
    Sealed {
        /// How the payload is compressed under the encryption.
        algorithm: Algorithm,
        /// The dictionary that decoding needs.
        dictionary: Option<DictionaryId>,
        /// The key that it was encrypted with.
        key_id: u32,
    },
}

impl Stored {
    /// Reads the header of `stored`. The payload is not looked at.
    ///
    /// # Errors
    /// `Corrupt` when the bytes carry the envelope's mark and no valid header follows.
    pub fn parse(stored: &[u8]) -> Result<Self> {
        if !is_marked(stored) {
            return Ok(Self::Raw);
        }
        let header = Header::parse(stored)?;
        let Header { algorithm, dictionary, .. } = header;
        Ok(match header.seal {
            Some(seal) => Self::Sealed { algorithm, dictionary, key_id: seal.key_id },
            None => {
                let fingerprint = split_fingerprint(&stored[Fingerprint::OFFSET..])?.0;
                Self::Envelope { algorithm, dictionary, fingerprint }
            }
        })
    }

    /// The dictionary that decoding needs, if any.
    pub fn dictionary(&self) -> Option<DictionaryId> {
        match self {
            Self::Raw => None,
            Self::Envelope { dictionary, .. } | Self::Sealed { dictionary, .. } => *dictionary,
        }
    }

    /// The key that the value was encrypted with, if any.
    pub fn key_id(&self) -> Option<u32> {
        match self {
            Self::Sealed { key_id, .. } => Some(*key_id),
            Self::Raw | Self::Envelope { .. } => None,
        }
    }
}

/// Whether stored bytes claim to be an envelope.
///
/// True for the magic, for anything one flipped bit away from it, and for a value that is cut off
/// inside it. Whoever writes wraps a raw value for which this holds; so a damaged envelope is never
/// taken for a raw value.
pub(crate) fn is_marked(stored: &[u8]) -> bool {
    match stored.first_chunk() {
        Some(head) => (u32::from_be_bytes(*head) ^ u32::from_be_bytes(MAGIC)).count_ones() <= 1,
        None => !stored.is_empty() && MAGIC.starts_with(stored),
    }
}

/// Everything that stands before the part which encryption hides.
///
/// In plaintext that part, the body, is the fingerprint, the dictionary's id and the payload. Under
/// encryption the id stands outside, because a reader must know it before it can decode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    pub(crate) dictionary: Option<DictionaryId>,
    pub(crate) seal: Option<Seal>,
}

/// How an envelope is encrypted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seal {
    pub(crate) cipher: SealCode,
    pub(crate) key_id: u32,
}

/// The cipher byte. The codes are known in every build, the ciphers only with the feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum SealCode {
    Aes256Gcm = 1,
    XChaCha20Poly1305 = 2,
}

impl SealCode {
    pub(crate) fn nonce_len(self) -> usize {
        match self {
            Self::Aes256Gcm => 12,
            Self::XChaCha20Poly1305 => 24,
        }
    }
}

impl Header {
    pub(crate) fn parse(stored: &[u8]) -> Result<Self> {
        let Some(&[_, _, _, _, version, algorithm, flags, cipher]) = stored.first_chunk() else {
            return Err(Error::corrupt("cut off inside the header"));
        };
        if !stored.starts_with(&MAGIC) {
            return Err(Error::corrupt("one bit away from the envelope's magic"));
        }
        if version != ENVELOPE_VERSION {
            return Err(Error::corrupt(format!("unknown envelope version {version}")));
        }
        if flags & !(FLAG_DICTIONARY | FLAG_SEALED) != 0 {
            return Err(Error::corrupt(format!("unknown flags {flags:#04x}")));
        }
        let algorithm = Algorithm::from_code(algorithm)?;
        let seal = Self::parse_seal(stored, flags, cipher)?;
        let mut header = Self { algorithm, dictionary: None, seal };
        if flags & FLAG_DICTIONARY != 0 {
            if algorithm != Algorithm::Zstd {
                return Err(Error::corrupt("a dictionary with an algorithm that takes none"));
            }
            header.dictionary = Some(DictionaryId::new(be_u32(stored, header.dictionary_offset())?));
        }
        Ok(header)
    }

    fn parse_seal(stored: &[u8], flags: u8, cipher: u8) -> Result<Option<Seal>> {
        let cipher = match (flags & FLAG_SEALED != 0, cipher) {
            (false, 0) => return Ok(None),
            (true, 1) => SealCode::Aes256Gcm,
            (true, 2) => SealCode::XChaCha20Poly1305,
            _ => return Err(Error::corrupt(format!("unknown cipher {cipher}"))),
        };
        Ok(Some(Seal { cipher, key_id: be_u32(stored, PREFIX_LEN)? }))
    }

    /// Appends the first eight bytes, and under encryption the key's and the dictionary's id.
    pub(crate) fn write_prefix(&self, out: &mut Vec<u8>) {
        let dictionary = if self.dictionary.is_some() { FLAG_DICTIONARY } else { 0 };
        let (sealed, cipher) = self.seal.map_or((0, 0), |seal| (FLAG_SEALED, seal.cipher as u8));
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[ENVELOPE_VERSION, self.algorithm as u8, dictionary | sealed, cipher]);
        if let Some(seal) = self.seal {
            out.extend_from_slice(&seal.key_id.to_be_bytes());
            self.write_dictionary(out);
        }
    }

    /// Appends the fingerprint, and in plaintext the dictionary's id.
    pub(crate) fn write_body(&self, fingerprint: &Fingerprint, out: &mut Vec<u8>) {
        out.extend_from_slice(fingerprint.as_bytes());
        if self.seal.is_none() {
            self.write_dictionary(out);
        }
    }

    /// How many bytes stand before the payload, the nonce included.
    pub(crate) fn payload_offset(&self) -> usize {
        let dictionary = if self.dictionary.is_some() { 4 } else { 0 };
        let seal = self.seal.map_or(0, |seal| 4 + seal.cipher.nonce_len());
        PREFIX_LEN + seal + dictionary + Fingerprint::LEN
    }

    /// Where the fingerprint starts: the bytes before it are what encryption authenticates in the clear.
    pub(crate) fn fingerprint_offset(&self) -> usize {
        match self.seal {
            Some(_) => self.payload_offset() - Fingerprint::LEN,
            None => Fingerprint::OFFSET,
        }
    }

    /// The fingerprint and the payload of an envelope whose encryption, if any, has been opened.
    pub(crate) fn split_body<'s>(&self, opened: &'s [u8]) -> Result<(Fingerprint, &'s [u8])> {
        let body = opened.get(self.fingerprint_offset()..).unwrap_or_default();
        let payload = opened.get(self.payload_offset()..);
        let (fingerprint, _) = split_fingerprint(body)?;
        Ok((fingerprint, payload.ok_or_else(|| Error::corrupt("cut off inside the header"))?))
    }

    fn dictionary_offset(&self) -> usize {
        match self.seal {
            Some(_) => PREFIX_LEN + 4,
            None => PREFIX_LEN + Fingerprint::LEN,
        }
    }

    fn write_dictionary(&self, out: &mut Vec<u8>) {
        if let Some(id) = self.dictionary {
            out.extend_from_slice(&id.get().to_be_bytes());
        }
    }
}

/// Splits the fingerprint off the front.
fn split_fingerprint(bytes: &[u8]) -> Result<(Fingerprint, &[u8])> {
    let (fingerprint, rest) =
        bytes.split_first_chunk().ok_or_else(|| Error::corrupt("cut off before the checksum"))?;
    Ok((Fingerprint(*fingerprint), rest))
}

fn be_u32(stored: &[u8], offset: usize) -> Result<u32> {
    let bytes = stored.get(offset..).and_then(|rest| rest.first_chunk());
    bytes.map(|bytes| u32::from_be_bytes(*bytes)).ok_or_else(|| Error::corrupt("cut off inside the header"))
}

/// How long the authentication tag of either cipher is.
pub(crate) const TAG_LEN: usize = 16;

const PREFIX_LEN: usize = 8;
const FLAG_DICTIONARY: u8 = 0b01;
const FLAG_SEALED: u8 = 0b10;
