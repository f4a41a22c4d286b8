//! What a lock costs that nobody else wants, in round trips.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use integration_tests::Server;
use redis::aio::MultiplexedConnection;

use crate::support::*;

const ROUNDS: usize = 1000;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// What a client without a library does: SET NX PX on all servers at once, then a DEL on all of them.
async fn raw(connections: &[MultiplexedConnection]) -> Duration {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for words in [&["SET", "raw", "value", "NX", "PX", "5000"][..], &["DEL", "raw"]] {
            let each = connections.iter().cloned().map(|mut connection| async move {
                let mut command = redis::cmd(words[0]);
                command.arg(&words[1..]);
                command.exec_async(&mut connection).await.unwrap();
            });
            join_all(each).await;
        }
        times.push(begun.elapsed());
    }
    median(times)
}

async fn locked(manager: &redlock::LockManager) -> Duration {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let guard = manager.acquire("k", plain(5 * SECOND)).await.unwrap();
        guard.release().await;
        times.push(begun.elapsed());
    }
    median(times)
}

async fn connections(servers: &[Server]) -> Vec<MultiplexedConnection> {
    let connect = |server: &Server| {
        let client = redis::Client::open(server.url()).unwrap();
        async move { client.get_multiplexed_async_connection().await.unwrap() }
    };
    join_all(servers.iter().map(connect)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uncontended_lock_costs_two_round_trips() {
    let servers = forgetful_masters(5).await;
    let connections = connections(&servers).await;
    let single_manager = single(&servers[0], config()).await;
    let quorum_manager = quorum(&servers, config()).await;
    // Warm: scripts loaded, connections made.
    locked(&single_manager).await;
    locked(&quorum_manager).await;
    let (raw_one, one) = (raw(&connections[..1]).await, locked(&single_manager).await);
    let (raw_five, five) = (raw(&connections).await, locked(&quorum_manager).await);
    let ratio = |ours: Duration, raw: Duration| ours.as_secs_f64() / raw.as_secs_f64();
    println!(
        "acquire + release, p50: one authority {one:?} ({:.2} of {raw_one:?} raw), quorum of five {five:?} ({:.2} of \
         {raw_five:?} raw)",
        ratio(one, raw_one),
        ratio(five, raw_five)
    );
    // The figures are of interest in an optimized build on a quiet machine; here only the number of round trips is.
    assert!(ratio(one, raw_one) < 8.0 && ratio(five, raw_five) < 8.0);
}

/// A release in a quorum is a compare-and-delete: one command on servers that have it, and a script on the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quorum_releases_by_one_command_where_the_servers_have_it() {
    let servers = forgetful_masters(3).await;
    let manager = quorum(&servers, config()).await;
    for _ in 0..10 {
        let guard = manager.acquire("k", plain(5 * SECOND)).await.unwrap();
        assert_eq!(guard.release().await, redlock::Outcome::Released);
    }
    // Gone, and taken by another: what only the script can tell.
    let guard = manager.acquire("k", plain(5 * SECOND)).await.unwrap();
    manager.shutdown().await;
    for server in &servers {
        occupy(server, "k").await;
    }
    assert_eq!(guard.release().await, redlock::Outcome::Stolen);

    for server in &servers {
        let info: String = server.command(redis::cmd("INFO").arg("everything")).await;
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let is_valkey = field("server_name:") == "valkey";
        let version = field(if is_valkey { "valkey_version:" } else { "redis_version:" });
        let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap());
        let has = (numbers.next(), numbers.next())
            >= if is_valkey { (Some(9), Some(0)) } else { (Some(8), Some(4)) };
        let used = info.contains("cmdstat_delifeq:") || info.contains("cmdstat_delex:");
        println!(
            "{} {version}: compare-and-delete as one command={used}",
            if is_valkey { "Valkey" } else { "Redis" }
        );
        assert_eq!(used, has, "{version}");
    }
}
