//! Arbitrary values under arbitrary settings come back, and a damaged copy never comes back wrong.
#![no_main]

use libfuzzer_sys::fuzz_target;
use state_codec::{Cipher, Codec, CodecConfig, Compression, EncryptionKey, KeyRing};

fuzz_target!(|input: &[u8]| {
    let [settings, position, bit, value @ ..] = input else { return };
    let repeated = value.repeat(1 + usize::from(settings >> 5));
    let writer = Codec::new(config(*settings)).expect("the settings are valid");
    let reader = Codec::new(config(settings & 0b11000)).expect("the settings are valid");
    let stored = writer.encode(b"key", &repeated).expect("the value is small").into_owned();
    assert_eq!(reader.decode(b"key", stored.clone()).expect("it was just encoded"), repeated);

    // A raw value vouches for nothing, so damage to it cannot be noticed.
    if stored == repeated {
        return;
    }
    let mut damaged = stored;
    let position = usize::from(*position) * damaged.len() / 256;
    damaged[position] ^= 1 << (bit % 8);
    if let Ok(value) = reader.decode(b"key", damaged) {
        assert_eq!(value, repeated);
    }
});

fn config(settings: u8) -> CodecConfig {
    let compression = match settings & 0b111 {
        0 => Compression::None,
        1 | 2 => Compression::Lz4,
        3 | 4 => Compression::Snappy,
        5 => Compression::Zstd { level: -5 },
        _ => Compression::ZSTD,
    };
    let config = CodecConfig::default().with_compression(compression).with_threshold(0);
    let cipher = if settings & 0b10000 == 0 { Cipher::XChaCha20Poly1305 } else { Cipher::Aes256Gcm };
    if settings & 0b1000 == 0 {
        config
    } else {
        config.with_keys(KeyRing::new(EncryptionKey::new(1, cipher, &[7; 32])))
    }
}
