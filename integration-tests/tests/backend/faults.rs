//! Servers that forget scripts, restart, hang, fill up or turn into replicas.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::TryStreamExt;
use integration_tests::{Server, ServerConfig, eventually, margin};
use state_redis::{ErrorKind, PutItem, RedisConfigBuilder, ScanOptions, StateBackend, StateBackendExt, Ttl};
use tokio::time::Instant;

use crate::support::{backend, on};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn scripts_survive_script_flush() {
    let server = Server::start().await;
    let backend = backend(on(&server).default_ttl(Duration::from_secs(60))).await;
    for round in 1..=3 {
        let _: () = server.command(redis::cmd("SCRIPT").arg("FLUSH")).await;
        assert_eq!(backend.increment(b"n", 1).await.unwrap(), round);
        let _: () = server.command(redis::cmd("SCRIPT").arg("FLUSH")).await;
        let swapped = backend.compare_and_swap(b"c", (round > 1).then_some(b"v"), Some(b"v")).await.unwrap();
        assert!(swapped.is_swapped());
        let _: () = server.command(redis::cmd("SCRIPT").arg("FLUSH")).await;
        let keep = PutItem::new(b"p", b"v").with_ttl(Ttl::Keep);
        backend.batch_put(&[keep, keep]).await.into_iter().for_each(|result| result.unwrap());
    }
}

#[tokio::test]
async fn scripts_are_called_by_digest_once_known() {
    let server = Server::start().await;
    let backend = backend(on(&server)).await;
    for _ in 0..10 {
        let _ = backend.compare_and_swap(b"c", None, Some(b"v")).await.unwrap();
    }
    let calls = |stats: &str, command: &str| -> u64 {
        let line =
            stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:"))).unwrap_or_default();
        line.split(['=', ',']).nth(1).and_then(|calls| calls.parse().ok()).unwrap_or(0)
    };
    let stats: String = server.command(redis::cmd("INFO").arg("commandstats")).await;
    assert_eq!((calls(&stats, "evalsha"), calls(&stats, "eval")), (10, 1), "{stats}");
}

#[tokio::test]
async fn a_killed_server_fails_fast_and_serves_again_once_restarted() {
    let server = Server::start().await;
    let once = on(&server).retry_config(1, Duration::from_millis(1), Duration::from_millis(1), 0.0);
    let backend = backend(once.enable_circuit_breaker(false)).await;
    backend.put(b"k", b"v").await.unwrap();
    server.kill();
    let start = Instant::now();
    let kinds: Vec<ErrorKind> = vec![
        backend.get(b"k").await.unwrap_err().kind(),
        backend.increment(b"n", 1).await.unwrap_err().kind(),
        backend.batch_get(&[b"k"]).await.remove(0).unwrap_err().kind(),
        backend.count().await.unwrap_err().kind(),
        backend.clear().await.unwrap_err().kind(),
        backend.health_check().await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::Unavailable; 6]);
    assert!(start.elapsed() < margin(), "six failures took {:?}", start.elapsed());
    server.restart().await;
    let start = Instant::now();
    eventually("the backend serves again", Duration::from_secs(30), async || {
        backend.get(b"k").await.map_err(|error| error.to_string())
    })
    .await;
    println!("served again {:?} after the server was ready", start.elapsed());
    assert_eq!(backend.get(b"k").await.unwrap().as_deref(), Some(&b"v"[..]));
    assert!(backend.health_check().await.unwrap());
}

#[tokio::test]
async fn a_scan_misses_nothing_when_the_server_restarts_under_it() {
    let server = Server::start().await;
    let backend = backend(on(&server)).await;
    let keys: Vec<Vec<u8>> = (0..2_000).map(|n| format!("key:{n}").into_bytes()).collect();
    let items: Vec<PutItem<'_>> = keys.iter().map(|key| PutItem::new(key, b"v")).collect();
    assert!(backend.batch_put(&items).await.iter().all(Result::is_ok));
    for stop_at in [1, 1_000, 1_990] {
        let mut scan = backend.scan_entries(b"", ScanOptions::default().with_page_size(10));
        let mut seen = BTreeSet::new();
        while let Some(entry) = scan.try_next().await.unwrap() {
            assert!(seen.insert(entry.key), "a key came twice");
            if seen.len() == stop_at {
                server.restart().await;
                eventually("the backend serves again", Duration::from_secs(30), async || {
                    backend.get(b"k").await.map_err(|error| error.to_string())
                })
                .await;
            }
        }
        assert_eq!(seen.len(), keys.len(), "keys missed after a restart at key {stop_at}");
    }
}

/// Settings under which calls end before the connection is given up.
fn unstalled(server: &Server) -> RedisConfigBuilder {
    on(server).connection(|connection| connection.with_stall_timeout(60 * SECOND))
}

#[tokio::test]
async fn a_frozen_server_ends_every_call_at_its_deadline() {
    let server = Server::start().await;
    let backend = backend(unstalled(&server).command_timeout(SECOND)).await;
    backend.put(b"k", b"v").await.unwrap();
    server.freeze();
    for n in 0..4 {
        let start = Instant::now();
        let (writes, error) = match n {
            0 => (false, backend.get(b"k").await.unwrap_err()),
            1 => (true, backend.increment(b"n", 1).await.unwrap_err()),
            2 => (true, backend.batch_put(&[PutItem::new(b"k", b"w")]).await.remove(0).unwrap_err()),
            _ => (true, backend.compare_and_swap(b"k", Some(b"v"), None).await.unwrap_err()),
        };
        println!("call {n}: {error} after {:?}", start.elapsed());
        assert!(start.elapsed() < SECOND + margin(), "{:?}", start.elapsed());
        assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable), "{error}");
        assert!(writes || !error.is_ambiguous(), "a read cannot have written: {error}");
        assert!(n != 1 || error.is_ambiguous(), "the increment may have run: {error}");
    }
    server.thaw();
    eventually("the backend serves again", Duration::from_secs(30), async || {
        backend.get(b"k").await.map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn a_long_batch_gives_up_with_its_first_failed_request() {
    let server = Server::start().await;
    let backend = backend(unstalled(&server).command_timeout(SECOND).pipeline_batch_size(10)).await;
    let keys: Vec<Vec<u8>> = (0..1_000).map(|n| format!("key:{n}").into_bytes()).collect();
    let items: Vec<PutItem<'_>> = keys.iter().map(|key| PutItem::new(key, b"v")).collect();
    server.freeze();
    let start = Instant::now();
    let results = backend.batch_put(&items).await;
    assert!(start.elapsed() < SECOND + margin(), "{:?}", start.elapsed());
    let ambiguous = results.iter().filter(|result| result.as_ref().unwrap_err().is_ambiguous()).count();
    assert_eq!((results.len(), ambiguous), (1_000, 10), "only what was sent may have happened");
    server.thaw();
}

#[tokio::test]
async fn a_replica_is_unhealthy_and_refuses_writes_as_read_only() {
    let (master, replica) = (Server::start().await, Server::start().await);
    let backend = backend(on(&replica)).await;
    assert!(backend.health_check().await.unwrap());
    let _: () =
        replica.command(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(master.port().to_string())).await;
    // The connection is replaced when the server changes its role, which a call may run into.
    eventually("writes are refused as read-only", Duration::from_secs(30), async || {
        match backend.put(b"k", b"v").await {
            Err(error) if error.kind() == ErrorKind::ReadOnly => {
                assert!(error.is_retryable() && !error.is_ambiguous());
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    eventually("health says no", Duration::from_secs(30), async || match backend.health_check().await {
        Ok(false) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    for script in
        [backend.increment(b"n", 1).await.err(), backend.compare_and_swap(b"c", None, Some(b"v")).await.err()]
    {
        let kind = script.map(|error| error.kind());
        assert!(matches!(kind, Some(ErrorKind::ReadOnly | ErrorKind::Unavailable)), "{kind:?}");
    }
}

#[tokio::test]
async fn a_full_server_refuses_writes_and_serves_reads() {
    let server = ServerConfig::default().with_option("maxmemory-policy", "noeviction").start().await;
    let backend = backend(on(&server)).await;
    backend.put(b"k", b"v").await.unwrap();
    let _: () = server.command(redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1)).await;
    for error in [
        backend.put(b"k", b"w").await.unwrap_err(),
        backend.increment(b"n", 1).await.unwrap_err(),
        backend.compare_and_swap(b"k", Some(b"v"), Some(b"w")).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::ReadOnly, false), "{error:?}");
    }
    assert_eq!(backend.get(b"k").await.unwrap().as_deref(), Some(&b"v"[..]));
}

#[tokio::test]
async fn a_closed_backend_says_so_and_leaves_no_connection() {
    let server = Server::start().await;
    let clients =
        async || -> u64 { server.info("connected_clients").await.unwrap().unwrap().parse().unwrap() };
    // The control connections of the start may not be gone yet.
    let alone = async || {
        eventually("only the one that asks is left", Duration::from_secs(30), async || {
            let now = clients().await;
            if now == 1 { Ok(()) } else { Err(format!("{now} clients")) }
        })
        .await;
    };
    alone().await;
    let closed = backend(on(&server)).await;
    let clone = closed.clone();
    assert!(clients().await > 1);
    closed.close().await;
    assert_eq!(clone.get(b"k").await.unwrap_err().kind(), ErrorKind::Closed);
    let dropped = backend(on(&server)).await;
    dropped.put_if_absent(b"k", b"v", Ttl::Default).await.unwrap();
    drop(dropped.scan(b"", ScanOptions::default()));
    drop(dropped);
    alone().await;
}
