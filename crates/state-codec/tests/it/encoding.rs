//! What is stored: raw or wrapped, and what the header tells.

use std::borrow::Cow;

use state_codec::{Algorithm, Codec, CodecConfig, Compression, ErrorKind, Fingerprint, MAGIC, Stored};

use crate::support::{COMPRESSING, COMPRESSIONS, codec, documents, eager, noise};

const KEY: &[u8] = b"user:42";

#[test]
fn a_value_below_the_threshold_is_stored_as_it_is_and_not_copied() {
    let value = vec![b'x'; 1023];
    for compression in COMPRESSIONS {
        let Cow::Borrowed(stored) = codec(compression).encode(KEY, &value).unwrap() else {
            panic!("{compression:?} copied a value below the threshold");
        };
        assert!(std::ptr::eq(stored, value.as_slice()));
    }
}

#[test]
fn a_value_that_does_not_shrink_is_stored_as_it_is_and_not_copied() {
    for len in [1024, 100_000] {
        let value = noise(1, len);
        for compression in COMPRESSIONS {
            let stored = codec(compression).encode(KEY, &value).unwrap();
            assert!(matches!(stored, Cow::Borrowed(_)), "{compression:?} wrapped {len} bytes of noise");
        }
    }
}

#[test]
fn an_envelope_that_would_be_no_smaller_than_the_value_is_not_written() {
    for compression in COMPRESSING {
        let codec = eager(compression);
        for len in 0..200 {
            let value = vec![b'x'; len];
            let stored = codec.encode(KEY, &value).unwrap();
            assert!(stored.len() <= value.len(), "{compression:?}: {len} bytes became {}", stored.len());
        }
    }
}

#[test]
fn a_raw_value_comes_back_in_the_memory_it_came_in() {
    let stored = b"hello".to_vec();
    let address = stored.as_ptr();
    let value = codec(Compression::Lz4).decode(KEY, stored).unwrap();
    assert_eq!((value.as_slice(), value.as_ptr()), (b"hello".as_slice(), address));
}

#[test]
fn ten_kilobytes_of_x_come_back_as_ten_kilobytes_of_x() {
    let value = vec![b'x'; 10_000];
    for compression in COMPRESSING {
        let codec = codec(compression);
        let stored = codec.encode(KEY, &value).unwrap().into_owned();
        assert!(stored.len() < 1_000, "{compression:?} stored {} bytes", stored.len());
        assert_eq!(codec.decode(KEY, stored).unwrap(), value);
    }
}

#[test]
fn the_ratios_of_the_specification_are_reached_on_its_repetitive_data() {
    let value = "This is a test string for compression. ".repeat(1000).into_bytes();
    for (compression, least) in
        [(Compression::Lz4, 3.0), (Compression::Snappy, 2.5), (Compression::ZSTD, 5.0)]
    {
        let ratio = value.len() as f64 / codec(compression).encode(KEY, &value).unwrap().len() as f64;
        println!("{compression:?}: {ratio:.1}x on repeated text");
        assert!(ratio >= least, "{compression:?}: {ratio:.1}x");
    }
}

#[test]
fn json_documents_shrink_at_least_as_the_specification_says() {
    let value = documents(64 * 1024);
    for (compression, least) in
        [(Compression::Lz4, 2.0), (Compression::Snappy, 2.0), (Compression::ZSTD, 3.0)]
    {
        let ratio = value.len() as f64 / codec(compression).encode(KEY, &value).unwrap().len() as f64;
        println!("{compression:?}: {ratio:.1}x on JSON documents");
        assert!(ratio >= least, "{compression:?}: {ratio:.1}x");
    }
}

#[test]
fn values_that_look_like_an_envelope_or_nearly_so_are_wrapped_and_come_back() {
    let mut lookalikes: Vec<Vec<u8>> = (1..=4).map(|len| MAGIC[..len].to_vec()).collect();
    for bit in 0..32 {
        let mut damaged = MAGIC;
        damaged[bit / 8] ^= 1 << (bit % 8);
        lookalikes.push([damaged.as_slice(), b"payload"].concat());
    }
    lookalikes.push([MAGIC.as_slice(), &[1, 0, 0, 0], b"nearly a whole envelope"].concat());
    for compression in COMPRESSIONS {
        for value in &lookalikes {
            let codec = codec(compression);
            let stored = codec.encode(KEY, value).unwrap().into_owned();
            assert!(stored.starts_with(&MAGIC), "{value:02x?} is stored unwrapped");
            assert_eq!(codec.decode(KEY, stored).unwrap(), *value);
        }
    }
}

#[test]
fn an_envelope_stored_as_a_value_is_wrapped_once_more() {
    let codec = codec(Compression::Lz4);
    let inner = codec.encode(KEY, &[7; 5000]).unwrap().into_owned();
    let outer = codec.encode(KEY, &inner).unwrap().into_owned();
    assert_ne!(inner, outer);
    assert_eq!(codec.decode(KEY, outer).unwrap(), inner);
}

#[test]
fn foreign_data_that_starts_with_the_magic_is_corrupt_and_named_by_its_keys_digest() {
    let error = codec(Compression::None).decode(KEY, b"\xF5\xF8SEcret foreign value".to_vec()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("key digest "), "{shown}");
    for secret in ["user:42", "foreign", "cret"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn the_header_tells_algorithm_and_fingerprint_without_decoding() {
    let value = documents(4000);
    let expected = Fingerprint::of(&value).unwrap();
    let algorithms = [Algorithm::Lz4, Algorithm::Snappy, Algorithm::Zstd];
    for (compression, written_with) in COMPRESSING.into_iter().zip(algorithms) {
        let stored = codec(compression).encode(KEY, &value).unwrap();
        let Stored::Envelope { algorithm, dictionary, fingerprint } = Stored::parse(&stored).unwrap() else {
            panic!("{compression:?} wrote no envelope");
        };
        assert_eq!((algorithm, dictionary, fingerprint), (written_with, None, expected));
        assert_eq!(fingerprint.raw_len(), value.len());
        // What a compare-and-swap script compares, whatever the algorithm.
        assert_eq!(&stored[Fingerprint::OFFSET..][..Fingerprint::LEN], expected.as_bytes());
    }
    assert_eq!(Stored::parse(&value).unwrap(), Stored::Raw);
}

#[test]
fn values_above_the_limit_are_refused_on_write_and_their_envelopes_on_read() {
    let large = codec(Compression::ZSTD);
    let small = Codec::new(CodecConfig::default().with_max_value_len(9_999)).unwrap();
    let value = vec![b'x'; 10_000];
    assert_eq!(small.encode(KEY, &value).unwrap_err().kind(), ErrorKind::TooLarge);
    let stored = large.encode(KEY, &value).unwrap().into_owned();
    assert_eq!(small.decode(KEY, stored).unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(small.decode(KEY, value.clone()).unwrap(), value, "raw bytes are in memory already");
}

#[test]
fn a_batch_is_limited_as_a_whole_and_goes_on_after_a_value_that_does_not_fit() {
    let config = CodecConfig::default().with_compression(Compression::ZSTD);
    let codec = Codec::new(config.with_max_value_len(1 << 20).with_max_batch_len(5 << 19)).unwrap();
    let large = codec.encode(KEY, &vec![0; 1 << 20]).unwrap().into_owned();
    let small = codec.encode(KEY, &vec![0; 1 << 16]).unwrap().into_owned();
    let mut batch = codec.batch();
    assert!(batch.decode(KEY, large.clone()).is_ok());
    assert!(batch.decode(KEY, large.clone()).is_ok());
    let error = batch.decode(KEY, large).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.context().contains("max_batch_len"), "{error}");
    assert!(batch.decode(KEY, small).is_ok());
    assert!(batch.decode(KEY, vec![1; 4 << 20]).is_ok(), "raw values are not counted");
}

#[test]
fn settings_out_of_range_name_their_field() {
    let config = CodecConfig::default;
    for (bad, field) in [
        (config().with_compression(Compression::Zstd { level: 23 }), "compression"),
        (config().with_max_value_len(0), "max_value_len"),
        (config().with_max_value_len((1 << 30) + 1), "max_value_len"),
        (config().with_max_batch_len(1), "max_batch_len"),
    ] {
        let error = Codec::new(bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.context().starts_with(field), "{error}");
    }
}
