//! The values, records and settings that the golden files are made of.
//!
//! What stands here for a file that exists never changes; a new release adds to it. The files are
//! written by `cargo run -p state-codec --all-features --example write_golden`.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use state_codec::{
    Cipher, Codec, CodecConfig, Compression, Dictionary, EncryptionKey, Format, Json, KeyRing, MAGIC,
    MessagePack, NoPrevious, Postcard, Versioned,
};

/// The folder with the files.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// `golden.json`: what a reader in any language needs beside the files.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Secrets by key id, in hexadecimal.
    pub(crate) secrets: BTreeMap<u32, String>,
    pub(crate) envelopes: Vec<Golden>,
}

/// One stored value: two files, and the state key it was written under.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Golden {
    pub(crate) stored: String,
    pub(crate) value: String,
    pub(crate) key: String,
}

/// Every golden envelope: its name, the value's file, and how it is written.
pub(crate) fn envelopes(dictionary: &Dictionary) -> Vec<(&'static str, &'static str, CodecConfig)> {
    let config = || CodecConfig::default().with_threshold(64);
    let with = |compression| config().with_compression(compression);
    let dictionary = || with(Compression::ZSTD).with_dictionary(dictionary.clone());
    let aes = || KeyRing::new(key(1, Cipher::Aes256Gcm));
    let chacha = || KeyRing::new(key(2, Cipher::XChaCha20Poly1305));
    vec![
        ("v1-raw-text", "text", config()),
        ("v1-raw-empty", "empty", config()),
        ("v1-none-marked", "marked", config()),
        ("v1-lz4-text", "text", with(Compression::Lz4)),
        ("v1-lz4-zeros", "zeros", with(Compression::Lz4)),
        ("v1-snappy-text", "text", with(Compression::Snappy)),
        ("v1-snappy-zeros", "zeros", with(Compression::Snappy)),
        ("v1-zstd-text", "text", with(Compression::ZSTD)),
        ("v1-zstd-zeros", "zeros", with(Compression::Zstd { level: 19 })),
        ("v1-zstd-dictionary-document", "document", dictionary()),
        ("v1-aes-none-empty", "empty", config().with_keys(aes())),
        ("v1-aes-none-marked", "marked", config().with_keys(aes())),
        ("v1-aes-zstd-dictionary-document", "document", dictionary().with_keys(aes())),
        ("v1-xchacha-none-document", "document", config().with_keys(chacha())),
        ("v1-xchacha-lz4-text", "text", with(Compression::Lz4).with_keys(chacha())),
        ("v1-xchacha-snappy-zeros", "zeros", with(Compression::Snappy).with_keys(chacha())),
    ]
}

/// A codec that reads all of them.
pub(crate) fn reader(dictionary: Dictionary) -> Codec {
    let keys = KeyRing::new(key(2, Cipher::XChaCha20Poly1305)).with_old(key(1, Cipher::Aes256Gcm));
    let codec = Codec::new(CodecConfig::default().with_keys(keys)).expect("the settings are valid");
    codec.add_dictionary(dictionary).expect("it is the only one");
    codec
}

pub(crate) fn secret(id: u32) -> [u8; 32] {
    std::array::from_fn(|index| (id as u8) << 5 | index as u8)
}

fn key(id: u32, cipher: Cipher) -> EncryptionKey {
    EncryptionKey::new(id, cipher, &secret(id))
}

/// The raw values by name.
pub(crate) fn values(document: impl Fn(u64) -> String) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("text", "Peter Piper picked a peck of pickled peppers. ".repeat(40).into_bytes()),
        ("empty", Vec::new()),
        ("zeros", vec![0; 20_000]),
        ("marked", [MAGIC.as_slice(), &[1, 0, 0, 0], b" and no envelope"].concat()),
        ("document", document(31_337).into_bytes()),
    ]
}

/// Every released format and version of the sample record: the file's name and its bytes.
pub(crate) fn records() -> Vec<(&'static str, Vec<u8>)> {
    fn one(version: u32, format: impl Format) -> Vec<u8> {
        let codec = Codec::new(CodecConfig::default()).expect("the settings are valid");
        match version {
            0 => codec.encode_as(b"golden", &sample_v2(), format),
            1 => codec.encode_versioned(b"golden", &sample_v1(), format),
            _ => codec.encode_versioned(b"golden", &sample_v2(), format),
        }
        .expect("the sample can be encoded")
    }
    vec![
        ("plain.msgpack", one(0, MessagePack)),
        ("plain.json", one(0, Json)),
        ("plain.postcard", one(0, Postcard)),
        ("record-v1.msgpack", one(1, MessagePack)),
        ("record-v1.json", one(1, Json)),
        ("record-v1.postcard", one(1, Postcard)),
        ("record-v2.msgpack", one(2, MessagePack)),
        ("record-v2.json", one(2, Json)),
        ("record-v2.postcard", one(2, Postcard)),
    ]
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SampleV1 {
    text: String,
    integers: (u8, i8, u64, i64),
    nothing: Option<bool>,
    list: Vec<u32>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SampleV2 {
    text: String,
    integers: (u8, i8, u64, i64),
    nothing: Option<bool>,
    something: Option<f64>,
    list: Vec<u32>,
    map: BTreeMap<String, i32>,
    shapes: Vec<Shape>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Shape {
    Unit,
    Newtype(u16),
    Tuple(i32, String),
    Struct { width: f32, height: f32 },
}

impl Versioned for SampleV1 {
    const VERSION: u32 = 1;
    type Previous = NoPrevious;
    fn upcast(previous: NoPrevious) -> Self {
        match previous {}
    }
}

impl Versioned for SampleV2 {
    const VERSION: u32 = 2;
    type Previous = SampleV1;
    fn upcast(previous: SampleV1) -> Self {
        let SampleV1 { text, integers, nothing, list } = previous;
        Self { text, integers, nothing, list, something: None, map: BTreeMap::new(), shapes: Vec::new() }
    }
}

pub(crate) fn sample_v1() -> SampleV1 {
    SampleV1 {
        text: "naïve ☃".into(),
        integers: (u8::MAX, i8::MIN, u64::MAX, i64::MIN),
        nothing: None,
        list: vec![0, 127, 128, 65_536],
    }
}

pub(crate) fn sample_v2() -> SampleV2 {
    let shapes = vec![
        Shape::Unit,
        Shape::Newtype(513),
        Shape::Tuple(-7, "seven".into()),
        Shape::Struct { width: 1.5, height: -0.25 },
    ];
    let map = BTreeMap::from([("one".into(), 1), ("minus one".into(), -1)]);
    SampleV2 { something: Some(0.1), map, shapes, ..SampleV2::upcast(sample_v1()) }
}
