//! What the tests of this binary share: a writer with a ledger, and a witness of promotions.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use integration_tests::{SentinelGroup, Server, eventually};
use parking_lot::Mutex;
use redis_conn::{Class, Config, Conn, Endpoint, Error};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

pub(crate) fn config(group: &SentinelGroup) -> Config {
    Config::from_url(&group.url()).expect("a valid URL")
}

pub(crate) async fn connect(group: &SentinelGroup) -> Conn {
    Conn::connect(config(group)).await.expect("a connection to the master")
}

pub(crate) fn endpoint(server: &Server) -> Endpoint {
    Endpoint::tcp("127.0.0.1", server.port())
}

pub(crate) async fn ping(conn: &Conn) -> Result<redis::Value, Error> {
    conn.run(&redis::cmd("PING"), soon()).await
}

/// The port of the server that answers.
pub(crate) async fn port_of(conn: &Conn) -> Result<u16, Error> {
    let command = redis::cmd("CONFIG").arg("GET").arg("port").to_owned();
    let reply = conn.run(&command, soon()).await?;
    let fields: HashMap<String, u16> = redis::from_redis_value(reply).expect("CONFIG GET answers with a map");
    Ok(fields["port"])
}

/// Waits until the handle is connected to `server`.
pub(crate) async fn follows(conn: &Conn, server: &Server) {
    eventually("the handle follows the master", Duration::from_secs(30), async || {
        match port_of(conn).await {
            Ok(port) if port == server.port() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// Writes one key after the other, each once, and notes when each was acknowledged.
pub(crate) struct Writer {
    ledger: Arc<Mutex<Ledger>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) acknowledged: Vec<(u64, Instant)>,
    pub(crate) ambiguous: u64,
    pub(crate) refused: u64,
}

impl Writer {
    pub(crate) fn start(conn: &Conn, tasks: usize) -> Self {
        let (ledger, stop) = (Arc::new(Mutex::new(Ledger::default())), Arc::new(AtomicBool::new(false)));
        let next = Arc::new(AtomicU64::new(0));
        let start =
            |_| tokio::spawn(write(conn.clone(), Arc::clone(&ledger), Arc::clone(&stop), Arc::clone(&next)));
        let tasks = (0..tasks).map(start).collect();
        Self { ledger, stop, tasks }
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.ledger.lock().acknowledged.len()
    }

    pub(crate) fn errors(&self) -> u64 {
        let ledger = self.ledger.lock();
        ledger.ambiguous + ledger.refused
    }

    /// Waits for `more` further acknowledged writes.
    pub(crate) async fn advances(&self, more: usize) {
        let goal = self.acknowledged() + more;
        eventually("writes are acknowledged", Duration::from_secs(60), async || {
            let seen = self.acknowledged();
            if seen >= goal { Ok(()) } else { Err(format!("{seen} of {goal}")) }
        })
        .await;
    }

    pub(crate) async fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("the writer does not panic");
        }
        std::mem::take(&mut *self.ledger.lock())
    }
}

async fn write(conn: Conn, ledger: Arc<Mutex<Ledger>>, stop: Arc<AtomicBool>, next: Arc<AtomicU64>) {
    while !stop.load(Ordering::Relaxed) {
        let id = next.fetch_add(1, Ordering::Relaxed);
        let deadline = Instant::now() + Duration::from_secs(5);
        let outcome = conn.set(key(id).as_bytes(), b"x", Default::default(), deadline).await;
        let now = Instant::now();
        match outcome {
            Ok(_) => ledger.lock().acknowledged.push((id, now)),
            Err(error) if error.class() == Class::Ambiguous => ledger.lock().ambiguous += 1,
            Err(_) => {
                ledger.lock().refused += 1;
                sleep(Duration::from_millis(2)).await;
            }
        }
    }
}

fn key(id: u64) -> String {
    format!("w{id}")
}

impl Ledger {
    /// The longest time without an acknowledgement.
    pub(crate) fn gap(&self) -> Duration {
        let mut times: Vec<Instant> = self.acknowledged.iter().map(|(_, at)| *at).collect();
        times.sort();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// When each acknowledged write that `master` does not hold was acknowledged.
    pub(crate) async fn lost_on(&self, master: &Server) -> Vec<Instant> {
        let mut connection = master.connect().await.expect("a control connection");
        let mut lost = Vec::new();
        for chunk in self.acknowledged.chunks(5000) {
            let mut mget = redis::cmd("MGET");
            chunk.iter().for_each(|(id, _)| _ = mget.arg(key(*id)));
            let values: Vec<Option<String>> = mget.query_async(&mut connection).await.expect("MGET");
            lost.extend(
                chunk.iter().zip(values).filter(|(_, value)| value.is_none()).map(|((_, at), _)| *at),
            );
        }
        lost
    }
}

/// Sees the first `+switch-master` that any sentinel publishes.
pub(crate) struct Witness(Vec<JoinHandle<Instant>>);

impl Witness {
    pub(crate) async fn start(sentinels: &[Server]) -> Self {
        let mut watching = Vec::new();
        for sentinel in sentinels {
            let client = redis::Client::open(sentinel.url()).expect("a valid URL");
            let mut subscription = client.get_async_pubsub().await.expect("a connection");
            subscription.subscribe("+switch-master").await.expect("subscribed");
            watching.push(tokio::spawn(async move {
                subscription.on_message().next().await.expect("a message");
                Instant::now()
            }));
        }
        Self(watching)
    }

    pub(crate) async fn promotion(self) -> Instant {
        let (first, _, others) = futures_util::future::select_all(self.0).await;
        others.iter().for_each(JoinHandle::abort);
        first.expect("no panic")
    }
}
