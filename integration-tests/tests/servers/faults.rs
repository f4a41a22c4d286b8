//! A server is killed, frozen and restarted.

use std::time::Duration;

use integration_tests::{Server, ServerConfig, eventually};
use redis::{AsyncTypedCommands, cmd};

use crate::patient;

#[tokio::test]
async fn a_started_server_answers_on_its_url_and_its_unix_socket() {
    let server = ServerConfig::default().with_password("p@ss word").start().await;
    for url in [server.url(), server.unix_url()] {
        let client = redis::Client::open(url.as_str()).unwrap();
        let connection = client.get_multiplexed_async_connection_with_config(&patient()).await;
        let mut connection = connection.unwrap();
        assert_eq!(connection.ping().await.unwrap(), "PONG", "{url}");
    }
}

#[tokio::test]
async fn a_killed_server_restarts_on_the_same_port_with_its_data() {
    let server = Server::start().await;
    let (url, pid) = (server.url(), server.pid());
    server.connect().await.unwrap().set("k", "v").await.unwrap();

    server.kill();
    assert_eq!(server.pid(), None);
    assert!(server.connect().await.is_err());

    server.restart().await;
    assert_eq!(server.url(), url);
    assert_ne!(server.pid(), pid);
    assert_eq!(server.connect().await.unwrap().get("k").await.unwrap().as_deref(), Some("v"));
}

#[tokio::test]
async fn a_server_restarted_empty_has_lost_its_data() {
    let server = Server::start().await;
    server.connect().await.unwrap().set("k", "v").await.unwrap();
    server.restart_empty().await;
    assert_eq!(server.connect().await.unwrap().get("k").await.unwrap(), None);
}

#[tokio::test]
async fn a_frozen_server_accepts_connections_and_answers_after_thaw() {
    let server = Server::start().await;
    let mut connection = server.connect().await.unwrap();
    server.freeze();
    assert!(server.is_running());
    std::net::TcpStream::connect(server.address()).expect("the kernel accepts for a stopped process");
    let mut ping = Box::pin(connection.ping());
    tokio::time::timeout(Duration::from_millis(200), &mut ping).await.expect_err("a frozen server is silent");
    server.thaw();
    assert_eq!(ping.await.unwrap(), "PONG");
}

#[tokio::test]
async fn a_frozen_server_can_be_killed() {
    let server = Server::start().await;
    server.freeze();
    server.kill();
    assert!(!server.is_running());
}

#[tokio::test]
async fn an_orderly_end_is_noticed() {
    let server = Server::start().await;
    server.terminate().await;
    assert!(!server.is_running());
}

#[tokio::test]
async fn a_server_that_ends_by_itself_is_noticed() {
    let server = Server::start().await;
    let _: redis::RedisResult<()> = server.try_command(cmd("SHUTDOWN").arg("NOSAVE")).await;
    eventually("the server is gone", Duration::from_secs(30), async || match server.pid() {
        None => Ok(()),
        Some(pid) => Err(format!("process {pid}")),
    })
    .await;
    server.restart().await;
}

#[tokio::test]
#[should_panic(expected = "Bad directive or wrong number of arguments")]
async fn a_server_that_does_not_start_panics_with_its_log() {
    ServerConfig::default().with_option("no-such-option", 1).start().await;
}

#[tokio::test]
async fn a_dropped_server_takes_its_folder_along() {
    let server = Server::start().await;
    let dir = server.dir().to_owned();
    assert!(dir.join("data").exists());
    drop(server);
    assert!(!dir.exists());
}
