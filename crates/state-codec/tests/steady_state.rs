//! Once a thread has warmed up, a value costs one allocation: its result.
//!
//! A binary of its own with a single test, because the allocator counts for the whole process. The test harness's own
//! thread may allocate meanwhile, so the fewest of some rounds count: what a value costs, it costs in each.
//! Zstandard allocates from the same allocator here, so its contexts are counted too.
#![allow(clippy::print_stdout, reason = "the figures are worth reading")]

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use state_codec::{Codec, CodecConfig, Compression, Dictionary};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How many allocations and reallocations `work` makes.
fn allocations<R>(work: impl FnOnce() -> R) -> usize {
    let region = Region::new(ALLOCATOR);
    let result = work();
    let change = region.change();
    drop(result);
    change.allocations + change.reallocations
}

fn document(n: u32) -> String {
    format!(r#"{{"id":{n},"name":"user {n}","tags":["a","b","c"],"score":{}}}"#, n * 7 % 100)
}

#[test]
fn the_steady_state_allocates_only_the_result() {
    let value: Vec<u8> = (0..500).map(document).collect::<String>().into_bytes();
    let small = document(77_777).into_bytes();
    let dictionary =
        Dictionary::train(&(0..2_000).map(document).collect::<Vec<_>>(), 4_096).expect("enough samples");
    let config = || CodecConfig::default().with_threshold(16);
    let codecs = [
        (config().with_compression(Compression::Lz4), &value),
        (config().with_compression(Compression::Snappy), &value),
        (config().with_compression(Compression::ZSTD), &value),
        (config().with_compression(Compression::Zstd { level: 9 }), &value),
        (config().with_compression(Compression::ZSTD).with_dictionary(dictionary), &small),
    ];
    let codecs = codecs.map(|(config, value)| (Codec::new(config).expect("valid settings"), value));
    let mut fewest = vec![(usize::MAX, usize::MAX); codecs.len()];
    for round in 0..5 {
        for ((codec, value), fewest) in codecs.iter().zip(&mut fewest) {
            let mut stored = None;
            let encoding = allocations(|| stored = Some(codec.encode(b"key", value)));
            let stored = stored.expect("it was encoded").expect("the value is small").into_owned();
            assert!(stored.len() < value.len(), "the value has to be compressed for this to mean anything");
            let decoding = allocations(|| {
                codec.decode_slice(b"key", &stored).expect("it was just encoded").into_owned()
            });
            println!("round {round}, {:?}: {encoding} and {decoding}", codec.config().compression);
            *fewest = (fewest.0.min(encoding), fewest.1.min(decoding));
        }
    }
    for ((codec, _), fewest) in codecs.iter().zip(fewest) {
        assert_eq!(fewest, (1, 1), "{:?}", codec.config().compression);
    }
    let raw = Codec::new(CodecConfig::default()).expect("valid settings");
    let encoding = (0..5).map(|_| allocations(|| raw.encode(b"key", &value).expect("it is small").len()));
    assert_eq!(encoding.min(), Some(0), "a raw value");
    let decoding = (0..5).map(|_| {
        let stored = value.clone();
        allocations(|| raw.decode(b"key", stored).expect("it is raw"))
    });
    assert_eq!(decoding.min(), Some(0), "a raw value");
}
