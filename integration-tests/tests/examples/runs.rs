//! Each example, to its end.

use integration_tests::{Cluster, SentinelGroup, Server, independent_masters};

use crate::support::{find, lines, run, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_server() {
    let server = Server::start().await;
    let url = [("REDIS_URL", &*server.url())];

    let printed = run("quickstart", &[], &url).await;
    assert!(printed.contains("hello, world") && printed.contains(" 0 failed,"), "{printed}");
    let printed = run("locks", &[], &url).await;
    assert!(printed.contains("at the same time: refused"), "{printed}");
    assert_eq!(printed.matches("refused (Held)").count(), 3, "{printed}");
    let printed = run("leader", &[], &url).await;
    assert!(printed.contains("each has led once"), "{printed}");
    let free = [url[0], ("METRICS_ADDRESS", "127.0.0.1:0")];
    let printed = run("metrics", &[], &free).await;
    assert!(scraped(&printed), "{printed}");
    assert!(printed.contains("hit ratio 0.66"), "{printed}");

    let printed = run("typed", &[], &url).await;
    assert!(printed.contains("bookings: 50"), "{printed}");
    let printed = run("dedup", &[], &url).await;
    assert!(printed.contains("1000 events processed out of 4000 deliveries"), "{printed}");
    let printed = run("checkpoint", &[], &url).await;
    assert!(printed.contains("finished with sum 499500"), "{printed}");

    // They leave nothing behind but the counters of the locks' fencing tokens.
    let keys: Vec<String> = server.command(redis::cmd("KEYS").arg("*")).await;
    assert!(keys.iter().all(|key| key.contains(":l|") || key.contains("redlock")), "{keys:?}");
}

fn scraped(printed: &str) -> bool {
    let puts = printed
        .lines()
        .find(|line| line.contains(r#"operation="put""#) && line.contains(r#"status="success""#));
    puts.is_some_and(|line| line.contains(r#"service="example""#) && line.ends_with(" 100"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_of_a_quorum() {
    let servers = independent_masters(4).await;
    let urls: Vec<String> = servers.iter().map(Server::url).collect();
    let variables = [("REDIS_URL", &*urls[0]), ("REDLOCK_URLS", &urls[1..].join(","))];
    let printed = run("locks", &["bootstrap"], &variables).await;
    assert!(printed.contains("at the same time: refused"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_sentinels_through_a_failover() {
    let group = SentinelGroup::start().await;
    let mut example = start("sentinel", &["8"], &[("REDIS_URL", &group.url())]).await;
    let mut printed = lines(&mut example);
    let old = group.master().await.address();
    find(&mut printed, "counting for 8 s").await;
    let new = group.failover().await.address();
    find(&mut printed, &format!("left {old}")).await;
    find(&mut printed, &format!("connected to the master, {new}")).await;
    find(&mut printed, "the counter says").await;
    assert!(example.wait().await.expect("a status").success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster() {
    let cluster = Cluster::start().await;
    let printed = run("cluster", &[], &[("REDIS_URL", &cluster.url())]).await;
    assert!(
        printed.contains("3000 keys scanned, 3000 counted") && printed.contains("0 keys after clear()"),
        "{printed}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_said_to_be_so() {
    let mut child = start("quickstart", &[], &[("REDIS_URL", "redis://127.0.0.1:1")]).await;
    let mut complained = String::new();
    let stderr = child.stderr.as_mut().expect("a pipe");
    tokio::io::AsyncReadExt::read_to_string(stderr, &mut complained).await.expect("text");
    assert!(!child.wait().await.expect("a status").success());
    assert!(complained.contains("connect: cannot connect to 127.0.0.1:1"), "{complained}");
    // It has given up, so it must not promise anything.
    assert!(!complained.contains("again"), "{complained}");
}
