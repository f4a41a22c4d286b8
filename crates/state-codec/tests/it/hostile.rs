//! Stored bytes that somebody damaged or made up: a typed error, and never a wrong value.

use state_codec::{Codec, CodecConfig, Compression, ErrorKind, Fingerprint, MAGIC};

use crate::support::{COMPRESSING, codec, documents, eager};

const KEY: &[u8] = b"key";

/// A valid envelope of each algorithm, "none" included, and the value in it.
fn envelopes() -> Vec<(Vec<u8>, Vec<u8>)> {
    let value = documents(1_500);
    let mut all: Vec<_> = COMPRESSING
        .into_iter()
        .map(|compression| (codec(compression).encode(KEY, &value).unwrap().into_owned(), value.clone()))
        .collect();
    let marked = [MAGIC.as_slice(), &[9; 200]].concat();
    all.push((codec(Compression::None).encode(KEY, &marked).unwrap().into_owned(), marked));
    all
}

/// An envelope with any header fields, and the checksum of `value`.
fn forge(algorithm: u8, raw_len: u32, value: &[u8], payload: &[u8]) -> Vec<u8> {
    let checksum = Fingerprint::of(value).unwrap();
    let mut stored = [MAGIC.as_slice(), &[1, algorithm, 0, 0], &raw_len.to_be_bytes()].concat();
    stored.extend_from_slice(&checksum.as_bytes()[4..]);
    stored.extend_from_slice(payload);
    stored
}

#[track_caller]
fn assert_kind(stored: Vec<u8>, kind: ErrorKind) {
    let error = codec(Compression::None).decode(KEY, stored).expect_err("the bytes are not valid");
    assert_eq!(error.kind(), kind, "{error}");
}

#[test]
fn cut_off_at_every_byte() {
    let codec = codec(Compression::None);
    for (stored, _) in envelopes() {
        assert_eq!(codec.decode(KEY, Vec::new()).unwrap(), b"", "nothing is a value of its own");
        for len in 1..stored.len() {
            let error = codec.decode(KEY, stored[..len].to_vec()).expect_err("the envelope is cut off");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "at {len}: {error}");
        }
    }
}

#[test]
fn every_bit_flipped() {
    let codec = codec(Compression::None);
    for (stored, value) in envelopes() {
        for bit in 0..stored.len() * 8 {
            let mut damaged = stored.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            match codec.decode(KEY, damaged) {
                // A match may be found at two distances: then both spellings mean the same value.
                Ok(same) => assert!(same == value && bit / 8 >= 28, "bit {bit} gave a wrong value"),
                Err(error) => {
                    let expected = [ErrorKind::Corrupt, ErrorKind::TooLarge, ErrorKind::MissingDictionary];
                    assert!(expected.contains(&error.kind()), "bit {bit}: {error}");
                }
            }
        }
    }
}

#[test]
fn bytes_after_the_end() {
    for (stored, _) in envelopes() {
        for extra in [&[0][..], &[0xFF], &[0; 100], &MAGIC] {
            assert_kind([&stored, extra].concat(), ErrorKind::Corrupt);
        }
        assert_kind([&stored[..], &stored].concat(), ErrorKind::Corrupt);
    }
}

#[test]
fn lying_lengths() {
    for (stored, value) in envelopes() {
        let truth = value.len() as u32;
        for lie in [0, 1, truth - 1, truth + 1, truth * 2, 1 << 31, i32::MAX as u32, u32::MAX] {
            let mut lying = stored.clone();
            lying[8..12].copy_from_slice(&lie.to_be_bytes());
            let error = codec(Compression::None).decode(KEY, lying).expect_err("the length is a lie");
            assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::TooLarge), "{lie}: {error}");
        }
    }
}

#[test]
fn unknown_version_algorithm_flags_and_cipher() {
    let (stored, _) = envelopes().swap_remove(0);
    for (byte, values) in
        [(4, vec![0, 2, 255]), (5, vec![4, 255]), (6, vec![4, 128, 255]), (7, vec![1, 2, 3, 255])]
    {
        for value in values {
            let mut unknown = stored.clone();
            unknown[byte] = value;
            assert_kind(unknown, ErrorKind::Corrupt);
        }
    }
}

#[test]
fn a_payload_of_another_algorithm() {
    for (stored, _) in envelopes() {
        for algorithm in 0..4 {
            let mut other = stored.clone();
            if other[5] != algorithm {
                other[5] = algorithm;
                assert_kind(other, ErrorKind::Corrupt);
            }
        }
    }
}

#[test]
fn a_payload_that_decodes_to_fewer_or_more_bytes_than_stated() {
    let (short, long) = (vec![b'x'; 2_000], vec![b'x'; 3_000]);
    for (compression, algorithm) in COMPRESSING.into_iter().zip(1..) {
        let payload = |value: &[u8]| eager(compression).encode(KEY, value).unwrap()[28..].to_vec();
        assert_kind(forge(algorithm, 3_000, &short, &payload(&short)), ErrorKind::Corrupt);
        assert_kind(forge(algorithm, 3_000, &long, &payload(&short)), ErrorKind::Corrupt);
        assert_kind(forge(algorithm, 2_000, &short, &payload(&long)), ErrorKind::Corrupt);
    }
}

#[test]
fn bombs_of_each_algorithm_are_refused_by_their_stated_length() {
    let bomb = vec![0; 8 << 20];
    let writer = |compression| {
        Codec::new(CodecConfig::default().with_compression(compression))
            .unwrap()
            .encode(KEY, &bomb)
            .unwrap()
            .into_owned()
    };
    let reader = Codec::new(CodecConfig::default().with_max_value_len(1 << 20)).unwrap();
    for (compression, algorithm) in COMPRESSING.into_iter().zip(1..) {
        let stored = writer(compression);
        println!("{compression:?}: 8 MiB of zeros in {} bytes", stored.len());
        assert_eq!(reader.decode(KEY, stored.clone()).unwrap_err().kind(), ErrorKind::TooLarge);
        // The same bomb with a modest length: what it produces is bounded by what it states.
        let modest = forge(algorithm, 1 << 20, &bomb, &stored[28..]);
        assert_eq!(reader.decode(KEY, modest).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn zstd_frames_that_a_writer_never_makes() {
    let value = vec![b'x'; 2_000];
    let frame = zstd::bulk::compress(&value, 3).unwrap();
    let half = zstd::bulk::compress(&value[..1_000], 3).unwrap();
    let mut unsized_frame = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    std::io::copy(&mut value.as_slice(), &mut unsized_frame).unwrap();
    let skippable = [&[0x50, 0x2A, 0x4D, 0x18, 1, 0, 0, 0, 0], &frame[..]].concat();
    assert!(codec(Compression::None).decode(KEY, forge(3, 2_000, &value, &frame)).is_ok());
    for payload in [[&half[..], &half].concat(), unsized_frame.finish().unwrap(), skippable] {
        assert_kind(forge(3, 2_000, &value, &payload), ErrorKind::Corrupt);
    }
}

#[test]
fn a_dictionary_that_nobody_has() {
    let mut stored = forge(3, 2_000, &[0; 2_000], &[0; 100]);
    stored[6] = 1;
    assert_kind(stored.clone(), ErrorKind::MissingDictionary);
    stored[5] = 1;
    assert_kind(stored, ErrorKind::Corrupt);
}
