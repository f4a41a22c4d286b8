//! Schema versions: older records are up-cast, newer ones are refused by name.

use serde::{Deserialize, Serialize};
use state_codec::{
    Codec, CodecConfig, ErrorKind, Format, Json, MessagePack, NoPrevious, Postcard, Versioned,
};

const KEY: &[u8] = b"user:42";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct UserV1 {
    name: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct UserV2 {
    first: String,
    last: String,
}

/// Version 3 was never released.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct UserV4 {
    first: String,
    last: String,
    logins: u64,
}

impl Versioned for UserV1 {
    const VERSION: u32 = 1;
    type Previous = NoPrevious;
    fn upcast(previous: NoPrevious) -> Self {
        match previous {}
    }
}

impl Versioned for UserV2 {
    const VERSION: u32 = 2;
    type Previous = UserV1;
    fn upcast(previous: UserV1) -> Self {
        let (first, last) = previous.name.split_once(' ').unwrap_or((&previous.name, ""));
        Self { first: first.into(), last: last.into() }
    }
}

impl Versioned for UserV4 {
    const VERSION: u32 = 4;
    type Previous = UserV2;
    fn upcast(previous: UserV2) -> Self {
        Self { first: previous.first, last: previous.last, logins: 0 }
    }
}

/// The program after the next release.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct UserV5;

impl Versioned for UserV5 {
    const VERSION: u32 = 5;
    type Previous = UserV4;
    fn upcast(_: UserV4) -> Self {
        Self
    }
}

/// A program that has forgotten version 1.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Forgetful {
    first: String,
    last: String,
}

impl Versioned for Forgetful {
    const VERSION: u32 = 2;
    type Previous = NoPrevious;
    fn upcast(previous: NoPrevious) -> Self {
        match previous {}
    }
}

fn for_every_format(
    check: impl Fn(&dyn Fn(u32) -> Vec<u8>, &dyn Fn(Vec<u8>) -> state_codec::Result<UserV4>),
) {
    fn one(
        format: impl Format,
        check: &impl Fn(&dyn Fn(u32) -> Vec<u8>, &dyn Fn(Vec<u8>) -> state_codec::Result<UserV4>),
    ) {
        let codec = codec();
        let write = |version| match version {
            1 => codec.encode_versioned(KEY, &UserV1 { name: "Ada Lovelace".into() }, format),
            2 => {
                codec.encode_versioned(KEY, &UserV2 { first: "Ada".into(), last: "Lovelace".into() }, format)
            }
            4 => codec.encode_versioned(KEY, &current(), format),
            _ => codec.encode_versioned(KEY, &UserV5, format),
        };
        check(&|version| write(version).unwrap(), &|stored| codec.decode_versioned(KEY, stored, format));
    }
    one(MessagePack, &check);
    one(Json, &check);
    one(Postcard, &check);
}

fn codec() -> Codec {
    Codec::new(CodecConfig::default()).unwrap()
}

fn current() -> UserV4 {
    UserV4 { first: "Ada".into(), last: "Lovelace".into(), logins: 0 }
}

#[test]
fn every_older_version_is_up_cast() {
    for_every_format(|write, read| {
        for version in [1, 2, 4] {
            assert_eq!(read(write(version)).unwrap(), current(), "from version {version}");
        }
    });
}

#[test]
fn a_newer_version_is_an_error_of_its_own() {
    for_every_format(|write, read| {
        let error = read(write(5)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NewerSchema);
        assert!(error.context().starts_with("version 5, this program's is 4"), "{error}");
    });
}

#[test]
fn a_version_outside_of_the_chain_is_an_error_of_its_own() {
    let codec = codec();
    for stored in [r#"{"v":3,"data":{}}"#, r#"{"v":0,"data":{}}"#] {
        let error = codec.decode_versioned::<UserV4>(KEY, stored, Json).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OlderSchema, "{error}");
    }
    let first = codec.encode_versioned(KEY, &UserV1 { name: "Ada".into() }, Postcard).unwrap();
    let error = codec.decode_versioned::<Forgetful>(KEY, first, Postcard).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OlderSchema);
}

#[test]
fn what_is_no_record_is_malformed() {
    let codec = codec();
    for stored in [
        "{}",
        "[]",
        "null",
        "[4]",
        r#"{"v":4}"#,
        r#"{"data":{},"v":4}"#,
        r#"{"v":-1,"data":{}}"#,
        r#"{"v":4,"data":{"first":"A","last":"L","logins":0},"more":1}"#,
        r#"{"v":4,"data":{}}"#,
    ] {
        let error = codec.decode_versioned::<UserV4>(KEY, stored, Json).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{stored}");
    }
}

#[test]
fn a_record_in_json_reads_like_one() {
    let stored = codec().encode_versioned(KEY, &current(), Json).unwrap();
    assert_eq!(stored, br#"{"v":4,"data":{"first":"Ada","last":"Lovelace","logins":0}}"#);
}
