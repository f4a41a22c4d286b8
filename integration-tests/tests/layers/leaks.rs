//! What is left behind: no task, no connection, no thread that publishes.

use integration_tests::{Server, eventually, independent_masters};
use tokio::runtime::Handle;

use crate::support::{backend, ms, on};

async fn clients(server: &Server) -> u64 {
    let clients = server.info("connected_clients").await.expect("INFO").expect("a field of INFO");
    clients.parse().expect("a number")
}

#[tokio::test]
async fn the_last_handle_ends_every_task_and_connection() {
    let (server, nodes) = (Server::start().await, independent_masters(3).await);
    for round in 0..4 {
        let (is_closed, is_quorum) = (round % 2 == 0, round < 2);
        let before = clients(&server).await;
        let tasks = Handle::current().metrics().num_alive_tasks();
        let mut settings = on(&server).pool_config(2, 4, ms(30_000)).health_interval(ms(20));
        if is_quorum {
            settings = settings.redlock_nodes(nodes.iter().map(Server::url));
        }
        let first = backend(settings).await;
        let other = first.clone();
        first.put(b"k", b"v").await.unwrap();
        drop(first.dedicated().await.unwrap());
        let locks = first.locks().await.unwrap();
        locks.bootstrap().await.unwrap();
        let guard = other.acquire_lock("job", ms(30_000)).await.unwrap();
        assert!(clients(&server).await > before);
        drop((guard, locks));
        if is_closed {
            first.close().await;
        }
        drop(first);
        drop(other);
        for server in nodes.iter().chain([&server]) {
            eventually("connections are gone", ms(30_000), async || match clients(server).await {
                now if now <= before => Ok(()),
                now => Err(format!("{now} clients on {server}, {before} before; round {round}")),
            })
            .await;
        }
        eventually("tasks are gone", ms(30_000), async || {
            let now = Handle::current().metrics().num_alive_tasks();
            if now <= tasks { Ok(()) } else { Err(format!("{now} tasks, {tasks} before; round {round}")) }
        })
        .await;
    }
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_leaves_nothing() {
    let server = Server::start().await;
    server.kill();
    let tasks = Handle::current().metrics().num_alive_tasks();
    let config = on(&server).connect_timeout(ms(100)).build().unwrap();
    assert!(state_redis::RedisBackend::new(config).await.is_err());
    eventually("tasks are gone", ms(30_000), async || {
        let now = Handle::current().metrics().num_alive_tasks();
        if now <= tasks { Ok(()) } else { Err(format!("{now} tasks, {tasks} before")) }
    })
    .await;
}
