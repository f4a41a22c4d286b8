//! The golden files: bytes that a released version stored must decode for ever.

use std::{collections::BTreeSet, fs};

use serde::de::DeserializeOwned;
use state_codec::{Dictionary, Format, Json, MessagePack, Postcard};

use crate::{
    golden_set::{Manifest, SampleV2, envelopes, folder, reader, records, sample_v1, sample_v2, values},
    support::document,
};

fn file(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap_or_else(|error| panic!("golden file {name}: {error}"))
}

fn dictionary() -> Dictionary {
    Dictionary::from_bytes(file("dictionary.bin")).unwrap()
}

fn manifest() -> Manifest {
    serde_json::from_slice(&file("golden.json")).unwrap()
}

#[test]
fn every_golden_envelope_decodes_to_its_value() {
    let (codec, manifest) = (reader(dictionary()), manifest());
    assert!(manifest.envelopes.len() >= 16, "golden files are added and never removed");
    for golden in manifest.envelopes {
        let value = codec.decode(golden.key.as_bytes(), file(&golden.stored));
        assert!(value.unwrap() == file(&golden.value), "{}", golden.stored);
    }
}

#[test]
fn every_setting_of_the_set_has_its_file_and_every_file_its_entry() {
    let manifest = manifest();
    let known: BTreeSet<_> = manifest.envelopes.iter().map(|golden| golden.stored.as_str()).collect();
    for (name, ..) in envelopes(&dictionary()) {
        assert!(known.contains(format!("{name}.bin").as_str()), "{name}: run the example write_golden");
    }
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.starts_with("v1-") || known.contains(name.as_str()), "{name} is not in golden.json");
    }
}

#[test]
fn the_values_are_what_they_were() {
    for (name, value) in values(document) {
        assert!(file(&format!("value-{name}.bin")) == value, "{name}");
    }
}

#[test]
fn every_golden_record_decodes_to_the_sample() {
    fn check(name: &str, format: impl Format) {
        fn decode<T: DeserializeOwned>(name: String, format: impl Format) -> T {
            format.decode(&file(&name)).unwrap()
        }
        let codec = reader(dictionary());
        assert_eq!(decode::<SampleV2>(format!("plain.{name}"), format), sample_v2());
        let up_cast: SampleV2 =
            codec.decode_versioned(b"golden", file(&format!("record-v1.{name}")), format).unwrap();
        assert_eq!(up_cast, <SampleV2 as state_codec::Versioned>::upcast(sample_v1()));
        let current: SampleV2 =
            codec.decode_versioned(b"golden", file(&format!("record-v2.{name}")), format).unwrap();
        assert_eq!(current, sample_v2());
    }
    check("msgpack", MessagePack);
    check("json", Json);
    check("postcard", Postcard);
}

#[test]
fn records_are_still_written_as_they_were() {
    for (name, bytes) in records() {
        assert!(file(name) == bytes, "{name} is written differently: other readers would not know it");
    }
}
