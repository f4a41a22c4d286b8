//! Dictionaries: trained, named in the envelope, fetched before decoding.

use state_codec::{
    Codec, CodecConfig, Compression, Dictionary, DictionaryId, DictionaryStore, DictionaryStoreError,
    ErrorKind, MemoryDictionaryStore, Stored,
};

use crate::support::document;

const KEY: &[u8] = b"key";

fn trained(from: u64) -> Dictionary {
    let samples: Vec<_> = (from..from + 1_000).map(document).collect();
    Dictionary::train(&samples, 16 << 10).unwrap()
}

fn codec_with(dictionary: &Dictionary) -> Codec {
    let config = CodecConfig::default().with_compression(Compression::ZSTD).with_threshold(64);
    Codec::new(config.with_dictionary(dictionary.clone())).unwrap()
}

fn plain() -> Codec {
    Codec::new(CodecConfig::default().with_compression(Compression::ZSTD).with_threshold(64)).unwrap()
}

#[test]
fn small_documents_take_less_than_half_the_bytes_with_a_dictionary() {
    let (with, without) = (codec_with(&trained(0)), plain());
    let (mut raw, mut small, mut smaller) = (0, 0, 0);
    for document in (5_000..5_500).map(document) {
        raw += document.len();
        small += without.encode(KEY, document.as_bytes()).unwrap().len();
        let stored = with.encode(KEY, document.as_bytes()).unwrap().into_owned();
        smaller += stored.len();
        assert_eq!(with.decode(KEY, stored).unwrap(), document.as_bytes());
    }
    let ratio = |stored: usize| raw as f64 / stored as f64;
    println!(
        "{} B a document: {:.2}x without, {:.2}x with a dictionary",
        raw / 500,
        ratio(small),
        ratio(smaller)
    );
    assert!(smaller * 2 < small, "{smaller} B with, {small} B without a dictionary");
}

#[test]
fn the_header_names_the_dictionary_and_a_codec_without_it_says_so() {
    let dictionary = trained(0);
    let stored = codec_with(&dictionary).encode(KEY, document(9_000).as_bytes()).unwrap().into_owned();
    assert_eq!(Stored::parse(&stored).unwrap().dictionary(), Some(dictionary.id()));
    let reader = plain();
    assert_eq!(reader.missing_dictionary(&stored), Some(dictionary.id()));
    assert_eq!(reader.decode(KEY, stored.clone()).unwrap_err().kind(), ErrorKind::MissingDictionary);
    reader.add_dictionary(dictionary.clone()).unwrap();
    reader.add_dictionary(dictionary).unwrap();
    assert_eq!(reader.missing_dictionary(&stored), None);
    assert_eq!(reader.decode(KEY, stored).unwrap(), document(9_000).as_bytes());
}

#[test]
fn values_of_an_earlier_dictionary_stay_readable_under_a_new_one() {
    let (old, new) = (trained(0), trained(20_000));
    assert_ne!(old.id(), new.id());
    let stored = codec_with(&old).encode(KEY, document(9_000).as_bytes()).unwrap().into_owned();
    let reader = codec_with(&new);
    reader.add_dictionary(old).unwrap();
    assert_eq!(reader.decode(KEY, stored).unwrap(), document(9_000).as_bytes());
}

#[tokio::test]
async fn a_missing_dictionary_is_fetched_from_the_store() {
    let store = MemoryDictionaryStore::default();
    let dictionary = trained(0);
    let stored = codec_with(&dictionary).encode(KEY, document(9_000).as_bytes()).unwrap().into_owned();
    let reader = plain();
    let error = reader.fetch_dictionary(&store, &stored).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MissingDictionary);
    store.save(&dictionary).await.unwrap();
    reader.fetch_dictionary(&store, &stored).await.unwrap();
    assert_eq!(reader.decode(KEY, stored).unwrap(), document(9_000).as_bytes());
    reader.fetch_dictionary(&store, b"a raw value needs none").await.unwrap();
}

/// Answers every request with the same bytes, or fails.
struct Fixed(Option<Vec<u8>>);

#[async_trait::async_trait]
impl DictionaryStore for Fixed {
    async fn load(&self, _: DictionaryId) -> Result<Option<Vec<u8>>, DictionaryStoreError> {
        self.0.clone().map(Some).ok_or_else(|| "the disk is gone".into())
    }

    async fn save(&self, _: &Dictionary) -> Result<(), DictionaryStoreError> {
        Err("read only".into())
    }
}

#[tokio::test]
async fn a_store_that_fails_or_answers_with_something_else_is_told_apart() {
    let stored = codec_with(&trained(0)).encode(KEY, document(9_000).as_bytes()).unwrap().into_owned();
    let other = trained(20_000).as_bytes().to_vec();
    for (answer, kind) in [
        (None, ErrorKind::DictionaryStore),
        (Some(other), ErrorKind::Corrupt),
        (Some(b"no dictionary".to_vec()), ErrorKind::Corrupt),
    ] {
        let reader = plain();
        assert_eq!(reader.fetch_dictionary(&Fixed(answer), &stored).await.unwrap_err().kind(), kind);
    }
}

#[test]
fn what_is_no_dictionary_is_refused() {
    let damaged = {
        let mut bytes = trained(0).as_bytes().to_vec();
        bytes.truncate(100);
        bytes
    };
    for bytes in
        [Vec::new(), b"raw content is no dictionary".to_vec(), damaged, vec![0; Dictionary::MAX_LEN + 1]]
    {
        assert_eq!(Dictionary::from_bytes(bytes).unwrap_err().kind(), ErrorKind::InvalidConfig);
    }
    assert_eq!(Dictionary::train(&["a", "b"], 1_000).unwrap_err().kind(), ErrorKind::InvalidConfig);
    let misplaced = CodecConfig::default().with_compression(Compression::Lz4).with_dictionary(trained(0));
    assert_eq!(Codec::new(misplaced).unwrap_err().kind(), ErrorKind::InvalidConfig);
}

#[test]
fn debug_shows_no_sample() {
    let shown = format!("{:?} {:?}", trained(0), codec_with(&trained(0)));
    assert!(!shown.contains("user_id") && !shown.contains("117, 115"), "{shown}");
}
