//! Whatever is encoded comes back, under the settings it was written with and under any others.

use proptest::{collection::vec, prelude::*, sample::select};
use state_codec::{Codec, CodecConfig, Compression};

use crate::support::{COMPRESSIONS, codec, documents, noise};

fn any_codec() -> impl Strategy<Value = Codec> {
    (select(&COMPRESSIONS), select(vec![0, 1, 27, 28, 29, 64, 1024, 100_000, usize::MAX])).prop_map(
        |(compression, threshold)| {
            Codec::new(CodecConfig::default().with_compression(compression).with_threshold(threshold))
                .unwrap()
        },
    )
}

/// Uniform, repetitive and mixed content, and everything that resembles an envelope.
fn any_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..300),
        (any::<u8>(), 0..20_000_usize).prop_map(|(byte, len)| std::iter::repeat_n(byte, len).collect()),
        (any::<u64>(), 0..20_000_usize).prop_map(|(seed, len)| noise(seed, len)),
        (vec(any::<u8>(), 1..50), 1..400_usize).prop_map(|(part, times)| part.repeat(times)),
        (0..40_000_usize).prop_map(documents),
        vec(any::<u8>(), 0..60).prop_map(|rest| [state_codec::MAGIC.as_slice(), &rest].concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    /// Lengths whose logarithm is uniform, so that each order of magnitude is met.
    #[test]
    fn of_any_length_up_to_four_mebibytes(
        exponent in 14.0..22.0_f64, seed in any::<u64>(), writer in any_codec(), reader in any_codec()
    ) {
        let len = exponent.exp2() as usize;
        let mut value = noise(seed, len / 2);
        value.extend(documents(len - len / 2));
        let stored = writer.encode(b"key", &value).unwrap().into_owned();
        prop_assert!(reader.decode(b"key", stored).unwrap() == value);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn under_the_same_and_under_new_settings(
        value in any_value(), writer in any_codec(), reader in any_codec(), key in vec(any::<u8>(), 0..40)
    ) {
        let stored = writer.encode(&key, &value).unwrap().into_owned();
        prop_assert!(stored.len() <= value.len() || stored.starts_with(&state_codec::MAGIC));
        prop_assert_eq!(&*reader.decode_slice(&key, &stored).unwrap(), &value[..]);
        prop_assert_eq!(reader.decode(&key, stored).unwrap(), value);
    }

    #[test]
    fn bytes_that_nobody_encoded_never_panic(stored in vec(any::<u8>(), 0..200), reader in any_codec()) {
        if let Ok(value) = reader.decode(b"key", stored.clone()) {
            prop_assert_eq!(value, stored);
        }
    }
}

#[track_caller]
fn assert_round_trip(codec: &Codec, value: &[u8]) {
    let stored = codec.encode(b"key", value).unwrap().into_owned();
    let back = codec.decode(b"key", stored).unwrap();
    assert!(back == value, "{:?}, {} bytes", codec.config().compression, value.len());
}

#[test]
fn at_every_power_of_two_and_beside_it() {
    for compression in COMPRESSIONS {
        let codec = codec(compression);
        for exponent in 0..=16 {
            for len in [(1_usize << exponent) - 1, 1 << exponent, (1 << exponent) + 1] {
                for value in [vec![b'x'; len], noise(exponent, len), documents(len)] {
                    assert_round_trip(&codec, &value);
                }
            }
        }
    }
}

#[test]
fn at_large_sizes_up_to_four_mebibytes() {
    let mut value = documents(2 << 20);
    value.extend(noise(0, 2 << 20));
    for compression in [Compression::None, Compression::Lz4, Compression::Snappy, Compression::ZSTD] {
        for len in [100_000, 1 << 18, (1 << 20) + 1, (3 << 20) - 1, 4 << 20] {
            assert_round_trip(&codec(compression), &value[value.len() - len..]);
        }
    }
}

#[test]
fn threads_that_share_a_codec_and_switch_algorithms_do_not_disturb_each_other() {
    let codecs: Vec<Codec> = COMPRESSIONS.into_iter().map(codec).collect();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let codecs = &codecs;
            scope.spawn(move || {
                for round in 0..200 {
                    let codec = &codecs[(thread + round) as usize % codecs.len()];
                    let value = documents(2_000 + (thread * 37 + round * 11) as usize);
                    let stored = codec.encode(b"key", &value).unwrap().into_owned();
                    assert!(codec.decode(b"key", stored).unwrap() == value);
                }
            });
        }
    });
}

#[test]
fn a_value_written_before_the_algorithm_was_changed_is_read_after() {
    let value = documents(50_000);
    for before in COMPRESSIONS {
        let stored = codec(before).encode(b"key", &value).unwrap().into_owned();
        for after in COMPRESSIONS {
            assert!(codec(after).decode(b"key", stored.clone()).unwrap() == value, "{before:?} -> {after:?}");
        }
    }
    assert_eq!(codec(Compression::ZSTD).decode(b"key", value.clone()).unwrap(), value, "legacy raw data");
}
