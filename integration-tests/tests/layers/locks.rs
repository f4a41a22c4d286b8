//! Locks on the backend's own servers and on a quorum.

use futures_util::future::join_all;
use integration_tests::{Server, eventually, independent_masters, margin};
use state_redis::redlock::{LockConfig, Outcome};
use state_redis::{ErrorKind, RedisBackend, StateBackend};
use tokio::time::Instant;

use crate::support::{backend, ms, on};

const TTL: std::time::Duration = ms(10_000);

async fn quorum(own: &Server, nodes: &[Server]) -> RedisBackend {
    // A busy machine may need more than the 50 ms that a node has by default.
    let locks = LockConfig::default().with_node_timeout(ms(1_000));
    backend(on(own).redlock_nodes(nodes.iter().map(Server::url)).locks(locks)).await
}

#[tokio::test]
async fn a_held_lock_is_refused_at_once_or_waited_for() {
    let server = Server::start().await;
    let (one, two) = (backend(on(&server)).await, backend(on(&server).lock_wait(ms(300))).await);
    let guard = one.acquire_lock("job", TTL).await.unwrap();
    assert!(guard.is_valid() && guard.token() > 0);
    assert!(two.try_acquire_lock("job", TTL).await.unwrap().is_none());
    let start = Instant::now();
    let error = two.acquire_lock("job", TTL).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::LockHeld, true), "{error}");
    let waited = start.elapsed();
    assert!(waited >= ms(300) && waited < ms(300) + margin(), "{waited:?}");

    let waiting = tokio::spawn(async move { one.acquire_lock("job", TTL).await.map(|guard| guard.token()) });
    let first = guard.token();
    assert_eq!(guard.release().await, Outcome::Released);
    assert!(waiting.await.unwrap().expect("the lock is free") > first, "tokens grow");
}

#[tokio::test]
async fn clear_and_list_do_not_touch_locks_and_keys_do_not_block_them() {
    let server = Server::start().await;
    let backend = backend(on(&server).key_prefix("app:")).await;
    for key in [&b"lock:job"[..], b"l|job", b"job"] {
        backend.put(key, b"data").await.unwrap();
    }
    let guard =
        backend.try_acquire_lock("job", TTL).await.unwrap().expect("keys of the same name block nothing");
    assert_eq!(backend.count().await.unwrap(), 3);
    assert_eq!(backend.list_keys(b"l").await.unwrap().len(), 2);
    backend.clear().await.unwrap();
    assert_eq!(backend.count().await.unwrap(), 0);
    assert!(guard.is_valid());
    assert!(backend.try_acquire_lock("job", TTL).await.unwrap().is_none(), "clear freed a lock");
    assert_eq!(guard.release().await, Outcome::Released);
}

#[tokio::test]
async fn exactly_one_of_many_gets_the_lock_and_all_get_their_turn() {
    let server = Server::start().await;
    let backend = backend(on(&server)).await;
    let tries = join_all((0..10).map(|_| backend.try_acquire_lock("one", TTL))).await;
    let guards: Vec<_> = tries.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(guards.len(), 1);
    // A counter that loses updates unless the lock excludes.
    backend.put(b"n", b"0").await.unwrap();
    let work = async |backend: RedisBackend| {
        let guard = backend.acquire_lock("count", ms(20_000)).await.expect("a turn");
        let seen = String::from_utf8(backend.get(b"n").await.unwrap().unwrap()).unwrap();
        let next = (seen.parse::<u32>().unwrap() + 1).to_string();
        backend.put(b"n", next.as_bytes()).await.unwrap();
        assert_eq!(guard.release().await, Outcome::Released);
    };
    let start = Instant::now();
    join_all((0..20).map(|_| work(backend.clone()))).await;
    println!("20 turns in {:?}", start.elapsed());
    assert_eq!(backend.get(b"n").await.unwrap().as_deref(), Some(&b"20"[..]));
}

#[tokio::test]
async fn a_failure_is_never_reported_as_held() {
    let server = Server::start().await;
    let backend = backend(on(&server).connect_timeout(ms(500))).await;
    let error = backend.try_acquire_lock("job", ms(0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    drop(backend.try_acquire_lock("warm", TTL).await.unwrap());
    server.kill();
    let error = backend.try_acquire_lock("job", TTL).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error}");
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test]
async fn on_a_replica_a_lock_is_an_error_and_not_held() {
    let (master, replica) = (Server::start().await, Server::start().await);
    let _: () =
        replica.command(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(master.port().to_string())).await;
    let backend = backend(on(&replica)).await;
    let error = backend.try_acquire_lock("job", TTL).await.unwrap_err();
    assert!(!matches!(error.kind(), ErrorKind::LockHeld | ErrorKind::Internal), "{error}");
}

#[test]
fn a_guard_may_be_dropped_outside_of_the_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (server, backend, guard) = runtime.block_on(async {
        let server = Server::start().await;
        let backend = backend(on(&server)).await;
        let guard = backend.acquire_lock("job", TTL).await.unwrap();
        (server, backend, guard)
    });
    drop(guard);
    runtime.block_on(async {
        eventually("the dropped guard's lock is released", ms(30_000), async || {
            match backend.try_acquire_lock("job", TTL).await.unwrap() {
                Some(guard) => Ok(guard.release().await),
                None => Err("held".to_owned()),
            }
        })
        .await;
    });
    let guard = runtime.block_on(backend.acquire_lock("job", TTL)).unwrap();
    runtime.block_on(async { drop(backend) });
    runtime.shutdown_timeout(ms(1_000));
    drop(guard);
    drop(server);
}

#[tokio::test]
async fn a_quorum_grants_locks_with_a_minority_down_even_from_the_first() {
    let (own, nodes) = (Server::start().await, independent_masters(3).await);
    nodes[2].kill();
    let backend = quorum(&own, &nodes).await;
    // Servers that have just started abstain until their quarantine is over, unless told that nobody held a lock.
    let locks = backend.locks().await.expect("two of three are there");
    let error = locks.bootstrap().await.expect_err("one of three cannot be told");
    assert_eq!(error.verdicts().len(), 1, "{error:?}");
    let guard = backend.acquire_lock("job", TTL).await.expect("two of three grant it");
    assert!(backend.try_acquire_lock("job", TTL).await.unwrap().is_none());
    let keys: Vec<String> = own.command(redis::cmd("KEYS").arg("*")).await;
    assert_eq!(keys, Vec::<String>::new(), "the backend's own server grants nothing");
    assert_eq!(guard.release().await, Outcome::Released);

    nodes[1].kill();
    let error = backend.try_acquire_lock("job", TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "one of three is no majority: {error}");
    backend.put(b"k", b"v").await.expect("data does not need the quorum");
    backend.close().await;
}
