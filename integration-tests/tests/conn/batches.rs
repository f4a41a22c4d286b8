//! Typed operations that share requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use integration_tests::proxy::{Fault, Proxy};
use integration_tests::{Server, ServerConfig, eventually};
use redis_conn::{BatchKind, Batching, Class, Condition, Config, Conn, ErrorKind, Observer, SetOptions};

use crate::support::{config, connect, patient, within};

/// Counts batches and remembers the largest.
#[derive(Default)]
struct Batches {
    sent: AtomicUsize,
    largest: AtomicUsize,
}

impl Observer for Batches {
    fn batch_sent(&self, _: BatchKind, members: usize) {
        self.sent.fetch_add(1, Ordering::SeqCst);
        self.largest.fetch_max(members, Ordering::SeqCst);
    }
}

fn always(url: &str) -> Config {
    config(url).with_batching(Batching { threshold: Some(0), ..Batching::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_every_operation_gets_its_own_answer() {
    let server = Server::start().await;
    let batches = Arc::new(Batches::default());
    let conn = Conn::connect(config(&server.url()).with_observer(batches.clone())).await.expect("connect");
    let mut tasks = Vec::new();
    for task in 0..128 {
        let conn = conn.clone();
        tasks.push(tokio::spawn(async move {
            for round in 0..40 {
                let (key, value) = (format!("{task}"), format!("{task}:{round}"));
                let written = conn.set(key.as_bytes(), value.as_bytes(), SetOptions::new(), patient()).await;
                assert!(written.expect("SET"));
                let read = conn.get(key.as_bytes(), patient()).await.expect("GET");
                assert_eq!(read, Some(value.into_bytes()));
                assert_eq!(conn.get(format!("no:{task}").as_bytes(), patient()).await.expect("GET"), None);
            }
        }));
    }
    for task in tasks {
        task.await.expect("task");
    }
    let (sent, largest) = (batches.sent.load(Ordering::SeqCst), batches.largest.load(Ordering::SeqCst));
    println!("{sent} batches, the largest of {largest}");
    assert!(largest > 8, "128 tasks never made a batch of more than {largest}");
}

#[tokio::test]
async fn below_the_threshold_and_when_off_nothing_is_batched() {
    let server = Server::start().await;
    for threshold in [Some(24), None] {
        let batches = Arc::new(Batches::default());
        let settings = Batching { threshold, ..Batching::default() };
        let config = config(&server.url()).with_batching(settings).with_observer(batches.clone());
        let conn = Conn::connect(config).await.expect("connect");
        let tasks = if threshold.is_some() { 8 } else { 64 };
        let calls = (0..tasks).map(|_| conn.get(b"k", patient()));
        for read in futures_util::future::join_all(calls).await {
            read.expect("GET");
        }
        assert_eq!(batches.sent.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_an_error_for_its_reader_alone() {
    let server = Server::start().await;
    server.command::<()>(redis::cmd("RPUSH").arg("list").arg("x")).await;
    server.command::<()>(redis::cmd("SET").arg("text").arg("x")).await;
    let conn = Conn::connect(always(&server.url())).await.expect("connect");
    for _ in 0..20 {
        let (list, text, absent) = tokio::join!(
            conn.get(b"list", patient()),
            conn.get(b"text", patient()),
            conn.get(b"absent", patient())
        );
        assert_eq!(list.expect_err("a list").kind(), ErrorKind::WrongType);
        assert_eq!(text.expect("a string"), Some(b"x".to_vec()));
        assert_eq!(absent.expect("absent"), None);
    }
}

#[tokio::test]
async fn a_key_that_may_not_be_read_is_an_error_for_its_reader_alone() {
    let server = ServerConfig::default().with_acl("user svc on >pw ~open:* +@all").start().await;
    let url = format!("redis://svc:pw@{}/", server.address());
    let conn = Conn::connect(always(&url)).await.expect("connect");
    conn.set(b"open:k", b"x", SetOptions::new(), patient()).await.expect("SET");
    for _ in 0..20 {
        let (open, closed, write) = tokio::join!(
            conn.get(b"open:k", patient()),
            conn.get(b"closed:k", patient()),
            conn.set(b"closed:k", b"x", SetOptions::new(), patient())
        );
        assert_eq!(open.expect("allowed"), Some(b"x".to_vec()));
        for error in [closed.expect_err("forbidden"), write.expect_err("forbidden")] {
            assert_eq!((error.kind(), error.class()), (ErrorKind::Denied, Class::Fatal));
        }
    }
}

#[tokio::test]
async fn keys_of_many_slots_are_no_error_on_a_server_that_is_a_cluster_by_itself() {
    let server = ServerConfig::default().with_option("cluster-enabled", "yes").start().await;
    let slots = redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16_383).clone();
    server.command::<()>(&slots).await;
    let conn = Conn::connect(always(&server.url())).await.expect("connect");
    eventually("the slots are served", Duration::from_secs(30), async || {
        conn.get(b"k", patient()).await.map_err(|error| format!("{error:?}"))
    })
    .await;
    for _ in 0..20 {
        let keys: Vec<String> = (0..40).map(|number| format!("k{number}")).collect();
        let writes = keys.iter().map(|key| conn.set(key.as_bytes(), b"x", SetOptions::new(), patient()));
        let written = futures_util::future::join_all(writes).await;
        assert!(written.into_iter().all(|written| written.expect("SET")));
        let reads = keys.iter().map(|key| conn.get(key.as_bytes(), patient()));
        for read in futures_util::future::join_all(reads).await {
            assert_eq!(read.expect("GET"), Some(b"x".to_vec()));
        }
    }
}

#[tokio::test]
async fn conditions_and_lifetimes_hold_in_a_batch() {
    let server = Server::start().await;
    let conn = Conn::connect(always(&server.url())).await.expect("connect");
    let once = SetOptions::new().with_condition(Condition::IfAbsent).with_ttl(Duration::from_secs(90));
    let calls = (0..64).map(|_| conn.set(b"once", b"x", once, patient()));
    let won = futures_util::future::join_all(calls).await;
    let won = won.into_iter().filter(|written| *written.as_ref().expect("SET NX")).count();
    assert_eq!(won, 1);
    let ttl: i64 = server.command(redis::cmd("PTTL").arg("once")).await;
    assert!((80_000..=90_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn a_cancelled_member_leaves_its_batch_alone() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let conn = Conn::connect(always(&proxy.url())).await.expect("connect");
    conn.set(b"k", b"v", SetOptions::new(), patient()).await.expect("SET");
    proxy.set_replies(Fault::Delay(Duration::from_millis(50)));
    for _ in 0..5 {
        let mut stays = Vec::new();
        let mut goes = Vec::new();
        for number in 0..40 {
            let conn = conn.clone();
            let call = tokio::spawn(async move { conn.get(b"k", patient()).await });
            if number % 2 == 0 { stays.push(call) } else { goes.push(call) }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        goes.iter().for_each(|call| call.abort());
        for call in stays {
            assert_eq!(call.await.expect("call").expect("GET"), Some(b"v".to_vec()));
        }
    }
}

#[tokio::test]
async fn each_member_keeps_its_own_deadline_and_one_that_waits_is_never_written() {
    const LARGE: usize = 32 << 20;
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let settings = Batching { threshold: Some(0), large_value: 2 * LARGE, ..Batching::default() };
    let config = config(&proxy.url())
        .with_batching(settings)
        .with_max_in_flight_bytes(2 * LARGE)
        .with_stall_timeout(Duration::from_secs(30));
    let conn = Conn::connect(config).await.expect("connect");
    // More than all buffers on the way hold, so that what comes after it waits to be written.
    proxy.set_requests(Fault::Stuck);
    let first = tokio::spawn({
        let conn = conn.clone();
        async move { conn.set(b"first", &vec![7; LARGE], SetOptions::new(), patient()).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let calls = (0..16).map(|_| conn.set(b"waits", b"x", SetOptions::new(), within(150)));
    for call in futures_util::future::join_all(calls).await {
        let error = call.expect_err("waits until its deadline");
        assert_eq!((error.kind(), error.class()), (ErrorKind::Timeout, Class::NotSent));
    }
    proxy.set_requests(Fault::None);
    assert!(first.await.expect("call").expect("SET"));
    conn.run(&redis::cmd("PING"), patient()).await.expect("PING");
    assert_eq!(conn.get(b"waits", patient()).await.expect("GET"), None);
}

#[tokio::test]
async fn a_lost_connection_is_ambiguous_for_every_member_on_the_wire() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let conn = Conn::connect(always(&proxy.url())).await.expect("connect");
    proxy.set_replies(Fault::BlackHole);
    let calls: Vec<_> = (0..32)
        .map(|number| {
            let conn = conn.clone();
            let key = format!("k{number}");
            tokio::spawn(async move { conn.set(key.as_bytes(), b"x", SetOptions::new(), patient()).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    proxy.reset();
    let mut classes: HashMap<Class, i64> = HashMap::new();
    for call in calls {
        let error = call.await.expect("call").expect_err("lost");
        *classes.entry(error.class()).or_default() += 1;
    }
    let applied: i64 = server.command(&redis::cmd("DBSIZE")).await;
    println!("{classes:?}, {applied} applied");
    assert!(
        applied <= classes.get(&Class::Ambiguous).copied().unwrap_or_default(),
        "{classes:?}, {applied} applied"
    );
}

#[tokio::test]
async fn large_values_travel_on_a_connection_of_their_own() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let conn = connect(&proxy.url()).await;
    let large = vec![7; 1 << 20];
    conn.set(b"small", b"x", SetOptions::new(), patient()).await.expect("SET");
    assert_eq!(proxy.accepted(), 1);
    let deadline = patient();
    while proxy.accepted() < 2 {
        conn.set(b"large", &large, SetOptions::new(), deadline).await.expect("SET");
    }
    assert_eq!(conn.get(b"large", patient()).await.expect("GET"), Some(large));
}
