//! Encrypted values: nothing readable on the server, swaps and removals work, keys rotate.

use integration_tests::Server;
use state_redis::codec::{Cipher, EncryptionKey, KeyRing, Plaintext};
use state_redis::{CompressionAlgorithm, ErrorKind, RedisBackend};

use crate::support::{backend, noise, on, stored};

fn key(id: u32) -> EncryptionKey {
    let cipher = if id.is_multiple_of(2) { Cipher::Aes256Gcm } else { Cipher::XChaCha20Poly1305 };
    EncryptionKey::new(id, cipher, &[u8::try_from(id).expect("a small id"); 32])
}

async fn with(server: &Server, ring: KeyRing) -> RedisBackend {
    backend(on(server).encryption_keys(ring).compression(CompressionAlgorithm::Lz4)).await
}

#[tokio::test]
async fn encrypted_values_are_swapped_by_what_they_say() {
    let server = Server::start().await;
    for id in [1, 2] {
        let backend = with(&server, KeyRing::new(key(id))).await;
        for value in [b"plain-canary".to_vec(), vec![b'x'; 5_000], noise(5_000), Vec::new()] {
            backend.put(b"k", &value).await.unwrap();
            let bytes = stored(&server, "state:d|k").await;
            assert!(value.is_empty() || !bytes.windows(value.len()).any(|window| window == value));
            assert_eq!(backend.get(b"k").await.unwrap().as_ref(), Some(&value));
            let other = backend.compare_and_swap(b"k", Some(b"other"), Some(b"no")).await.unwrap();
            assert_eq!(other, state_redis::CasOutcome::Mismatch { current: Some(value.clone()) });
            let swapped = backend.compare_and_swap(b"k", Some(&value), Some(b"new")).await.unwrap();
            assert!(swapped.is_swapped());
            assert_eq!(backend.get_and_delete(b"k").await.unwrap().as_deref(), Some(&b"new"[..]));
            assert!(backend.compare_and_swap(b"k", None, Some(&value)).await.unwrap().is_swapped());
            assert!(backend.compare_and_swap(b"k", Some(&value), None).await.unwrap().is_swapped());
            assert_eq!(backend.get(b"k").await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn racing_swaps_of_an_encrypted_value_win_once_each() {
    let server = Server::start().await;
    let backend = with(&server, KeyRing::new(key(1))).await;
    backend.put(b"n", b"0").await.unwrap();
    let raise = async |backend: RedisBackend| {
        for _ in 0..25 {
            loop {
                let old = backend.get(b"n").await.unwrap().expect("a number");
                let new = std::str::from_utf8(&old).unwrap().parse::<u32>().unwrap() + 1;
                let new = new.to_string();
                match backend.compare_and_swap(b"n", Some(&old), Some(new.as_bytes())).await {
                    Ok(outcome) if outcome.is_swapped() => break,
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
                }
            }
        }
    };
    futures_util::future::join_all((0..4).map(|_| raise(backend.clone()))).await;
    assert_eq!(backend.get(b"n").await.unwrap().as_deref(), Some(&b"100"[..]));
}

#[tokio::test]
async fn a_counter_cannot_be_encrypted_and_says_so() {
    let server = Server::start().await;
    let backend = with(&server, KeyRing::new(key(1))).await;
    let error = backend.increment(b"n", 1).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unsupported, false), "{error}");
    assert!(!backend.contains(b"n").await.unwrap());
}

#[tokio::test]
async fn keys_rotate_on_live_data() {
    let server = Server::start().await;
    with(&server, KeyRing::new(key(1))).await.put(b"old", b"v").await.unwrap();
    let rotated = with(&server, KeyRing::new(key(1)).rotated_to(key(2))).await;
    rotated.put(b"new", b"w").await.unwrap();
    assert_eq!(rotated.get(b"old").await.unwrap().as_deref(), Some(&b"v"[..]));
    assert!(rotated.compare_and_swap(b"old", Some(b"v"), Some(b"v")).await.unwrap().is_swapped());
    let fresh = with(&server, KeyRing::new(key(2))).await;
    let read = fresh.batch_get_optimized(&[b"old", b"new"]).await.unwrap();
    assert_eq!(read, [Some(b"v".to_vec()), Some(b"w".to_vec())]);
    let error = with(&server, KeyRing::new(key(3))).await.get(b"old").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let error = backend(on(&server)).await.get(b"old").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

#[tokio::test]
async fn plaintext_is_accepted_until_it_is_refused() {
    let server = Server::start().await;
    backend(on(&server)).await.put(b"k", b"v").await.unwrap();
    assert_eq!(
        with(&server, KeyRing::new(key(1))).await.get(b"k").await.unwrap().as_deref(),
        Some(&b"v"[..])
    );
    let strict = on(&server).encryption_keys(KeyRing::new(key(1))).plaintext(Plaintext::Refuse);
    let error = backend(strict).await.get(b"k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[tokio::test]
async fn a_record_copied_to_another_key_does_not_open() {
    let server = Server::start().await;
    let backend = with(&server, KeyRing::new(key(1))).await;
    backend.put(b"mine", b"v").await.unwrap();
    let _: i64 = server.command(redis::cmd("COPY").arg("state:d|mine").arg("state:d|theirs")).await;
    assert_eq!(backend.get(b"theirs").await.unwrap_err().kind(), ErrorKind::Corrupt);
}
