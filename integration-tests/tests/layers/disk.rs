//! A server whose disk is full: writes are refused by type, reads go on, and once there is room so do writes.

use std::fs;
use std::path::Path;

use integration_tests::{Server, ServerConfig, eventually};
use state_redis::{ErrorKind, PutItem, RedisBackend, StateBackend, StateError};

use crate::support::{backend, ms, on};

/// A server that keeps snapshots, and refuses writes once it cannot.
async fn saving() -> Server {
    let config = ServerConfig::default().with_option("appendonly", "no");
    config.with_option("save", "3600 1").with_option("stop-writes-on-bgsave-error", "yes").start().await
}

/// Has a snapshot made, and waits until that has ended with this word.
async fn save(server: &Server, word: &str) {
    let _: redis::Value = server.command(&redis::cmd("BGSAVE")).await;
    eventually("the snapshot has ended", ms(30_000), async || {
        let info = async |name: &str| server.info(name).await.expect("INFO").unwrap_or_default();
        let (running, status) = (info("rdb_bgsave_in_progress").await, info("rdb_last_bgsave_status").await);
        if running == "0" && status == word { Ok(()) } else { Err(format!("{running} {status}")) }
    })
    .await;
}

fn is_full(error: &StateError) {
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    assert!(!error.is_ambiguous(), "it was refused: {error}");
    assert!(error.context().contains("cannot persist"), "{error}");
    let cause = std::error::Error::source(error).expect("a cause").to_string();
    assert!(cause.contains("MISCONF"), "the server's word is in the cause: {cause}");
}

async fn writes_are_refused_and_reads_go_on(backend: &RedisBackend) {
    is_full(&backend.put(b"k", b"new").await.unwrap_err());
    is_full(&backend.increment(b"n", 1).await.unwrap_err());
    is_full(&backend.delete(b"k").await.unwrap_err());
    is_full(&backend.compare_and_swap(b"k", Some(b"old"), Some(b"new")).await.unwrap_err());
    for result in backend.batch_put(&[PutItem::new(b"a", b"1"), PutItem::new(b"b", b"2")]).await {
        is_full(&result.unwrap_err());
    }
    let error = backend.try_acquire_lock("job", ms(10_000)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "a lock that cannot be written is not held: {error}");

    assert_eq!(backend.get(b"k").await.unwrap().as_deref(), Some(&b"old"[..]));
    assert!(backend.contains(b"k").await.unwrap());
    let values = backend.batch_get(&[&b"k"[..], b"a"]).await;
    assert_eq!(values[0].as_ref().unwrap().as_deref(), Some(&b"old"[..]));
    assert_eq!(values[1].as_ref().unwrap(), &None);
    assert_eq!(backend.count().await.unwrap(), 1);
    assert!(!backend.health_check().await.unwrap(), "it is no good for writes");
}

async fn all_is_well(backend: &RedisBackend) {
    backend.put(b"k", b"new").await.expect("there is room again");
    assert_eq!(backend.get(b"k").await.unwrap().as_deref(), Some(&b"new"[..]));
    assert!(backend.health_check().await.unwrap());
    drop(backend.acquire_lock("job", ms(10_000)).await.expect("locks can be written again"));
}

#[tokio::test]
async fn while_snapshots_cannot_be_written_reads_go_on() {
    let server = saving().await;
    let backend = backend(on(&server)).await;
    backend.put(b"k", b"old").await.unwrap();
    save(&server, "ok").await;

    // Where a folder with something in it stands under its name, no snapshot can be put, whoever asks; rights would not
    // bind root.
    let snapshot = server.dir().join("data/dump.rdb");
    fs::remove_file(&snapshot).expect("the snapshot");
    fs::create_dir_all(snapshot.join("obstacle")).expect("a folder");
    save(&server, "err").await;
    writes_are_refused_and_reads_go_on(&backend).await;

    fs::remove_dir_all(&snapshot).expect("the obstacle");
    save(&server, "ok").await;
    all_is_well(&backend).await;
}

#[tokio::test]
async fn while_the_disk_of_the_append_only_file_is_full_reads_go_on() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        println!("NOT RUN: this system has no /dev/full, the device that is always full");
        return;
    }
    let server = ServerConfig::default().with_option("appendonly", "no").start().await;
    let backend = backend(on(&server)).await;
    backend.put(b"k", b"old").await.unwrap();
    // What is appended while the first base file is written goes to this name, and to the device behind it.
    let folder = server.dir().join("data/appendonlydir");
    fs::create_dir_all(&folder).expect("a folder");
    let link = folder.join("temp-appendonly.aof.incr");
    std::os::unix::fs::symlink(full, &link).expect("a link");
    append_only(&server, "yes").await;
    eventually("the server has met the full disk", ms(30_000), async || {
        match backend.put(b"k", b"old").await {
            Err(_) => Ok(()),
            Ok(()) => Err("written".to_owned()),
        }
    })
    .await;
    writes_are_refused_and_reads_go_on(&backend).await;

    // Its operator makes room: another file.
    append_only(&server, "no").await;
    // Unless the base file was done meanwhile, and the link has got the name that goes with that.
    let _ = fs::remove_file(&link);
    append_only(&server, "yes").await;
    eventually("what is written is appended again", ms(30_000), async || {
        let status = server.info("aof_last_write_status").await.expect("INFO").unwrap_or_default();
        if status == "ok" { Ok(()) } else { Err(status) }
    })
    .await;
    all_is_well(&backend).await;
}

async fn append_only(server: &Server, word: &str) {
    let _: () = server.command(redis::cmd("CONFIG").arg("SET").arg("appendonly").arg(word)).await;
}
