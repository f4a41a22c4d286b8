//! Data and codecs that several tests use.

use state_codec::{Codec, CodecConfig, Compression};

/// Every way to compress, at the levels that differ most.
pub(crate) const COMPRESSIONS: [Compression; 6] = [
    Compression::None,
    Compression::Lz4,
    Compression::Snappy,
    Compression::Zstd { level: -3 },
    Compression::ZSTD,
    Compression::Zstd { level: 12 },
];

/// The ways to compress that do.
pub(crate) const COMPRESSING: [Compression; 3] = [Compression::Lz4, Compression::Snappy, Compression::ZSTD];

pub(crate) fn codec(compression: Compression) -> Codec {
    Codec::new(CodecConfig::default().with_compression(compression)).expect("the settings are valid")
}

/// A codec that compresses whatever it is given.
pub(crate) fn eager(compression: Compression) -> Codec {
    Codec::new(CodecConfig::default().with_compression(compression).with_threshold(0))
        .expect("the settings are valid")
}

/// Bytes that no algorithm makes smaller, the same for a seed on every machine (SplitMix64).
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    };
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(|| next().to_le_bytes()).take(len / 8 + 1).flatten().collect();
    bytes.truncate(len);
    bytes
}

/// A small JSON document of the kind a service keeps for each user.
pub(crate) fn document(n: u64) -> String {
    let word = noise(n, 8);
    format!(
        concat!(
            r#"{{"user_id":{},"session":"{:02x}{:02x}{:02x}{:02x}","roles":["reader","editor"],"#,
            r#""preferences":{{"theme":"{}","language":"en-GB","notifications":{}}},"#,
            r#""last_seen":"2026-{:02}-{:02}T08:15:00Z","cart":[{{"sku":"A-{}","quantity":{}}}]}}"#
        ),
        1_000 + n * 7,
        word[0],
        word[1],
        word[2],
        word[3],
        if word[4].is_multiple_of(2) { "dark" } else { "light" },
        word[5].is_multiple_of(2),
        word[6] % 12 + 1,
        word[7] % 28 + 1,
        n * 31 % 997,
        word[0] % 9 + 1,
    )
}

/// About `len` bytes of such documents.
pub(crate) fn documents(len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..).flat_map(|n| document(n).into_bytes()).take(len).collect();
    bytes.truncate(len);
    bytes
}
