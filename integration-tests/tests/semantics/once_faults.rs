//! Operations with an id through lost replies, kills, failovers and moving slots: no error, and nothing twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use integration_tests::proxy::{Proxy, Strike};
use integration_tests::{Cluster, SentinelGroup, Server, ServerConfig, eventually, long, slot_of};
use redis_conn::Endpoint;
use state_redis::{CasOutcome, HealthStatus, RedisBackend, Ttl};

use crate::support::{WINDOW, backend, on, patient};

const TASKS: u64 = 10;
const OPERATIONS: u64 = 1_000;

/// Counts to [`OPERATIONS`] with an id each, from several tasks, and returns how many answers were repeats.
async fn count(backend: &RedisBackend, done: &Arc<AtomicU64>) -> u64 {
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (backend, done) = (backend.clone(), Arc::clone(done));
            tokio::spawn(async move {
                let mut repeats = 0;
                for number in 0..OPERATIONS / TASKS {
                    let id = format!("{task}/{number}");
                    let once = backend.increment_once(b"n", 1, id.as_bytes(), WINDOW).await;
                    repeats += u64::from(once.unwrap_or_else(|error| panic!("{id}: {error:?}")).is_repeat);
                    done.fetch_add(1, Ordering::SeqCst);
                }
                repeats
            })
        })
        .collect();
    let mut repeats = 0;
    for task in tasks {
        repeats += task.await.expect("no error");
    }
    repeats
}

/// Counts while every now and then a proxy takes a reply away, and checks the counter.
async fn count_with_lost_replies(backend: &RedisBackend, proxies: &[Proxy]) -> String {
    let done = Arc::new(AtomicU64::new(0));
    let counting = {
        let (backend, done) = (backend.clone(), Arc::clone(&done));
        tokio::spawn(async move { count(&backend, &done).await })
    };
    let strikes = if long() { 60 } else { 20 };
    for strike in 0..strikes {
        eventually("counting goes on", Duration::from_secs(60), async || {
            let done = done.load(Ordering::SeqCst);
            if done >= strike * OPERATIONS / strikes { Ok(()) } else { Err(format!("{done} done")) }
        })
        .await;
        proxies.iter().for_each(|proxy| proxy.strike(Strike::SwallowReply));
    }
    let repeats = counting.await.expect("no error");
    let struck: u64 = proxies.iter().map(Proxy::struck).sum();
    assert!(struck > 0 && repeats > 0, "the fault was felt: {struck} strikes, {repeats} repeats");
    // Read, and not by adding nothing: a strike may be left for it, and only a read is repeated.
    let counted = backend.get(b"n").await.expect("a result").expect("a counter");
    assert_eq!(counted, OPERATIONS.to_string().as_bytes());
    format!("{OPERATIONS} increments, {struck} replies lost, {repeats} answered by an earlier request")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_increments_survive_lost_replies() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let backend = backend(patient(on(proxy.url()))).await;
    println!("{}", count_with_lost_replies(&backend, &[proxy]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_increments_survive_lost_replies_on_a_cluster() {
    let cluster = Cluster::start().await;
    let owner = cluster.owner_of(slot_of(b"state:d|n")).await;
    let proxy = Proxy::start(owner.address()).await;
    let (real, detour) = (owner.port(), proxy.port());
    let builder = patient(on(cluster.url())).connection(move |connection| {
        connection.with_address_map(move |endpoint| match endpoint {
            Endpoint::Tcp { host, port } if *port == real => Endpoint::tcp(host.clone(), detour),
            other => other.clone(),
        })
    });
    println!("{}", count_with_lost_replies(&backend(builder).await, &[proxy]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_increments_survive_kills_of_a_durable_server() {
    let durable =
        ServerConfig::default().with_option("appendonly", "yes").with_option("appendfsync", "always");
    let server = durable.start().await;
    let backend = backend(patient(on(server.url()))).await;
    let done = Arc::new(AtomicU64::new(0));
    let counting = {
        let (backend, done) = (backend.clone(), Arc::clone(&done));
        tokio::spawn(async move { count(&backend, &done).await })
    };
    let kills = if long() { 10 } else { 3 };
    for kill in 0..kills {
        eventually("counting goes on", Duration::from_secs(60), async || {
            let done = done.load(Ordering::SeqCst);
            if done >= (2 * kill + 1) * OPERATIONS / (2 * kills + 1) {
                Ok(())
            } else {
                Err(format!("{done}"))
            }
        })
        .await;
        server.kill();
        server.restart().await;
    }
    let repeats = counting.await.expect("no error");
    println!("{kills} kills, {repeats} answered by an earlier request");
    assert_eq!(backend.increment(b"n", 0).await.expect("a result"), OPERATIONS as i64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeating_every_id_after_a_failover_makes_the_count_exact() {
    let group = SentinelGroup::start().await;
    let backend = backend(patient(on(group.url()))).await;
    let old = group.master().await;
    let done = Arc::new(AtomicU64::new(0));
    let counting = {
        let (backend, done) = (backend.clone(), Arc::clone(&done));
        tokio::spawn(async move { count(&backend, &done).await })
    };
    eventually("half is counted", Duration::from_secs(60), async || {
        let done = done.load(Ordering::SeqCst);
        if done >= OPERATIONS / 2 { Ok(()) } else { Err(format!("{done}")) }
    })
    .await;
    old.kill();
    group.successor_of(old).await;
    counting.await.expect("no error");
    let counted = backend.increment(b"n", 0).await.expect("a result");
    println!("{counted} of {OPERATIONS} acknowledged increments outlived the failover");
    assert!(counted <= OPERATIONS as i64, "nothing twice");
    count(&backend, &done).await;
    assert_eq!(backend.increment(b"n", 0).await.expect("a result"), OPERATIONS as i64);
}

#[tokio::test]
async fn an_id_waits_for_its_slot_to_move_and_counts_once() {
    let cluster = Cluster::start().await;
    let backend = backend(patient(on(cluster.url()))).await;
    let slot = slot_of(b"state:d|n");
    let old = cluster.owner_of(slot).await;
    let masters = cluster.masters().await;
    let new = masters.into_iter().find(|node| node.port() != old.port()).expect("three masters");
    assert_eq!(backend.increment_once(b"n", 1, b"1", WINDOW).await.expect("a result").result, 1);
    cluster.begin_migration(slot, new).await;
    // The key is still here and the record of the new id is nowhere: the server says TRYAGAIN.
    let waiting = {
        let backend = backend.clone();
        tokio::spawn(async move { backend.increment_once(b"n", 1, b"2", WINDOW).await })
    };
    let repeat = backend.increment_once(b"n", 1, b"1", WINDOW).await.expect("a result");
    assert_eq!((repeat.result, repeat.is_repeat), (1, true));
    while cluster.migrate_keys(slot, new, 10).await > 0 {}
    cluster.finish_migration(slot, new).await;
    assert_eq!(waiting.await.expect("a result").expect("a result").result, 2);
    let repeat = backend.increment_once(b"n", 1, b"2", WINDOW).await.expect("a result");
    assert_eq!((repeat.result, repeat.is_repeat), (2, true), "records move with their slot");
}

#[tokio::test]
async fn a_lost_reply_does_not_turn_a_put_or_a_swap_into_a_miss() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let backend = backend(patient(on(proxy.url())).health_interval(Duration::from_secs(600))).await;
    eventually("the only health check is over", Duration::from_secs(30), async || {
        let health = backend.health();
        if health.status == HealthStatus::Healthy { Ok(()) } else { Err(health.to_string()) }
    })
    .await;
    // The script is known from now on: the next reply is that of its run.
    let _ = backend.put_if_absent_once(b"warm", b"", Ttl::Default, b"0", WINDOW).await.expect("a result");
    let _ = backend.compare_and_swap_once(b"warm", None, None, b"1", WINDOW).await.expect("a result");
    proxy.strike_at("EVALSHA", Strike::SwallowReply);
    let put = backend.put_if_absent_once(b"event", b"v", Ttl::Default, b"1", WINDOW).await.expect("a result");
    assert_eq!((put.result, put.is_repeat), (true, true));
    proxy.strike_at("EVALSHA", Strike::SwallowReply);
    let swap = backend
        .compare_and_swap_once(b"event", Some(b"v"), Some(b"w"), b"2", WINDOW)
        .await
        .expect("a result");
    assert_eq!((swap.result, swap.is_repeat), (CasOutcome::Swapped, true));
    // Without an id the same loss is the caller's riddle.
    proxy.strike_at("EVALSHA", Strike::SwallowReply);
    let error = backend.compare_and_swap(b"event", Some(b"w"), Some(b"x")).await.expect_err("an error");
    assert!(error.is_ambiguous(), "{error:?}");
}
