//! The three formats: round trips, and bytes that somebody made up.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use state_codec::{Codec, CodecConfig, Compression, ErrorKind, Format, Json, MessagePack, Postcard};

const KEY: &[u8] = b"key";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Polygon { corners: Vec<(i32, i32)> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Everything {
    text: String,
    numbers: (u8, i64, u64, f64),
    maybe: Option<Box<Self>>,
    bytes: Vec<u8>,
    map: BTreeMap<String, i64>,
    shapes: Vec<Shape>,
    unit: (),
    wide: u128,
}

fn everything() -> impl Strategy<Value = Everything> {
    let leaf = (
        ".*",
        (any::<u8>(), any::<i64>(), any::<u64>(), -1e9..1e9_f64),
        vec(any::<u8>(), 0..40),
        proptest::collection::btree_map(".*", any::<i64>(), 0..5),
        vec(
            prop_oneof![
                Just(Shape::Point),
                (-1e9..1e9_f64).prop_map(Shape::Circle),
                vec(any::<(i32, i32)>(), 0..4).prop_map(|corners| Shape::Polygon { corners })
            ],
            0..4,
        ),
        any::<u128>(),
    )
        .prop_map(|(text, numbers, bytes, map, shapes, wide)| Everything {
            text,
            numbers,
            maybe: None,
            bytes,
            map,
            shapes,
            unit: (),
            wide,
        });
    (leaf.clone(), proptest::option::of(leaf))
        .prop_map(|(outer, inner)| Everything { maybe: inner.map(Box::new), ..outer })
}

fn codec() -> Codec {
    Codec::new(CodecConfig::default().with_compression(Compression::Lz4).with_threshold(64)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_in_comes_out(value in everything()) {
        fn check(value: &Everything, format: impl Format) {
            let stored = codec().encode_as(KEY, value, format).unwrap();
            assert_eq!(codec().decode_as::<Everything>(KEY, stored, format).unwrap(), *value);
        }
        check(&value, MessagePack);
        check(&value, Json);
        check(&value, Postcard);
    }

    #[test]
    fn made_up_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        fn check(bytes: &[u8], format: impl Format) {
            if let Err(error) = format.decode::<Everything>(bytes) {
                assert_eq!(error.kind(), ErrorKind::Malformed);
            }
        }
        check(&bytes, MessagePack);
        check(&bytes, Json);
        check(&bytes, Postcard);
    }
}

#[track_caller]
fn assert_malformed<T: DeserializeOwned + std::fmt::Debug>(format: impl Format, bytes: &[u8], about: &str) {
    let error = format.decode::<T>(bytes).expect_err("the bytes are not valid");
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(error.context().contains(about), "{error}");
}

#[test]
fn bytes_after_the_value_are_refused() {
    for trailing in [&[0_u8][..], &[0x91], &[0xC3], &[0xDF, 0xFF, 0xFF, 0xFF, 0xFF]] {
        assert_malformed::<u8>(MessagePack, &[&[7], trailing].concat(), "after the end");
        assert_malformed::<u8>(Postcard, &[&[7], trailing].concat(), "after the end");
    }
    assert_malformed::<u8>(Json, b"7 8", "syntax");
    assert_eq!(Json.decode::<u8>(b"7 \n").unwrap(), 7);
}

#[test]
fn every_cut_is_noticed() {
    fn check(format: impl Format) {
        let bytes = format.encode(&("text", 1_000_000_u32, [1.5, 2.5], Some("more"))).unwrap();
        for len in 0..bytes.len() {
            assert_malformed::<(String, u32, [f64; 2], Option<String>)>(format, &bytes[..len], "");
        }
    }
    check(MessagePack);
    check(Json);
    check(Postcard);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Chain {
    End,
    Link(Box<Self>),
}

#[derive(Debug, Serialize, Deserialize)]
struct Nested(Vec<Self>);

#[derive(Debug, Serialize, Deserialize)]
struct Optional {
    inner: Option<Box<Self>>,
}

#[test]
fn ten_thousand_levels_are_refused_and_a_million_are() {
    for levels in [10_000, 1_000_000] {
        assert_malformed::<serde_json::Value>(Json, "[".repeat(levels).as_bytes(), "");
        assert_malformed::<serde_json::Value>(Json, r#"{"a":"#.repeat(levels).as_bytes(), "");
        assert_malformed::<Nested>(Json, "[".repeat(levels).as_bytes(), "");
        assert_malformed::<Chain>(Json, r#"{"Link":"#.repeat(levels).as_bytes(), "");
        assert_malformed::<serde_json::Value>(MessagePack, &vec![0x91; levels], "");
        assert_malformed::<Nested>(MessagePack, &vec![0x91; levels], "");
        assert_malformed::<Chain>(MessagePack, &b"\x81\xA4Link".repeat(levels), "");
        assert_malformed::<Optional>(MessagePack, &b"\x91".repeat(levels), "");
        assert_malformed::<Chain>(Postcard, &vec![1; levels], "");
        assert_malformed::<Nested>(Postcard, &vec![1; levels], "");
        assert_malformed::<Optional>(Postcard, &vec![1; levels], "");
    }
}

#[test]
fn a_hundred_levels_are_fine() {
    fn check(format: impl Format) {
        let deep = (0..100).fold(Chain::End, |inner, _| Chain::Link(Box::new(inner)));
        assert_eq!(format.decode::<Chain>(&format.encode(&deep).unwrap()).unwrap(), deep);
    }
    check(MessagePack);
    check(Json);
    check(Postcard);
}

#[test]
fn a_value_too_deep_to_be_read_is_not_written() {
    fn check(format: impl Format) {
        let deep = (0..200).fold(Chain::End, |inner, _| Chain::Link(Box::new(inner)));
        assert_eq!(format.encode(&deep).unwrap_err().kind(), ErrorKind::Unencodable);
    }
    check(MessagePack);
    check(Json);
    check(Postcard);
}

#[test]
fn headers_that_promise_a_billion_elements_are_refused_quickly() {
    let promise = 1_000_000_000_u32.to_be_bytes();
    for marker in [0xDD, 0xDF, 0xDB, 0xC6] {
        let bytes = [&[marker], promise.as_slice(), &[1, 2, 3]].concat();
        assert_malformed::<Vec<u8>>(MessagePack, &bytes, "");
        assert_malformed::<serde_json::Value>(MessagePack, &bytes, "");
    }
    let varint = [0xFF, 0xFF, 0xFF, 0xFF, 0x07];
    assert_malformed::<Vec<u64>>(Postcard, &varint, "");
    assert_malformed::<String>(Postcard, &varint, "");
    // Elements without bytes: the promise could be kept for ever.
    assert_malformed::<Vec<()>>(Postcard, &varint, "");
    assert_eq!(Postcard.decode::<Vec<()>>(&Postcard.encode(&vec![(); 1_000]).unwrap()).unwrap().len(), 1_000);
}

#[test]
fn errors_do_not_quote_the_value() {
    #[derive(Debug, Deserialize)]
    struct Strict {
        #[expect(dead_code, reason = "only whether it parses matters")]
        pin: u32,
    }
    let value = BTreeMap::from([("pin", "CANARY")]);
    fn check(value: &BTreeMap<&str, &str>, format: impl Format) {
        let stored = codec().encode_as(b"CANARY", value, format).unwrap();
        let error = codec().decode_as::<Strict>(b"CANARY", stored, format).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("CANARY"), "{shown}");
        assert!(shown.contains("key digest"), "{shown}");
    }
    check(&value, MessagePack);
    check(&value, Json);
    check(&value, Postcard);
}

#[test]
fn what_a_format_cannot_express_is_unencodable() {
    let keyed_by_list = BTreeMap::from([(vec![1], 2)]);
    assert_eq!(Json.encode(&keyed_by_list).unwrap_err().kind(), ErrorKind::Unencodable);
}
