//! The observer and the endpoint gate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use integration_tests::proxy::{Fault, Proxy};
use integration_tests::{Server, eventually};
use parking_lot::Mutex;
use redis_conn::{
    Class, Conn, DownReason, Endpoint, EndpointGate, Error, ErrorKind, HealthStatus, Observer, Outcome,
    Permit, Settle,
};

use crate::support::{config, patient, usable_again, within};

const SECOND: Duration = Duration::from_secs(1);

/// A gate that can be shut, and that remembers every outcome.
#[derive(Default)]
struct Turnstile {
    shut: AtomicBool,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
}

struct Ticket(Arc<Mutex<Vec<Outcome>>>);

impl Settle for Ticket {
    fn settle(self: Box<Self>, outcome: Outcome) {
        self.0.lock().push(outcome);
    }
}

impl EndpointGate for Turnstile {
    fn admit(&self, endpoint: &Endpoint) -> Option<Permit> {
        assert!(matches!(endpoint, Endpoint::Tcp { host, .. } if host == "127.0.0.1"));
        let open = !self.shut.load(Ordering::SeqCst);
        open.then(|| Permit::tracked(Box::new(Ticket(Arc::clone(&self.outcomes)))))
    }
}

impl Turnstile {
    fn take(&self) -> Vec<Outcome> {
        std::mem::take(&mut *self.outcomes.lock())
    }
}

#[tokio::test]
async fn the_gate_is_told_each_outcome_once_and_can_refuse() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let gate = Arc::new(Turnstile::default());
    let gated = config(&proxy.url()).with_gate(gate.clone()).with_stall_timeout(60 * SECOND);
    let conn = Conn::connect(gated).await.expect("connect");

    conn.run(redis::cmd("SET").arg("k").arg("x"), patient()).await.expect("SET");
    conn.run(redis::cmd("LPUSH").arg("k").arg("x"), patient()).await.expect_err("WRONGTYPE");
    assert_eq!(gate.take(), [Outcome::Success, Outcome::Success], "an answer is a success of the endpoint");

    server.command::<()>(redis::cmd("CONFIG").arg("SET").arg("min-replicas-to-write").arg(3)).await;
    conn.run(redis::cmd("SET").arg("k").arg("x"), patient()).await.expect_err("NOREPLICAS");
    assert_eq!(gate.take(), [Outcome::Failure { kind: ErrorKind::NotReady, class: Class::Refused }]);

    server.command::<()>(redis::cmd("CONFIG").arg("SET").arg("min-replicas-to-write").arg(0)).await;
    proxy.set(Fault::Stuck);
    conn.get(b"k", within(1_000)).await.expect_err("stuck");
    assert_eq!(gate.take(), [Outcome::Failure { kind: ErrorKind::Timeout, class: Class::Ambiguous }]);
    let cancelled = tokio::time::timeout(SECOND / 2, conn.get(b"k", patient())).await;
    assert!(cancelled.is_err());
    assert_eq!(gate.take(), [Outcome::Cancelled]);

    proxy.set(Fault::None);
    gate.shut.store(true, Ordering::SeqCst);
    let error = conn.run(redis::cmd("INCR").arg("n"), patient()).await.expect_err("shut");
    assert_eq!((error.kind(), error.class()), (ErrorKind::Rejected, Class::NotSent));
    gate.shut.store(false, Ordering::SeqCst);
    let first = conn.run(redis::cmd("INCR").arg("n"), patient()).await.expect("INCR");
    assert_eq!(first, redis::Value::Int(1));
}

/// Notes what it is told.
#[derive(Default)]
struct Diary(Mutex<Vec<String>>);

impl Observer for Diary {
    fn connected(&self, _: &Endpoint, _: Duration) {
        self.0.lock().push("connected".to_owned());
    }

    fn connect_failed(&self, endpoint: Option<&Endpoint>, error: &Error) {
        self.0.lock().push(format!("failed {} {:?}", endpoint.is_some(), error.kind()));
    }

    fn disconnected(&self, _: &Endpoint, reason: DownReason) {
        self.0.lock().push(format!("disconnected {reason:?}"));
    }

    fn subscriber_opened(&self, _: &Endpoint) {
        self.0.lock().push("subscriber opened".to_owned());
    }

    fn subscriber_closed(&self, _: &Endpoint) {
        self.0.lock().push("subscriber closed".to_owned());
    }

    fn queued(&self, _: Duration) {
        self.0.lock().push("queued".to_owned());
    }

    fn pool_waited(&self, _: Duration) {
        self.0.lock().push("pool".to_owned());
    }
}

#[tokio::test]
async fn the_observer_is_told_of_connections_and_waits() {
    let server = Server::start().await;
    let diary = Arc::new(Diary::default());
    let observed = config(&server.url()).with_observer(diary.clone()).with_max_in_flight(1);
    let conn = Conn::connect(observed).await.expect("connect");
    conn.health().wait_for(|health| health.status == HealthStatus::Healthy).await.expect("checked");
    drop(conn.dedicated().await.expect("a connection"));
    let (one, two) = tokio::join!(conn.get(b"k", patient()), conn.get(b"k", patient()));
    assert_eq!((one.expect("GET"), two.expect("GET")), (None, None));
    server.kill();
    eventually("a failed attempt", 30 * SECOND, async || {
        let told = diary.0.lock().clone();
        if told.iter().any(|line| line == "failed true Unavailable") {
            Ok(())
        } else {
            Err(format!("{told:?}"))
        }
    })
    .await;
    server.restart().await;
    usable_again(&conn).await;
    let told = diary.0.lock().clone();
    assert_eq!(told.first().map(String::as_str), Some("connected"), "{told:?}");
    for line in ["pool", "queued", "disconnected Lost"] {
        assert!(told.iter().any(|told| told == line), "{line} not in {told:?}");
    }
    assert!(told.iter().filter(|line| *line == "connected").count() >= 2, "{told:?}");
}

#[tokio::test]
async fn the_observer_is_told_of_each_connection_that_subscribes() {
    let server = Server::start().await;
    let diary = Arc::new(Diary::default());
    let conn = Conn::connect(config(&server.url()).with_observer(diary.clone())).await.expect("connect");
    let told = async |opened: usize, closed: usize| {
        eventually("it is told", 30 * SECOND, async || {
            let diary = diary.0.lock();
            let count = |what: &str| diary.iter().filter(|line| *line == what).count();
            let told = (count("subscriber opened"), count("subscriber closed"), count("connected"));
            if told == (opened, closed, 1) { Ok(()) } else { Err(format!("{told:?}")) }
        })
        .await;
    };
    let subscription = conn.subscribe().await.expect("a subscription");
    subscription.subscribe("news", patient()).await.expect("SUBSCRIBE");
    told(1, 0).await;
    let killed: u32 = server.command(redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub")).await;
    assert_eq!(killed, 1);
    told(2, 1).await;
    drop(subscription);
    told(2, 2).await;
}
