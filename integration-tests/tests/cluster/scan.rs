//! Walks over all keys while servers restart, slots move and masters die.

use std::collections::HashSet;
use std::time::Duration;

use integration_tests::{Cluster, Server, ServerConfig, eventually, slot_of};
use redis_conn::{Config, Conn, Scan, ScanOptions};

use crate::support::{connect, soon};

type Keys = HashSet<Vec<u8>>;

async fn fill(conn: &Conn, keys: impl Iterator<Item = String>) -> Keys {
    let keys: Vec<String> = keys.collect();
    for chunk in keys.chunks(500) {
        let mut pipeline = redis::pipe();
        chunk.iter().for_each(|key| {
            pipeline.set(key, 1);
        });
        for reply in conn.run_pipeline(&pipeline, soon()).await.unwrap() {
            reply.unwrap();
        }
    }
    keys.into_iter().map(String::into_bytes).collect()
}

/// The next page that has keys.
async fn page_of(scan: &mut Scan) -> Vec<Vec<u8>> {
    loop {
        let page = scan.next(soon()).await.unwrap().expect("more keys");
        if !page.is_empty() {
            return page;
        }
    }
}

async fn finish(mut scan: Scan, mut seen: Keys) -> Keys {
    while let Some(page) = scan.next(soon()).await.unwrap() {
        seen.extend(page);
    }
    seen
}

#[tokio::test]
async fn one_server_is_walked_whole_and_by_pattern() {
    let server = Server::start().await;
    let conn = Conn::connect(Config::from_url(&server.url()).unwrap()).await.unwrap();
    let expected = fill(&conn, (0..5000).map(|index| format!("a:{index}"))).await;
    fill(&conn, (0..100).map(|index| format!("b:{index}"))).await;
    let options = ScanOptions::default().with_pattern("a:*").with_page(100);
    assert_eq!(finish(conn.scan(options), Keys::new()).await, expected);
    assert_eq!(finish(conn.scan(ScanOptions::default()), Keys::new()).await.len(), 5100);
}

#[tokio::test]
async fn a_walk_over_a_server_that_restarts_misses_nothing() {
    let server = ServerConfig::default().with_option("appendonly", "yes").start().await;
    let conn = Conn::connect(Config::from_url(&server.url()).unwrap()).await.unwrap();
    let expected = fill(&conn, (0..3000).map(|index| format!("k{index}"))).await;
    let mut scan = conn.scan(ScanOptions::default().with_page(50));
    let mut seen: Keys = page_of(&mut scan).await.into_iter().collect();
    // Another process has another order of keys, so a cursor of the old one means nothing to it.
    server.kill();
    server.restart().await;
    eventually("the walk goes on", Duration::from_secs(30), async || match scan.next(soon()).await {
        Ok(page) => {
            seen.extend(page.into_iter().flatten());
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    })
    .await;
    assert_eq!(finish(scan, seen).await, expected);
}

#[tokio::test]
async fn a_cluster_is_walked_whole() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let expected = fill(&conn, (0..5000).map(|index| format!("k{index}"))).await;
    assert_eq!(finish(conn.scan(ScanOptions::default()), Keys::new()).await, expected);
}

#[tokio::test]
async fn slots_that_move_behind_the_walk_are_visited_again() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let expected = fill(&conn, (0..3000).map(|index| format!("k{index}"))).await;
    let mut scan = conn.scan(ScanOptions::default().with_page(20));

    // Walk until the first master is done and the second one has begun.
    let mut seen = Keys::new();
    let mut visited: Vec<u16> = Vec::new();
    while visited.len() < 2 {
        let page = page_of(&mut scan).await;
        let port = cluster.owner_of(slot_of(&page[0])).await.port();
        if !visited.contains(&port) {
            visited.push(port);
        }
        seen.extend(page);
    }
    // Slots of the third go to the first, where the walk has been already; some only half way.
    let mut third = None;
    for slot in [0, 8000, 16_383] {
        if !visited.contains(&cluster.owner_of(slot).await.port()) {
            third = Some(slot);
        }
    }
    let third = third.expect("three masters");
    let first = cluster.masters().await.into_iter().find(|master| master.port() == visited[0]).unwrap();
    let slots: Vec<u16> =
        (0..20).map(|offset| if third == 16_383 { third - offset } else { third + offset }).collect();
    let moved: Vec<&Vec<u8>> =
        expected.iter().filter(|key| slots.contains(&slot_of(key)) && !seen.contains(*key)).collect();
    assert!(!moved.is_empty(), "keys in the slots that move");
    for (index, slot) in slots.iter().enumerate() {
        if index % 2 == 0 {
            cluster.move_slot(*slot, first).await;
        } else {
            cluster.begin_migration(*slot, first).await;
            cluster.migrate_keys(*slot, first, 1000).await;
        }
    }
    assert_eq!(finish(scan, seen).await, expected);
}

#[tokio::test]
async fn a_walk_goes_on_at_the_successor_of_a_dead_master() {
    let cluster = Cluster::start().await;
    let conn = connect(&cluster).await;
    let expected = fill(&conn, (0..2000).map(|index| format!("k{index}"))).await;
    eventually("the replicas have every key", Duration::from_secs(30), async || {
        let mut stored = 0;
        for node in cluster.nodes() {
            stored += node.command::<usize>(&redis::cmd("DBSIZE")).await;
        }
        if stored == 2 * expected.len() { Ok(()) } else { Err(format!("{stored} copies")) }
    })
    .await;
    let mut scan = conn.scan(ScanOptions::default().with_page(20));
    let page = page_of(&mut scan).await;
    cluster.owner_of(slot_of(&page[0])).await.kill();
    assert_eq!(finish(scan, page.into_iter().collect()).await, expected);
}
