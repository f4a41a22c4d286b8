//! Stands in for encryption where feature `encrypt` is off: no key exists, so nothing is ever sealed.

use crate::{CodecConfig, Error, ErrorKind, Result, envelope::Seal};

/// A key of which there is none.
pub(crate) enum EncryptionKey {}

impl EncryptionKey {
    pub(crate) fn seal(&self) -> Seal {
        match *self {}
    }

    pub(crate) fn write_nonce(&self, _: &mut Vec<u8>) {
        match *self {}
    }

    pub(crate) fn seal_in_place(&self, _: &[u8], _: &mut Vec<u8>, _: usize) -> Result<()> {
        match *self {}
    }

    pub(crate) fn open_in_place(&self, _: &[u8], _: Seal, _: Vec<u8>, _: usize) -> Result<Vec<u8>> {
        match *self {}
    }
}

impl CodecConfig {
    pub(crate) fn sealing_key(&self) -> Option<&EncryptionKey> {
        None
    }

    pub(crate) fn opening_key(&self, _: u32) -> Result<&EncryptionKey> {
        Err(Error::new(ErrorKind::Unsupported, "the value is encrypted and feature `encrypt` is off"))
    }

    pub(crate) fn refuses_plaintext(&self) -> bool {
        false
    }
}
