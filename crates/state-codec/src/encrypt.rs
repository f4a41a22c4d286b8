//! Authenticated encryption of stored values (feature `encrypt`).

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use aes_gcm::{
    Aes256Gcm,
    aead::{AeadInOut, KeyInit},
};
use chacha20poly1305::XChaCha20Poly1305;
use rand::Rng;

use crate::{
    CodecConfig, Error, ErrorKind, Result,
    envelope::{Seal, SealCode, TAG_LEN},
};

/// An AEAD cipher with a 256-bit key. The envelope says which one sealed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Cipher {
    /// XChaCha20-Poly1305 with a random 192-bit nonce. There is no practical bound on how many values
    /// one key may seal.
    #[default]
    XChaCha20Poly1305,
    /// AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce. At most 2^32 values for each key, over
    /// all processes together: rotate well before. Each process counts its own and then refuses.
    Aes256Gcm,
}

/// Whether stored values that are not encrypted may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Plaintext {
    /// They may: what was written before encryption was switched on stays readable. Whoever can write
    /// to the store can then plant plaintext.
    #[default]
    Accept,
    /// They are refused with `PlaintextRefused`. Choose this once every value has been encrypted.
    Refuse,
}

/// One key: its id, which stands in every envelope it seals, its cipher, and the secret.
///
/// The secret cannot be read back, `Debug` does not show it, and it is wiped from memory with the last
/// clone. Clones share the count of sealed values.
#[derive(Clone)]
pub struct EncryptionKey(Arc<KeyInner>);

struct KeyInner {
    id: u32,
    secret: Secret,
    sealed: AtomicU64,
}

enum Secret {
    // The round keys are large, so they are kept out of line.
    Aes256Gcm(Box<Aes256Gcm>),
    XChaCha20Poly1305(XChaCha20Poly1305),
}

/// Both ciphers wipe what they hold of the secret when they are dropped, or this does not compile.
const _: () = {
    const fn wipes<T: zeroize::ZeroizeOnDrop>() {}
    wipes::<Aes256Gcm>();
    wipes::<XChaCha20Poly1305>();
};

impl EncryptionKey {
    /// A key. `secret` must come from a cryptographic random source or a key derivation function, and
    /// the caller wipes its own copy. An id must never be given to a second secret.
    pub fn new(id: u32, cipher: Cipher, secret: &[u8; 32]) -> Self {
        let secret = match cipher {
            Cipher::Aes256Gcm => Secret::Aes256Gcm(Box::new(Aes256Gcm::new(secret.into()))),
            Cipher::XChaCha20Poly1305 => Secret::XChaCha20Poly1305(XChaCha20Poly1305::new(secret.into())),
        };
        Self(Arc::new(KeyInner { id, secret, sealed: AtomicU64::new(0) }))
    }

    /// The id that stands in the envelopes.
    pub fn id(&self) -> u32 {
        self.0.id
    }

    /// The cipher.
    pub fn cipher(&self) -> Cipher {
        match self.0.secret {
            Secret::Aes256Gcm(_) => Cipher::Aes256Gcm,
            Secret::XChaCha20Poly1305(_) => Cipher::XChaCha20Poly1305,
        }
    }

    pub(crate) fn seal(&self) -> Seal {
        let cipher = match self.0.secret {
            Secret::Aes256Gcm(_) => SealCode::Aes256Gcm,
            Secret::XChaCha20Poly1305(_) => SealCode::XChaCha20Poly1305,
        };
        Seal { cipher, key_id: self.0.id }
    }

    /// Appends a fresh random nonce.
    pub(crate) fn write_nonce(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + self.seal().cipher.nonce_len(), 0);
        rand::rng().fill_bytes(&mut out[start..]);
    }

    /// Encrypts everything from `clear` on and appends the tag. The nonce stands right before `clear`.
    pub(crate) fn seal_in_place(&self, key: &[u8], out: &mut Vec<u8>, clear: usize) -> Result<()> {
        self.count()?;
        let (head, body) = out.split_at_mut(clear);
        let nonce = &head[clear - self.seal().cipher.nonce_len()..];
        let bound = associated_data(head, key);
        let tag = match &self.0.secret {
            Secret::Aes256Gcm(cipher) => encrypt(&**cipher, nonce, &bound, body),
            Secret::XChaCha20Poly1305(cipher) => encrypt(cipher, nonce, &bound, body),
        };
        let tag =
            tag.ok_or_else(|| Error::new(ErrorKind::Internal, "the cipher refused the value's length"))?;
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// Checks the tag and decrypts everything from `clear` on. The tag is cut off.
    pub(crate) fn open_in_place(
        &self,
        key: &[u8],
        seal: Seal,
        mut stored: Vec<u8>,
        clear: usize,
    ) -> Result<Vec<u8>> {
        if seal.cipher != self.seal().cipher {
            return Err(Error::corrupt(format!("key id {} belongs to another cipher", seal.key_id)));
        }
        let end = stored.len().checked_sub(TAG_LEN).filter(|end| *end >= clear);
        let end = end.ok_or_else(|| Error::corrupt("cut off inside the encrypted part"))?;
        let tag: [u8; TAG_LEN] = stored[end..].try_into().expect("the slice has the tag's length");
        stored.truncate(end);
        let (head, body) = stored.split_at_mut(clear);
        let nonce = &head[clear - seal.cipher.nonce_len()..];
        let bound = associated_data(head, key);
        let opened = match &self.0.secret {
            Secret::Aes256Gcm(cipher) => decrypt(&**cipher, nonce, &bound, body, tag),
            Secret::XChaCha20Poly1305(cipher) => decrypt(cipher, nonce, &bound, body, tag),
        };
        opened.ok_or_else(|| {
            Error::corrupt("not authentic: damaged, forged, or copied from under another key")
        })?;
        Ok(stored)
    }

    fn count(&self) -> Result<()> {
        let sealed = self.0.sealed.fetch_add(1, Ordering::Relaxed);
        if matches!(self.0.secret, Secret::Aes256Gcm(_)) && sealed >= MAX_AES_GCM_SEALS {
            return Err(Error::new(ErrorKind::KeyExhausted, format!("key id {}", self.0.id)));
        }
        Ok(())
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptionKey")
            .field("id", &self.id())
            .field("cipher", &self.cipher())
            .finish_non_exhaustive()
    }
}

/// The keys of a codec: one seals new values, and all of them open stored ones.
///
/// To rotate, make a new key the active one and keep the old one in the ring until no stored value
/// names it any more; [`Stored::key_id`](crate::Stored::key_id) tells which key a value names.
#[derive(Clone, Debug)]
pub struct KeyRing {
    active: EncryptionKey,
    old: Vec<EncryptionKey>,
}

impl KeyRing {
    /// A ring of one key.
    pub fn new(active: EncryptionKey) -> Self {
        Self { active, old: Vec::new() }
    }

    /// Adds a key that stored values may still be sealed with.
    #[must_use]
    pub fn with_old(mut self, key: EncryptionKey) -> Self {
        self.old.push(key);
        self
    }

    /// The ring after a rotation: `key` seals from now on, and all earlier keys still open.
    #[must_use]
    pub fn rotated_to(mut self, key: EncryptionKey) -> Self {
        self.old.push(std::mem::replace(&mut self.active, key));
        self
    }

    /// The key that seals new values.
    pub fn active(&self) -> &EncryptionKey {
        &self.active
    }

    fn get(&self, id: u32) -> Option<&EncryptionKey> {
        self.all().find(|key| key.id() == id)
    }

    fn all(&self) -> impl Iterator<Item = &EncryptionKey> {
        std::iter::once(&self.active).chain(&self.old)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let mut ids: Vec<_> = self.all().map(EncryptionKey::id).collect();
        ids.sort_unstable();
        match ids.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                Err(Error::new(ErrorKind::InvalidConfig, format!("keys: id {} is there twice", pair[0])))
            }
            None => Ok(()),
        }
    }
}

impl CodecConfig {
    /// The key that seals new values, if they are to be encrypted.
    pub(crate) fn sealing_key(&self) -> Option<&EncryptionKey> {
        self.keys.as_ref().map(KeyRing::active)
    }

    /// The key that opens what was sealed under this id.
    pub(crate) fn opening_key(&self, id: u32) -> Result<&EncryptionKey> {
        let key = self.keys.as_ref().and_then(|keys| keys.get(id));
        key.ok_or_else(|| Error::new(ErrorKind::MissingKey, format!("encrypted with key id {id}")))
    }

    pub(crate) fn refuses_plaintext(&self) -> bool {
        self.plaintext == Plaintext::Refuse
    }
}

/// What the tag vouches for beside the encrypted part: the header as it is stored, then the state key.
/// The header's own bytes determine its length, so no two pairs give the same bytes.
fn associated_data(head: &[u8], key: &[u8]) -> Vec<u8> {
    [head, key].concat()
}

fn encrypt<C: AeadInOut>(cipher: &C, nonce: &[u8], bound: &[u8], body: &mut [u8]) -> Option<[u8; TAG_LEN]> {
    let nonce = nonce.try_into().ok()?;
    let tag = cipher.encrypt_inout_detached(nonce, bound, body.into()).ok()?;
    tag.as_slice().try_into().ok()
}

fn decrypt<C: AeadInOut>(
    cipher: &C,
    nonce: &[u8],
    bound: &[u8],
    body: &mut [u8],
    tag: [u8; TAG_LEN],
) -> Option<()> {
    let nonce = nonce.try_into().ok()?;
    let tag = tag.as_slice().try_into().ok()?;
    cipher.decrypt_inout_detached(nonce, bound, body.into(), tag).ok()
}

/// NIST SP 800-38D, section 8.3: no more invocations than this with random nonces.
const MAX_AES_GCM_SEALS: u64 = 1 << 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Codec;

    #[test]
    fn an_aes_gcm_key_refuses_to_seal_beyond_its_bound() {
        let key = EncryptionKey::new(7, Cipher::Aes256Gcm, &[1; 32]);
        let codec = Codec::new(CodecConfig::default().with_keys(KeyRing::new(key.clone()))).unwrap();
        key.0.sealed.store(MAX_AES_GCM_SEALS - 1, Ordering::Relaxed);
        assert!(codec.encode(b"k", b"the last one").is_ok());
        assert_eq!(codec.encode(b"k", b"one too many").unwrap_err().kind(), ErrorKind::KeyExhausted);
    }

    #[test]
    fn an_xchacha_key_is_not_bounded() {
        let key = EncryptionKey::new(7, Cipher::XChaCha20Poly1305, &[1; 32]);
        let codec = Codec::new(CodecConfig::default().with_keys(KeyRing::new(key.clone()))).unwrap();
        key.0.sealed.store(MAX_AES_GCM_SEALS, Ordering::Relaxed);
        assert!(codec.encode(b"k", b"value").is_ok());
    }
}
