//! The web service: requests, refusals while the server is gone, a graceful end.

use std::time::Duration;

use integration_tests::{Server, eventually};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{find, lines, start};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_serves_refuses_recovers_and_ends_gracefully() {
    let server = Server::start().await;
    let variables = [("REDIS_URL", &*server.url()), ("ADDRESS", "127.0.0.1:0")];
    let mut service = start("service", &[], &variables).await;
    let mut printed = lines(&mut service);
    let line = find(&mut printed, "listening on").await;
    let address = line.strip_prefix("listening on http://").expect("the address").to_owned();

    assert_eq!(ask(&address, "GET /state/greeting", "").await.0, 404);
    assert_eq!(ask(&address, "PUT /state/greeting", "hello").await.0, 204);
    assert_eq!(ask(&address, "GET /state/greeting", "").await, (200, "hello".to_owned()));
    assert_eq!(ask(&address, "GET /healthz", "").await.0, 200);

    server.kill();
    eventually("requests are refused", SOON, async || expect(&address, "GET /state/greeting", 503).await)
        .await;
    assert_eq!(ask(&address, "GET /healthz", "").await.0, 503);
    server.restart().await;
    eventually("requests are served again", SOON, async || expect(&address, "GET /healthz", 200).await).await;

    assert_eq!(ask(&address, "DELETE /state/greeting", "").await.0, 204);
    let pid = Pid::from_raw(service.id().expect("it runs").cast_signed()).expect("a pid");
    kill_process(pid, Signal::TERM).expect("it is ours");
    find(&mut printed, "ended").await;
    assert!(timeout(SOON, service.wait()).await.expect("in time").expect("a status").success());
}

async fn expect(address: &str, what: &str, status: u16) -> Result<(), String> {
    let (seen, text) = ask(address, what, "").await;
    (seen == status).then_some(()).ok_or_else(|| format!("{seen}: {text}"))
}

/// Sends a request and returns the answer's status and text.
async fn ask(address: &str, what: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("the service listens");
    let length = body.len();
    let request = format!(
        "{what} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("it takes the request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    let (head, text) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, text.to_owned())
}
