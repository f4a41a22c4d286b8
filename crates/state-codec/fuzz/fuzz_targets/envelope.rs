//! Arbitrary stored bytes, as they are and with the parts patched in that chance would hardly hit.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use state_codec::{
    Cipher, Codec, CodecConfig, Dictionary, EncryptionKey, Fingerprint, KeyRing, MAGIC, Stored,
};

static CODEC: LazyLock<Codec> = LazyLock::new(|| {
    let keys = KeyRing::new(EncryptionKey::new(2, Cipher::XChaCha20Poly1305, &[2; 32]))
        .with_old(EncryptionKey::new(1, Cipher::Aes256Gcm, &[1; 32]));
    let config = CodecConfig::default().with_max_value_len(2 << 20).with_max_batch_len(4 << 20).with_keys(keys);
    let codec = Codec::new(config).expect("the settings are valid");
    let dictionary = include_bytes!("../../tests/golden/dictionary.bin").to_vec();
    codec.add_dictionary(Dictionary::from_bytes(dictionary).expect("it is golden")).expect("it is the only one");
    codec
});

fuzz_target!(|data: &[u8]| {
    check(data);
    let mut patched = [MAGIC.as_slice(), &[1], data].concat();
    check(&patched);
    if let Some(algorithm) = patched.get_mut(5) {
        *algorithm %= 4;
        check(&patched);
    }
    // A small length, so that decoding gets as far as the library.
    if let Some(len) = patched.get_mut(8..10) {
        len.fill(0);
        check(&patched);
    }
});

/// No panic; and whatever decodes from an envelope has the length and checksum that the envelope states.
fn check(stored: &[u8]) {
    let header = Stored::parse(stored);
    let Ok(value) = CODEC.decode_slice(b"key", stored) else { return };
    match header.expect("what decodes has a valid header") {
        Stored::Raw => assert_eq!(&*value, stored),
        Stored::Envelope { fingerprint, .. } => {
            assert_eq!(Fingerprint::of(&value).expect("it is small"), fingerprint);
        }
        _ => {}
    }
    assert_eq!(CODEC.decode(b"key", stored.to_vec()).expect("it has just decoded"), &*value);
}
