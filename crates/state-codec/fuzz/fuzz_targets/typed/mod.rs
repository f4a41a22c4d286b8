//! Types that between them ask for everything a format can hold, and nest without end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use state_codec::{Codec, CodecConfig, ErrorKind, Format, NoPrevious, Versioned};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Text(String),
    Number(i64),
    Wide(u128),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Map(BTreeMap<String, Self>),
    Pair(Box<(Self, Self)>),
    Named { maybe: Option<Box<Self>>, nothing: Vec<()>, letter: char, flag: bool },
}

#[derive(Debug, Serialize, Deserialize)]
struct First {
    tree: Tree,
}

#[derive(Debug, Serialize, Deserialize)]
struct Second {
    tree: Tree,
    count: u32,
}

impl Versioned for First {
    const VERSION: u32 = 1;
    type Previous = NoPrevious;
    fn upcast(previous: NoPrevious) -> Self {
        match previous {}
    }
}

impl Versioned for Second {
    const VERSION: u32 = 2;
    type Previous = First;
    fn upcast(previous: First) -> Self {
        Self { tree: previous.tree, count: 0 }
    }
}

/// No panic and no overflow; and what was read can be written and read again.
pub fn check(format: impl Format, data: &[u8]) {
    if let Some(tree) = read::<Tree>(format, data) {
        let again = format.encode(&tree).expect("what was read can be written");
        assert_eq!(format.decode::<Tree>(&again).expect("what was written can be read"), tree);
    }
    let codec = Codec::new(CodecConfig::default()).expect("the settings are valid");
    if let Err(error) = codec.decode_versioned::<Second>(b"key", data, format) {
        assert!(!matches!(error.kind(), ErrorKind::Internal | ErrorKind::Unencodable), "{error}");
    }
}

pub fn read<T: DeserializeOwned>(format: impl Format, data: &[u8]) -> Option<T> {
    format.decode(data).inspect_err(|error| assert_eq!(error.kind(), ErrorKind::Malformed)).ok()
}
