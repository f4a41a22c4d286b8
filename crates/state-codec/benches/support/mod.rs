//! The same work done by the codec, by the bare library with the same checksum, and by the bare library.

use std::{cell::RefCell, hint::black_box, rc::Rc};

use state_codec::{Codec, CodecConfig, Compression};
use xxhash_rust::xxh3::xxh3_128;

const KEY: &[u8] = b"key";

pub(crate) const SIZES: [(&str, usize); 4] =
    [("100 B", 100), ("1 KiB", 1 << 10), ("16 KiB", 16 << 10), ("1 MiB", 1 << 20)];

/// One comparison. Each closure does the work once and drops its result.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) len: usize,
    pub(crate) codec: Box<dyn Fn()>,
    pub(crate) checked: Box<dyn Fn()>,
    pub(crate) bare: Box<dyn Fn()>,
}

/// Every algorithm, content and size, in both directions. Noise is stored raw, so only its encoding
/// has anything to compare.
pub(crate) fn cases() -> Vec<Case> {
    let algorithms =
        [("LZ4", Compression::Lz4), ("Snappy", Compression::Snappy), ("Zstd 3", Compression::ZSTD)];
    let mut cases = Vec::new();
    for (algorithm, compression) in algorithms {
        for (content, make) in [("text", text as fn(usize) -> Vec<u8>), ("JSON", json), ("random", random)] {
            for (size, len) in SIZES {
                let codec = codec(compression);
                let value = Rc::new(make(len));
                let payload = Rc::new(Bare::new(compression).compress(&value));
                let name = |direction| format!("{direction} {algorithm} {content} {size}");
                cases.push(encoding(name("encode"), codec.clone(), compression, value.clone()));
                if content != "random" && codec.encode(KEY, &value).expect("it is small").len() < len {
                    cases.push(decoding(name("decode"), codec, compression, value, payload));
                }
            }
        }
    }
    cases
}

fn encoding(name: String, codec: Codec, compression: Compression, value: Rc<Vec<u8>>) -> Case {
    // Each has a context of its own: a shared one would be warm for whoever comes second.
    let (checked_bare, bare) = (Bare::new(compression), Bare::new(compression));
    let (checked_value, bare_value) = (value.clone(), value.clone());
    Case {
        name,
        len: value.len(),
        codec: Box::new(move || {
            black_box(codec.encode(KEY, black_box(&value)).expect("it is small"));
        }),
        checked: Box::new(move || {
            black_box(xxh3_128(black_box(&checked_value)));
            black_box(checked_bare.compress(black_box(&checked_value)));
        }),
        bare: Box::new(move || {
            black_box(bare.compress(black_box(&bare_value)));
        }),
    }
}

fn decoding(
    name: String,
    codec: Codec,
    compression: Compression,
    value: Rc<Vec<u8>>,
    payload: Rc<Vec<u8>>,
) -> Case {
    let len = value.len();
    let stored = codec.encode(KEY, &value).expect("it is small").into_owned();
    let (checked_bare, bare) = (Bare::new(compression), Bare::new(compression));
    let checked_payload = payload.clone();
    Case {
        name,
        len,
        codec: Box::new(move || {
            black_box(codec.decode_slice(KEY, black_box(&stored)).expect("it was just encoded"));
        }),
        checked: Box::new(move || {
            let value = checked_bare.decompress(black_box(&checked_payload), len);
            black_box(xxh3_128(&value));
            black_box(value);
        }),
        bare: Box::new(move || {
            black_box(bare.decompress(black_box(&payload), len));
        }),
    }
}

/// The libraries' own functions for whole values, with contexts that are reused where there are any.
enum Bare {
    Lz4,
    Snappy(Box<RefCell<snap::raw::Encoder>>),
    Zstd(RefCell<zstd::bulk::Compressor<'static>>, RefCell<zstd::bulk::Decompressor<'static>>),
}

impl Bare {
    fn new(compression: Compression) -> Self {
        match compression {
            Compression::Lz4 => Self::Lz4,
            Compression::Snappy => Self::Snappy(Box::new(RefCell::new(snap::raw::Encoder::new()))),
            _ => Self::Zstd(
                RefCell::new(zstd::bulk::Compressor::new(3).expect("level 3 exists")),
                RefCell::new(zstd::bulk::Decompressor::new().expect("there is memory")),
            ),
        }
    }

    fn compress(&self, value: &[u8]) -> Vec<u8> {
        match self {
            Self::Lz4 => lz4::block::compress(value, None, false).expect("it is small"),
            Self::Snappy(encoder) => encoder.borrow_mut().compress_vec(value).expect("it is small"),
            Self::Zstd(encoder, _) => encoder.borrow_mut().compress(value).expect("it is small"),
        }
    }

    fn decompress(&self, payload: &[u8], len: usize) -> Vec<u8> {
        match self {
            Self::Lz4 => lz4::block::decompress(payload, Some(len as i32)).expect("it is valid"),
            Self::Snappy(_) => snap::raw::Decoder::new().decompress_vec(payload).expect("it is valid"),
            Self::Zstd(_, decoder) => decoder.borrow_mut().decompress(payload, len).expect("it is valid"),
        }
    }
}

pub(crate) fn codec(compression: Compression) -> Codec {
    Codec::new(CodecConfig::default().with_compression(compression).with_threshold(0))
        .expect("valid settings")
}

/// English words in no order.
fn text(len: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "the", "state", "of", "a", "session", "is", "kept", "until", "it", "expires", "or", "its", "owner",
        "deletes", "every", "record",
    ];
    fill(len, |number| format!("{} ", WORDS[number as usize % WORDS.len()]).into_bytes())
}

/// Small documents of one shape.
fn json(len: usize) -> Vec<u8> {
    fill(len, |number| {
        let (id, score) = (number % 100_000, number >> 20 & 0xFF);
        format!(r#"{{"user_id":{id},"name":"user {id}","active":true,"score":{score},"tags":["a","b"]}}"#)
            .into_bytes()
    })
}

fn random(len: usize) -> Vec<u8> {
    fill(len, |number| number.to_le_bytes().to_vec())
}

fn fill(len: usize, part: impl Fn(u64) -> Vec<u8>) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut bytes = Vec::with_capacity(len + 128);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(part(state.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    }
    bytes.truncate(len);
    bytes
}
