//! What bounds and helps an operation: budget, rate limit, bulkhead, hedge, fallback, batches in transactions.

use std::sync::Arc;

use futures_util::future::join_all;
use integration_tests::proxy::{Fault, Proxy};
use integration_tests::{Server, eventually, margin};
use state_redis::resilience::{BudgetConfig, BulkheadConfig, RateLimitConfig};
use state_redis::{ErrorKind, MemoryBackend, PutItem, RedisConfig, StateBackend, StateBackendExt, Ttl};
use tokio::time::Instant;

use crate::support::{backend, calls, ms, on, ran, unstalled};

#[tokio::test]
async fn an_empty_budget_ends_repeats_but_not_first_attempts() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let budget = BudgetConfig::default().with_per_call(0.0).with_per_second(0).with_bank(4);
    let settings = unstalled(&proxy).retry_config(3, ms(1), ms(1), 0.0).attempt_timeout(ms(300));
    let settings = settings.command_timeout(ms(30_000)).retry_budget(budget);
    let backend = backend(settings.enable_circuit_breaker(false)).await;
    proxy.set_replies(Fault::BlackHole);
    for _ in 0..10 {
        assert_eq!(backend.get(b"k").await.unwrap_err().kind(), ErrorKind::Timeout);
    }
    // Ten first attempts and four repeats.
    ran(&server, "get", 10 + 4).await;
    let resilience = backend.stats().await.resilience;
    assert_eq!(resilience.retries, 4);
    assert!(resilience.retry_budget_exhausted > 0, "{resilience:?}");
}

#[tokio::test]
async fn beyond_the_rate_limit_operations_are_refused_unsent() {
    let server = Server::start().await;
    let limit = RateLimitConfig::default().with_rate(1, 5).with_max_wait(ms(0));
    let backend = backend(on(&server).rate_limit(limit)).await;
    let start = Instant::now();
    let results = join_all((0..20).map(|_| backend.get(b"k"))).await;
    let refused: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    // Five at once, and one more for each second that passed.
    let at_most = 5 + start.elapsed().as_secs() as usize + 1;
    assert!(refused.len() <= 15 && 20 - refused.len() <= at_most, "{} refused", refused.len());
    for error in &refused {
        assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Overloaded, false), "{error}");
        assert!(error.context().contains("rate limit"), "{error}");
    }
    assert_eq!(calls(&server, "get").await, 20 - refused.len() as u64);
    assert_eq!(backend.stats().await.resilience.overload_rejections, refused.len() as u64);
}

#[tokio::test]
async fn beyond_the_bulkhead_operations_wait_in_line_or_are_refused() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let bulkhead =
        BulkheadConfig::default().with_max_concurrent(2).with_max_queue(3).with_max_wait(ms(20_000));
    let backend = backend(unstalled(&proxy).command_timeout(ms(30_000)).bulkhead(bulkhead)).await;
    proxy.set_replies(Fault::Delay(ms(100)));
    let results = join_all((0..10).map(|_| backend.get(b"k"))).await;
    let (served, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((served.len(), refused.len()), (2 + 3, 5));
    for error in refused.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind(), ErrorKind::Overloaded, "{error}");
        assert!(error.context().contains("too many operations"), "{error}");
    }
}

#[tokio::test]
async fn a_read_that_is_not_answered_is_sent_a_second_time() {
    let server = Server::start().await;
    let settings = on(&server).hedge_after(ms(100)).command_timeout(ms(30_000));
    let backend = backend(settings.connection(|connection| connection.with_stall_timeout(ms(60_000)))).await;
    backend.put(b"k", b"v").await.unwrap();
    let _: () = server.command(redis::cmd("CLIENT").arg("PAUSE").arg(2_000).arg("ALL")).await;
    assert_eq!(backend.get(b"k").await.unwrap().as_deref(), Some(&b"v"[..]));
    let resilience = backend.stats().await.resilience;
    assert_eq!(resilience.hedges_won + resilience.hedges_lost, 1, "{resilience:?}");
    eventually("both copies were run", ms(30_000), async || {
        let gets = calls(&server, "get").await;
        if gets == 2 { Ok(()) } else { Err(format!("{gets} GETs")) }
    })
    .await;
    // A write is never sent twice at a time.
    let _: () = server.command(redis::cmd("CLIENT").arg("PAUSE").arg(400).arg("ALL")).await;
    backend.put(b"k", b"w").await.unwrap();
    assert_eq!(calls(&server, "set").await, 2);
}

#[tokio::test]
async fn reads_are_answered_by_the_fallback_while_redis_is_gone_and_writes_fail() {
    let server = Server::start().await;
    let fallback = Arc::new(MemoryBackend::new());
    fallback.put(b"k", b"stale").await.unwrap();
    let backend = backend(on(&server).fallback(fallback as Arc<dyn StateBackend>)).await;
    backend.put(b"k", b"fresh").await.unwrap();
    assert_eq!(backend.get(b"k").await.unwrap().as_deref(), Some(&b"fresh"[..]));
    assert_eq!(backend.get(b"other").await.unwrap(), None);
    assert_eq!(backend.stats().await.resilience.fallbacks, 0);
    server.kill();
    assert_eq!(backend.get(b"k").await.unwrap().as_deref(), Some(&b"stale"[..]));
    assert!(backend.contains(b"k").await.unwrap());
    let read = backend.batch_get_optimized(&[b"k", b"none"]).await.unwrap();
    assert_eq!(read, [Some(b"stale".to_vec()), None]);
    assert_eq!(backend.stats().await.resilience.fallbacks, 3);
    for error in [
        backend.put(b"k", b"w").await.unwrap_err(),
        backend.increment(b"n", 1).await.unwrap_err(),
        backend.put_if_absent(b"k", b"w", Ttl::Default).await.unwrap_err(),
    ] {
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::CircuitOpen), "{error}");
    }
    server.restart().await;
    eventually("Redis answers again", ms(30_000), async || {
        let read = backend.get(b"k").await.unwrap();
        if read.as_deref() == Some(b"fresh") { Ok(()) } else { Err(format!("{read:?}")) }
    })
    .await;
}

#[tokio::test]
async fn an_error_in_the_data_does_not_ask_the_fallback() {
    let server = Server::start().await;
    let fallback = Arc::new(MemoryBackend::new());
    fallback.put(b"list", b"no").await.unwrap();
    let backend = backend(on(&server).fallback(fallback as Arc<dyn StateBackend>)).await;
    let _: i64 = server.command(redis::cmd("RPUSH").arg("state:d|list").arg("x")).await;
    assert_eq!(backend.get(b"list").await.unwrap_err().kind(), ErrorKind::WrongType);
    let error = backend.batch_get(&[b"list"]).await.remove(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongType);
}

#[tokio::test]
async fn requests_of_an_atomic_batch_are_transactions() {
    let server = Server::start().await;
    let keys: Vec<String> = (0..10).map(|n| format!("k{n}")).collect();
    let items: Vec<PutItem<'_>> = keys.iter().map(|key| PutItem::new(key.as_bytes(), b"v")).collect();
    for (is_atomic, transactions) in [(false, 0), (true, 3)] {
        let backend = backend(on(&server).atomic_batches(is_atomic).pipeline_batch_size(4)).await;
        assert!(backend.batch_put(&items).await.iter().all(Result::is_ok));
        assert_eq!(calls(&server, "exec").await, transactions);
    }
    let _: i64 = server.command(redis::cmd("RPUSH").arg("state:d|list").arg("x")).await;
    let backend = backend(on(&server).atomic_batches(true)).await;
    let mut results = backend.batch_get(&[b"k0", b"list", b"none"]).await;
    assert_eq!(results.remove(1).unwrap_err().kind(), ErrorKind::WrongType, "one result an item");
    let others: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(others, [Some(b"v".to_vec()), None]);
}

#[tokio::test]
async fn an_attempt_timeout_leaves_time_for_another_attempt() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let settings = RedisConfig::builder().url(proxy.url()).command_timeout(ms(30_000));
    let backend = backend(settings.attempt_timeout(ms(200)).retry_config(100, ms(1), ms(1), 0.0)).await;
    backend.put(b"k", b"v").await.unwrap();
    proxy.set_replies(Fault::Delay(ms(300)));
    let start = Instant::now();
    let reading = backend.get(b"k");
    let mending = async {
        tokio::time::sleep(ms(250)).await;
        proxy.set_replies(Fault::None);
    };
    let (read, ()) = tokio::join!(reading, mending);
    assert_eq!(read.unwrap().as_deref(), Some(&b"v"[..]));
    assert!(start.elapsed() < ms(2_000) + margin(), "{:?}", start.elapsed());
    assert!(backend.stats().await.resilience.retries >= 1);
}
