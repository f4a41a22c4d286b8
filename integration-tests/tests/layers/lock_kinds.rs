//! What metrics tell of locks: each kind under its own label.

use integration_tests::{Server, eventually, independent_masters};
use state_redis::RedisBackend;
use state_redis::redlock::{Guard, LockConfig, LockOptions, Outcome, Renewal};

use crate::support::{backend, calls, ms, on, scraping, value};

const TTL: std::time::Duration = ms(20_000);

fn at_once() -> LockOptions {
    LockOptions::ttl(TTL).with_wait(Some(ms(0))).with_renewal(Renewal::Off)
}

/// How many attempts of a kind ended in a way.
#[track_caller]
fn attempts(text: &str, mode: &str, kind: &str, outcome: &str) -> f64 {
    let labels =
        [format!(r#"mode="{mode}""#), format!(r#"kind="{kind}""#), format!(r#"outcome="{outcome}""#)];
    value(text, "redis_lock_acquisitions_total", &labels.each_ref().map(String::as_str))
}

async fn give_back(guard: Guard) {
    assert_eq!(guard.release().await, Outcome::Released);
}

/// Takes one lock of each kind, and is refused one.
async fn one_of_each(backend: &RedisBackend) {
    let locks = backend.locks().await.unwrap();
    give_back(backend.acquire_lock("mutex", TTL).await.unwrap()).await;
    let reader = locks.read("table", at_once()).await.unwrap();
    locks.write("table", at_once()).await.expect_err("somebody reads");
    give_back(reader).await;
    give_back(locks.write("table", at_once()).await.expect("nobody reads any more")).await;
    give_back(locks.semaphore("seats", 2).unwrap().acquire(at_once()).await.unwrap()).await;
    give_back(locks.acquire_all(&["{a}1", "{a}2"], at_once()).await.unwrap()).await;
    let leadership = locks.election("office", TTL).unwrap().campaign().await.unwrap();
    assert_eq!(leadership.resign().await, Outcome::Released);
}

fn check(text: &str, mode: &str) {
    for (kind, refused) in
        [("mutex", 0.0), ("read", 0.0), ("write", 1.0), ("semaphore", 0.0), ("multi", 0.0), ("leader", 0.0)]
    {
        let ended = |outcome| attempts(text, mode, kind, outcome);
        assert_eq!(ended("acquired"), 1.0, "{kind}");
        assert_eq!(ended("held"), refused, "{kind}");
        assert_eq!(ended("timed_out"), 0.0, "{kind}");
        assert_eq!(ended("failed"), 0.0, "{kind}");
        let of = [format!(r#"mode="{mode}""#), format!(r#"kind="{kind}""#)];
        let of = [of[0].as_str(), of[1].as_str(), r#"outcome="released""#];
        assert_eq!(value(text, "redis_lock_releases_total", &of), 1.0, "{kind}");
        assert_eq!(value(text, "redis_lock_hold_duration_seconds_count", &of[..2]), 1.0, "{kind}");
    }
}

#[tokio::test]
async fn each_kind_of_lock_has_figures_of_its_own() {
    let server = Server::start().await;
    let backend = backend(on(&server)).await;
    let prometheus = scraping(&backend);
    one_of_each(&backend).await;
    check(&prometheus.render(), "single");
    backend.close().await;
}

#[tokio::test]
async fn each_kind_of_lock_of_a_quorum_has_figures_of_its_own() {
    let (own, nodes) = (Server::start().await, independent_masters(3).await);
    let locks = LockConfig::default().with_node_timeout(ms(1_000));
    let backend = backend(on(&own).redlock_nodes(nodes.iter().map(Server::url)).locks(locks)).await;
    let prometheus = scraping(&backend);
    backend.locks().await.unwrap().bootstrap().await.unwrap();
    one_of_each(&backend).await;
    check(&prometheus.render(), "quorum");
    backend.close().await;
}

/// Waits until so many are in the queue of what has this key.
async fn in_line(server: &Server, key: &str, count: usize) {
    let queue = format!("state:l|{key}:q");
    eventually("they wait", ms(30_000), async || {
        let waiting: usize = server.command(redis::cmd("ZCARD").arg(&queue)).await;
        if waiting == count { Ok(()) } else { Err(format!("{waiting} in {queue}")) }
    })
    .await;
}

#[tokio::test]
async fn all_kinds_of_locks_share_one_question_and_one_subscription() {
    let server = Server::start().await;
    let backend = backend(on(&server)).await;
    let before = calls(&server, "info").await;
    let locks = backend.locks().await.unwrap();
    // The second is the question for the figure before.
    assert_eq!(calls(&server, "info").await - before, 2, "one manager asks once who the server is");

    let patient = LockOptions::ttl(TTL).with_wait(None).with_renewal(Renewal::Off);
    let (seats, office) = (locks.semaphore("seats", 1).unwrap(), locks.election("office", TTL).unwrap());
    let held = [locks.write("table", patient).await.unwrap(), seats.acquire(patient).await.unwrap()];
    let leadership = office.campaign().await.unwrap();
    let others = tokio::spawn(async move {
        let table = async { give_back(locks.acquire("table", patient).await.unwrap()).await };
        let seat = async { give_back(seats.acquire(patient).await.unwrap()).await };
        let term = async { office.campaign().await.unwrap().resign().await };
        let read = async { give_back(locks.read("table", patient).await.unwrap()).await };
        let write = async { give_back(locks.write("table", patient).await.unwrap()).await };
        tokio::join!(table, seat, term, read, write)
    });
    for (key, count) in [("l:-{table}", 3), ("s:-{seats}", 1), ("e:-{office}", 1)] {
        in_line(&server, key, count).await;
    }
    eventually("they listen", ms(30_000), async || {
        let channels: Vec<String> = server.command(redis::cmd("PUBSUB").arg("CHANNELS")).await;
        if channels.len() == 1 { Ok(()) } else { Err(format!("{channels:?}")) }
    })
    .await;
    for guard in held {
        give_back(guard).await;
    }
    leadership.resign().await;
    others.await.expect("each of them has had its turn");
    backend.close().await;
}

#[tokio::test]
async fn renewals_and_losses_are_those_of_their_kind() {
    let server = Server::start().await;
    let backend = backend(on(&server)).await;
    let prometheus = scraping(&backend);
    let locks = backend.locks().await.unwrap();
    let renewed = LockOptions::ttl(ms(600)).with_wait(Some(ms(0)));
    let guard = locks.semaphore("seats", 1).unwrap().acquire(renewed).await.unwrap();
    let count =
        |name: &str, kind: &str| value(&prometheus.render(), name, &[&format!(r#"kind="{kind}""#), "single"]);
    eventually("the permit is renewed", ms(30_000), async || {
        if count("redis_lock_renewals_total", "semaphore") >= 1.0 {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    })
    .await;
    // Nobody releases it, and its keys are gone: the next renewal finds that out.
    let _: () = server.command(&redis::cmd("FLUSHALL")).await;
    guard.lost().await;
    eventually("the loss is counted", ms(30_000), async || {
        if count("redis_locks_lost_total", "semaphore") >= 1.0 { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    for name in ["redis_lock_renewals_total", "redis_locks_lost_total"] {
        assert_eq!(count(name, "mutex"), 0.0, "{name}");
    }
}
