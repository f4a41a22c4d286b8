//! Compressed values: whatever was written comes back, by whichever settings it is read.

use integration_tests::Server;
use state_redis::codec::{Dictionary, MAGIC};
use state_redis::{CompressionAlgorithm, ErrorKind, PutItem, RedisBackend, StateBackend};

use crate::support::{backend, calls, noise, on, stored};

const ALGORITHMS: [CompressionAlgorithm; 4] = [
    CompressionAlgorithm::None,
    CompressionAlgorithm::Lz4,
    CompressionAlgorithm::Snappy,
    CompressionAlgorithm::ZSTD,
];

async fn with(server: &Server, algorithm: CompressionAlgorithm) -> RedisBackend {
    backend(on(server).compression(algorithm).compression_threshold(1_024)).await
}

/// Repetitive and random values around the threshold, and what looks like an envelope.
fn values() -> Vec<Vec<u8>> {
    let mut values = vec![Vec::new(), MAGIC.to_vec(), [&MAGIC, &[0; 5_000][..]].concat()];
    for len in [1, 1_023, 1_024, 1_025, 10_000, 300_000] {
        values.push(vec![b'x'; len]);
        values.push(noise(len));
    }
    values.push((0..=255).collect());
    values
}

#[tokio::test]
async fn values_around_the_threshold_come_back_whatever_reads_them() {
    let server = Server::start().await;
    for writer in ALGORITHMS {
        let writing = with(&server, writer).await;
        for (n, value) in values().iter().enumerate() {
            writing.put(&[n as u8 + 1], value).await.unwrap();
        }
        for reader in ALGORITHMS {
            let reading = with(&server, reader).await;
            let keys: Vec<[u8; 1]> = (1..=values().len() as u8).map(|n| [n]).collect();
            let refs: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
            let batch = reading.batch_get_optimized(&refs).await.unwrap();
            for ((key, value), batched) in keys.iter().zip(values()).zip(batch) {
                let read = reading.get(key).await.unwrap();
                assert_eq!(read.as_ref(), Some(&value), "{writer:?} read by {reader:?}, {} B", value.len());
                assert_eq!(batched, Some(value), "{writer:?} read by {reader:?} in a batch");
            }
        }
    }
}

#[tokio::test]
async fn only_what_shrinks_above_the_threshold_is_stored_compressed() {
    let server = Server::start().await;
    for algorithm in &ALGORITHMS[1..] {
        let backend = with(&server, *algorithm).await;
        for (value, shrinks) in
            [(vec![b'x'; 1_023], false), (vec![b'x'; 1_024], true), (noise(20_000), false)]
        {
            backend.put(b"k", &value).await.unwrap();
            let stored = stored(&server, "state:d|k").await;
            assert_eq!(stored != value, shrinks, "{algorithm:?}, {} B", value.len());
            assert!(stored.len() <= value.len(), "{algorithm:?}: {} of {} B", stored.len(), value.len());
        }
        backend.put(b"k", &[b'x'; 10_000]).await.unwrap();
        let stats = backend.stats().await;
        assert!(stats.bytes_compressed < stats.bytes_before_compression, "{stats:?}");
        assert!(stats.compression_ratio().is_some_and(|ratio| ratio > 10.0), "{stats:?}");
        println!("{algorithm:?}: {:.1} times smaller", stats.compression_ratio().unwrap());
    }
}

#[tokio::test]
async fn values_of_other_clients_are_read_as_they_are() {
    let server = Server::start().await;
    let backend = with(&server, CompressionAlgorithm::ZSTD).await;
    for value in [vec![b'x'; 5_000], noise(5_000), b"\x00\x01\x02\x03".to_vec()] {
        let _: () = server.command(redis::cmd("SET").arg("state:d|raw").arg(&value)).await;
        assert_eq!(backend.get(b"raw").await.unwrap(), Some(value));
    }
}

#[tokio::test]
async fn swaps_compare_the_value_and_not_its_stored_form() {
    let server = Server::start().await;
    for writer in ALGORITHMS {
        for swapper in ALGORITHMS {
            let (writing, swapping) = (with(&server, writer).await, with(&server, swapper).await);
            for len in [0, 1_023, 1_024, 50_000] {
                let (old, new) = (vec![b'x'; len], vec![b'y'; len + 1]);
                writing.put(b"k", &old).await.unwrap();
                let refused = swapping.compare_and_swap(b"k", Some(&new), Some(b"no")).await.unwrap();
                assert!(!refused.is_swapped(), "{writer:?} {swapper:?} {len}");
                let before = calls(&server, "evalsha").await + calls(&server, "eval").await;
                let swapped = swapping.compare_and_swap(b"k", Some(&old), Some(&new)).await.unwrap();
                assert!(swapped.is_swapped(), "{writer:?} {swapper:?} {len}");
                let after = calls(&server, "evalsha").await + calls(&server, "eval").await;
                assert_eq!(after - before, 1, "one round trip");
                assert_eq!(writing.get_and_delete(b"k").await.unwrap(), Some(new));
                assert!(!writing.contains(b"k").await.unwrap());
            }
        }
    }
}

#[tokio::test]
async fn counters_count_whatever_the_algorithm() {
    let server = Server::start().await;
    for algorithm in ALGORITHMS {
        let backend = backend(on(&server).compression(algorithm).compression_threshold(1)).await;
        backend.put(b"n", b"41").await.unwrap();
        assert_eq!(backend.increment(b"n", 1).await.unwrap(), 42, "{algorithm:?}");
        assert_eq!(backend.get_and_delete(b"n").await.unwrap().as_deref(), Some(&b"42"[..]));
    }
}

#[tokio::test]
async fn a_damaged_value_fails_alone_in_its_batch_and_stays() {
    let server = Server::start().await;
    let backend = with(&server, CompressionAlgorithm::Lz4).await;
    let value = vec![b'x'; 10_000];
    backend.batch_put_optimized(&[(b"a", &value), (b"bad", &value), (b"c", &value)]).await.unwrap();
    let mut damaged = stored(&server, "state:d|bad").await;
    *damaged.last_mut().unwrap() ^= 0xff;
    let _: () = server.command(redis::cmd("SET").arg("state:d|bad").arg(&damaged)).await;
    let mut results = backend.batch_get(&[b"a", b"bad", b"c", b"none"]).await;
    let error = results.remove(1).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Corrupt, false), "{error}");
    let others: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(others, [Some(value.clone()), Some(value), None]);
    let error = backend.get_and_delete(b"bad").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(stored(&server, "state:d|bad").await, damaged, "what cannot be read is not removed");
}

#[tokio::test]
async fn a_value_that_unpacks_beyond_the_maximum_is_refused() {
    let server = Server::start().await;
    with(&server, CompressionAlgorithm::ZSTD).await.put(b"k", &vec![0; 1_000_000]).await.unwrap();
    assert!(stored(&server, "state:d|k").await.len() < 1_000);
    let error = backend(on(&server).max_value_len(100_000)).await.get(b"k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
}

fn document(n: usize) -> String {
    format!(
        r#"{{"user":"user-{n}","email":"user-{n}@example.com","roles":["reader","writer"],"active":true,"score":{}}}"#,
        n * 7 % 1_000
    )
}

fn trained(from: usize) -> Dictionary {
    let samples: Vec<String> = (from..from + 2_000).map(document).collect();
    Dictionary::train(&samples, 8_192).expect("samples to train on")
}

#[tokio::test]
async fn small_values_shrink_by_a_dictionary_that_every_reader_finds() {
    let server = Server::start().await;
    let (first, second) = (trained(0), trained(50_000));
    for (n, dictionary) in [&first, &second].into_iter().enumerate() {
        let settings = on(&server).compression(CompressionAlgorithm::ZSTD).compression_threshold(64);
        let writer = backend(settings.dictionary(dictionary.clone())).await;
        let key = format!("doc:{n}");
        writer.put(key.as_bytes(), document(9_999).as_bytes()).await.unwrap();
        let under_key = stored(&server, &format!("state:z|{}", dictionary.id())).await;
        assert_eq!(under_key, dictionary.as_bytes());
        let len = stored(&server, &format!("state:d|{key}")).await.len();
        println!("{} B stored as {len} B", document(9_999).len());
        assert!(len < document(9_999).len(), "{len}");
    }
    // Readers that were given no dictionary, whatever they compress with.
    for algorithm in ALGORITHMS {
        let reader = backend(on(&server).compression(algorithm)).await;
        let read = reader.batch_get_optimized(&[b"doc:0", b"doc:1"]).await.unwrap();
        assert_eq!(read, [Some(document(9_999).into_bytes()), Some(document(9_999).into_bytes())]);
        reader.clear().await.unwrap_or_else(|error| panic!("{error}"));
        for (key, dictionary) in [(b"doc:0", &first), (b"doc:1", &second)] {
            let settings = on(&server).compression(CompressionAlgorithm::ZSTD).compression_threshold(64);
            let writer = backend(settings.dictionary(dictionary.clone())).await;
            writer.put(key, document(9_999).as_bytes()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_value_whose_dictionary_is_gone_says_so() {
    let server = Server::start().await;
    let dictionary = trained(0);
    let settings = on(&server).compression(CompressionAlgorithm::ZSTD).compression_threshold(64);
    let writer = backend(settings.dictionary(dictionary.clone())).await;
    writer.batch_put(&[PutItem::new(b"doc", document(3).as_bytes())]).await.remove(0).unwrap();
    let _: i64 = server.command(redis::cmd("DEL").arg(format!("state:z|{}", dictionary.id()))).await;
    assert_eq!(writer.get(b"doc").await.unwrap(), Some(document(3).into_bytes()), "the writer knows it");
    let error = backend(on(&server)).await.get(b"doc").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.context().contains("dictionary"), "{error}");
}
