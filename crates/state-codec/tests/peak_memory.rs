//! Decoding hostile bytes never takes more memory than the limit and 1 MiB.
//!
//! A binary of its own with a single test, because the allocator measures the whole process.
//! Zstandard allocates from the same allocator here, so its contexts are measured too.
#![allow(clippy::print_stdout, reason = "the figures are worth reading")]

use peak_alloc::PeakAlloc;
use serde::Deserialize;

use state_codec::{Codec, CodecConfig, Compression, ErrorKind, Format, Json, MessagePack, Postcard};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;
const LIMIT: usize = 2 * MIB;

/// How many bytes more than before are in use at any time during `work`.
fn peak<R>(work: impl FnOnce() -> R) -> (usize, R) {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let result = work();
    (ALLOCATOR.peak_usage().saturating_sub(before), result)
}

#[test]
fn hostile_bytes_never_take_more_than_the_limit_and_a_mebibyte() {
    let config = CodecConfig::default().with_max_value_len(LIMIT).with_max_batch_len(2 * LIMIT);
    let reader = Codec::new(config).expect("valid settings");
    for compression in [Compression::Lz4, Compression::Snappy, Compression::ZSTD] {
        let bomb = zeros(compression, 16 * MIB);
        stated_lengths(&reader, compression, &bomb);
        mutations(&reader, compression);
        batch(&reader, compression);
    }
    promises();
}

/// Zeros, compressed.
fn zeros(compression: Compression, len: usize) -> Vec<u8> {
    let writer = Codec::new(CodecConfig::default().with_compression(compression)).expect("valid settings");
    writer.encode(b"key", &vec![0; len]).expect("it is within the limit").into_owned()
}

/// The bomb with every kind of lie about its length.
fn stated_lengths(reader: &Codec, compression: Compression, bomb: &[u8]) {
    for stated in [0, 1, 1 << 10, LIMIT - 1, LIMIT, LIMIT + 1, 16 * MIB, i32::MAX as usize, u32::MAX as usize]
    {
        let mut stored = bomb.to_vec();
        stored[8..12].copy_from_slice(&(stated as u32).to_be_bytes());
        let (peak, result) = peak(|| reader.decode_slice(b"key", &stored).map(|value| value.len()));
        println!("{compression:?} of {} B, {stated} B stated: {peak} B", stored.len());
        assert!(result.is_err(), "{compression:?}: a bomb was decoded");
        assert!(peak <= LIMIT + MIB, "{compression:?}, {stated} B stated: {peak} B");
    }
}

/// A value of the limit's size with bytes changed at random, and in every other round its length too.
fn mutations(reader: &Codec, compression: Compression) {
    let valid = zeros(compression, LIMIT);
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % below
    };
    for round in 0..200 {
        let mut stored = valid.clone();
        if round % 2 == 0 {
            stored[8..12].copy_from_slice(&(random(LIMIT + 1) as u32).to_be_bytes());
        }
        for _ in 0..=random(4) {
            let position = 28 + random(stored.len() - 28);
            stored[position] = random(256) as u8;
        }
        let (peak, _) = peak(|| reader.decode_slice(b"key", &stored).is_ok());
        assert!(peak <= LIMIT + MIB, "{compression:?}, round {round}: {peak} B");
    }
}

/// Many values that fit one by one.
fn batch(reader: &Codec, compression: Compression) {
    let stored = zeros(compression, MIB);
    let (peak, results) = peak(|| {
        let mut batch = reader.batch();
        (0..100).map(|_| batch.decode(b"key", stored.clone())).collect::<Vec<_>>()
    });
    let refused = results
        .iter()
        .filter(|result| result.as_ref().is_err_and(|error| error.kind() == ErrorKind::TooLarge));
    assert_eq!(refused.count(), 96, "4 MiB hold four values");
    assert!(peak <= 2 * LIMIT + MIB, "{compression:?}: {peak} B");
}

#[derive(Debug, Deserialize)]
struct Nested(#[expect(dead_code, reason = "only its memory matters")] Vec<Self>);

/// Lists and strings that promise a billion elements, alone and nested.
fn promises() {
    let promise = [0xDD, 0x3B, 0x9A, 0xCA, 0x00];
    let text = [0xDB, 0x3B, 0x9A, 0xCA, 0x00];
    let varint = [0x80, 0x94, 0xEB, 0xDC, 0x03];
    for (what, (peak, failed)) in [
        ("MessagePack list", peak(|| MessagePack.decode::<Vec<u64>>(&promise).is_err())),
        ("MessagePack lists", peak(|| MessagePack.decode::<Nested>(&promise.repeat(1_000)).is_err())),
        ("MessagePack text", peak(|| MessagePack.decode::<String>(&text).is_err())),
        ("Postcard list", peak(|| Postcard.decode::<Vec<u64>>(&varint).is_err())),
        ("Postcard lists", peak(|| Postcard.decode::<Nested>(&varint.repeat(1_000)).is_err())),
        ("Postcard text", peak(|| Postcard.decode::<String>(&varint).is_err())),
        ("JSON lists", peak(|| Json.decode::<Nested>("[".repeat(100_000).as_bytes()).is_err())),
    ] {
        println!("{what}: {peak} B");
        assert!(failed, "{what}");
        assert!(peak <= 16 * MIB, "{what}: {peak} B");
    }
}
