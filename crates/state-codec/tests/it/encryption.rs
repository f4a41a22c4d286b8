//! Encryption: bound to the state key, rotated, and silent about its secrets.

use state_codec::{
    Cipher, Codec, CodecConfig, Compression, EncryptionKey, ErrorKind, KeyRing, Plaintext, Stored,
};

use crate::support::{COMPRESSIONS, codec, document, documents};

const KEY: &[u8] = b"user:42";
const CIPHERS: [Cipher; 2] = [Cipher::XChaCha20Poly1305, Cipher::Aes256Gcm];

fn key(id: u32, cipher: Cipher) -> EncryptionKey {
    EncryptionKey::new(id, cipher, &[id as u8; 32])
}

fn sealing(keys: KeyRing, compression: Compression) -> Codec {
    Codec::new(CodecConfig::default().with_compression(compression).with_keys(keys)).unwrap()
}

#[test]
fn every_value_is_sealed_and_opens_under_its_own_key() {
    for cipher in CIPHERS {
        for compression in COMPRESSIONS {
            let codec = sealing(KeyRing::new(key(1, cipher)), compression);
            for value in [Vec::new(), b"short".to_vec(), state_codec::MAGIC.to_vec(), documents(10_000)] {
                let stored = codec.encode(KEY, &value).unwrap().into_owned();
                assert_eq!(Stored::parse(&stored).unwrap().key_id(), Some(1));
                assert!(value.len() < 5 || !stored.windows(value.len()).any(|window| window == value));
                assert_eq!(&*codec.decode_slice(KEY, &stored).unwrap(), &value[..]);
                assert_eq!(codec.decode(KEY, stored).unwrap(), value);
            }
        }
    }
}

#[test]
fn equal_values_are_stored_differently() {
    for cipher in CIPHERS {
        let codec = sealing(KeyRing::new(key(1, cipher)), Compression::None);
        assert_ne!(codec.encode(KEY, b"value").unwrap(), codec.encode(KEY, b"value").unwrap());
    }
}

#[test]
fn a_record_copied_under_another_key_does_not_open() {
    for cipher in CIPHERS {
        let codec = sealing(KeyRing::new(key(1, cipher)), Compression::None);
        let stored = codec.encode(b"balance:alice", b"1000000").unwrap().into_owned();
        let error = codec.decode(b"balance:bob", stored.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(codec.decode(b"balance:alice", stored).is_ok());
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    for cipher in CIPHERS {
        let codec = sealing(KeyRing::new(key(1, cipher)), Compression::None);
        let stored = codec.encode(KEY, document(1).as_bytes()).unwrap().into_owned();
        for bit in 0..stored.len() * 8 {
            let mut damaged = stored.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = codec.decode(KEY, damaged).expect_err("a flipped bit has to be noticed");
            assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::MissingKey), "bit {bit}: {error}");
        }
        for len in 1..stored.len() {
            let error = codec.decode(KEY, stored[..len].to_vec()).expect_err("the envelope is cut off");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "at {len}");
        }
        assert!(codec.decode(KEY, [&stored[..], b"x"].concat()).is_err());
    }
}

#[test]
fn after_a_rotation_old_values_open_and_new_ones_use_the_new_key() {
    let before = KeyRing::new(key(1, Cipher::Aes256Gcm));
    let old = sealing(before.clone(), Compression::None).encode(KEY, b"old").unwrap().into_owned();
    let rotated = sealing(before.rotated_to(key(2, Cipher::XChaCha20Poly1305)), Compression::None);
    assert_eq!(rotated.decode(KEY, old.clone()).unwrap(), b"old");
    let new = rotated.encode(KEY, b"new").unwrap().into_owned();
    assert_eq!(Stored::parse(&new).unwrap().key_id(), Some(2));
    let retired = sealing(KeyRing::new(key(2, Cipher::XChaCha20Poly1305)), Compression::None);
    assert_eq!(retired.decode(KEY, new).unwrap(), b"new");
    let error = retired.decode(KEY, old).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MissingKey);
    assert!(error.context().contains("key id 1"), "{error}");
}

#[test]
fn the_right_id_with_the_wrong_secret_or_cipher_does_not_open() {
    let stored = sealing(KeyRing::new(key(1, Cipher::Aes256Gcm)), Compression::None)
        .encode(KEY, b"v")
        .unwrap()
        .into_owned();
    for wrong in [
        EncryptionKey::new(1, Cipher::Aes256Gcm, &[99; 32]),
        EncryptionKey::new(1, Cipher::XChaCha20Poly1305, &[1; 32]),
    ] {
        let error = sealing(KeyRing::new(wrong), Compression::None).decode(KEY, stored.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
    assert_eq!(codec(Compression::None).decode(KEY, stored).unwrap_err().kind(), ErrorKind::MissingKey);
}

#[test]
fn plaintext_is_read_until_it_is_refused() {
    let keys = || KeyRing::new(key(1, Cipher::default()));
    let lenient = sealing(keys(), Compression::None);
    let strict =
        Codec::new(CodecConfig::default().with_keys(keys()).with_plaintext(Plaintext::Refuse)).unwrap();
    let envelope = codec(Compression::Lz4).encode(KEY, &[b'x'; 5_000]).unwrap().into_owned();
    for plaintext in [b"raw".to_vec(), Vec::new(), envelope] {
        assert!(lenient.decode(KEY, plaintext.clone()).is_ok());
        assert_eq!(strict.decode(KEY, plaintext).unwrap_err().kind(), ErrorKind::PlaintextRefused);
    }
    let sealed = strict.encode(KEY, b"value").unwrap().into_owned();
    assert_eq!(strict.decode(KEY, sealed).unwrap(), b"value");
}

#[test]
fn a_ring_with_an_id_twice_and_a_refusal_without_keys_are_no_settings() {
    let twice = KeyRing::new(key(1, Cipher::Aes256Gcm)).with_old(key(1, Cipher::Aes256Gcm));
    let keyless = CodecConfig::default().with_plaintext(Plaintext::Refuse);
    for (config, field) in [(CodecConfig::default().with_keys(twice), "keys"), (keyless, "plaintext")] {
        let error = Codec::new(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.context().starts_with(field), "{error}");
    }
}

#[test]
fn nothing_secret_is_shown() {
    let secret = *b"CANARY-CANARY-CANARY-CANARY-1234";
    for cipher in CIPHERS {
        let key = EncryptionKey::new(1, cipher, &secret);
        let codec = sealing(KeyRing::new(key.clone()), Compression::None);
        let stored = codec.encode(KEY, b"CANARY value").unwrap().into_owned();
        let error = codec.decode(b"CANARY key", stored).unwrap_err();
        let shown = format!("{key:?} {codec:?} {:?} {error} {error:?}", codec.config());
        assert!(!shown.contains("CANARY") && !shown.contains("67, 65, 78"), "{shown}");
    }
}
