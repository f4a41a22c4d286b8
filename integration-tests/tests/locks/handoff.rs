//! A lock that its holder hands to the next in line: one message, no question.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::{
    StreamExt,
    future::join_all,
    stream::{self, BoxStream},
};
use integration_tests::Server;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use redlock::{
    Claim, Fault, Guard, LockManager, LockNode, LockOptions, NodeInfo, Observer, Operation, Outcome, Place,
    Reconnecting, RedisNode, Standing, Subscriber, Verdict, Vote,
};
use tokio::sync::mpsc;

use crate::{lines::in_line, support::*};

/// Counts the looks of waiters.
#[derive(Clone, Default)]
pub(crate) struct Looks(Arc<AtomicU32>);

impl Observer for Looks {
    fn node_answered(&self, _: &str, operation: Operation, _: Duration, _: Option<&Verdict>) {
        self.0.fetch_add(u32::from(operation == Operation::Enqueue), Ordering::Relaxed);
    }
}

impl Looks {
    /// Since it was asked last.
    pub(crate) fn take(&self) -> u32 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// A manager whose subscription is there, so that a waiter looks once before it is called. Its waiters do not look
/// again for ten seconds.
async fn listening(server: &Server) -> (LockManager, Looks) {
    let looks = Looks::default();
    let config =
        config().with_max_ttl(60 * SECOND).with_waiter_timeout(30 * SECOND).with_claim_timeout(20 * SECOND);
    let client = redis::Client::open(server.url()).unwrap();
    let builder = LockManager::builder(config).observer(looks.clone()).subscriber(client);
    let manager = builder.single(node(server)).await.unwrap();
    manager.acquire("first", plain(SECOND)).await.unwrap().release().await;
    integration_tests::eventually("it listens", 10 * SECOND, async || {
        let channels: Vec<String> = server.command(redis::cmd("PUBSUB").arg("CHANNELS")).await;
        if channels.len() == 1 { Ok(()) } else { Err(format!("{channels:?}")) }
    })
    .await;
    looks.take();
    (manager, looks)
}

/// Longer than the claim: only then is a lock relied on before it is confirmed.
fn long() -> LockOptions {
    plain(60 * SECOND)
}

async fn waits(
    server: &Server,
    place: usize,
    acquire: impl Future<Output = redlock::Result<Guard>> + Send + 'static,
) -> tokio::task::JoinHandle<Guard> {
    let waiter = tokio::spawn(async move { acquire.await.unwrap() });
    in_line(server, place).await;
    waiter
}

async fn milliseconds_left(server: &Server) -> u64 {
    server.command::<i64>(redis::cmd("PTTL").arg("redlock:l:-{k}:w")).await.try_into().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_handed_over_is_held_by_the_message_and_confirmed_later() {
    let server = forgetful().await;
    let (manager, looks) = listening(&server).await;
    let first = manager.acquire("k", long()).await.unwrap();
    let waiter = waits(&server, 1, {
        let manager = manager.clone();
        async move { manager.acquire("k", long()).await }
    })
    .await;
    let token = first.token();
    assert_eq!(first.release().await, Outcome::Released);
    let second = waiter.await.unwrap();
    assert!(second.is_valid() && second.token() > token);
    assert_eq!(looks.take(), 2, "one of each, and none to confirm");
    integration_tests::eventually("it lasts for its time to live", 10 * SECOND, async || {
        let (here, there) = (second.validity(), milliseconds_left(&server).await);
        if here > 30 * SECOND && there > 30_000 { Ok(()) } else { Err(format!("{here:?} {there}")) }
    })
    .await;
    assert_eq!(looks.take(), 0);
    assert_eq!(second.release().await, Outcome::Released);
}

/// Readers, and then permits, that wait for one holder are called together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_a_group_is_handed_a_token_of_its_own() {
    let server = forgetful().await;
    let (manager, looks) = listening(&server).await;
    let writer = manager.acquire("k", long()).await.unwrap();
    let mut readers = Vec::new();
    for place in 1..=3 {
        let manager = manager.clone();
        readers.push(waits(&server, place, async move { manager.read("k", long()).await }).await);
    }
    let last = {
        let manager = manager.clone();
        waits(&server, 4, async move { manager.acquire("k", long()).await }).await
    };
    let before = writer.token();
    writer.release().await;
    let readers: Vec<_> = join_all(readers).await.into_iter().map(Result::unwrap).collect();
    let mut tokens: Vec<_> = readers.iter().map(Guard::token).collect();
    tokens.sort_unstable();
    assert!(tokens[0] > before && tokens.windows(2).all(|pair| pair[0] < pair[1]), "{before} {tokens:?}");
    assert!(!last.is_finished());
    join_all(readers.into_iter().map(Guard::release)).await;
    let last = last.await.unwrap();
    assert!(last.token() > tokens[2]);
    assert_eq!(looks.take(), 5, "one of each");
    last.release().await;

    let permits = manager.semaphore("s", 2).unwrap();
    let held = [permits.acquire(long()).await.unwrap(), permits.acquire(long()).await.unwrap()];
    let waiters: Vec<_> = (0..2)
        .map(|_| {
            let permits = permits.clone();
            tokio::spawn(async move { permits.acquire(long()).await.unwrap() })
        })
        .collect();
    integration_tests::eventually("both wait", 10 * SECOND, async || {
        let waiting: usize = server.command(redis::cmd("ZCARD").arg("redlock:s:-{s}:q")).await;
        if waiting == 2 { Ok(()) } else { Err(format!("{waiting}")) }
    })
    .await;
    let before = held[0].token().max(held[1].token());
    join_all(held.into_iter().map(Guard::release)).await;
    let next: Vec<_> = join_all(waiters).await.into_iter().map(Result::unwrap).collect();
    assert!(next.iter().all(|guard| guard.token() > before) && next[0].token() != next[1].token());
    assert_eq!(looks.take(), 4);
}

/// What the network does to messages and looks, drawn for each.
#[derive(Clone)]
struct Weather(Arc<std::sync::Mutex<StdRng>>);

impl Weather {
    fn new(seed: u64) -> Self {
        Self(Arc::new(std::sync::Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// How late each copy of a message arrives: at once mostly, up to three claim times late, twice, or not at all.
    fn message(&self) -> Vec<Duration> {
        let mut chance = self.0.lock().unwrap();
        let (first, second) = (ms(chance.random_range(0..600)), ms(chance.random_range(0..600)));
        match chance.random_range(0..10) {
            0 => vec![],
            1..4 => vec![first],
            4 => vec![Duration::ZERO, second],
            _ => vec![Duration::ZERO],
        }
    }

    /// How late a look arrives, one in ten of them, which may be after its waiter has given it up.
    fn look(&self) -> Duration {
        let mut chance = self.0.lock().unwrap();
        if chance.random_bool(0.1) { ms(chance.random_range(0..400)) } else { Duration::ZERO }
    }
}

/// A subscription in such a weather.
struct Stormy(redis::Client, Weather);

#[async_trait]
impl Subscriber for Stormy {
    async fn subscribe(
        &self,
        channel: &str,
    ) -> Result<BoxStream<'static, String>, Box<dyn std::error::Error + Send + Sync>> {
        let mut messages = Subscriber::subscribe(&self.0, channel).await?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let weather = self.1.clone();
        tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                for late in weather.message() {
                    let (sender, message) = (sender.clone(), message.clone());
                    tokio::spawn(async move {
                        tokio::time::sleep(late).await;
                        let _ = sender.send(message);
                    });
                }
            }
        });
        let next = |mut receiver: mpsc::UnboundedReceiver<String>| async {
            Some((receiver.recv().await?, receiver))
        };
        Ok(stream::unfold(receiver, next).boxed())
    }
}

/// A node in such a weather.
struct Overcast(RedisNode<Reconnecting>, Weather);

#[async_trait]
impl LockNode for Overcast {
    fn label(&self) -> &str {
        self.0.label()
    }
    async fn inspect(&self) -> Result<NodeInfo, Fault> {
        self.0.inspect().await
    }
    async fn acquire(&self, claim: &Claim) -> Result<Vote, Fault> {
        self.0.acquire(claim).await
    }
    async fn enqueue(&self, claim: &Claim, place: &Place) -> Result<Vote, Fault> {
        let (node, claim, place, late) = (self.0.clone(), claim.clone(), place.clone(), self.1.look());
        let look = tokio::spawn(async move {
            tokio::time::sleep(late).await;
            node.enqueue(&claim, &place).await
        });
        look.await.unwrap()
    }
    async fn extend(&self, claim: &Claim, ttl: Duration) -> Result<Standing, Fault> {
        self.0.extend(claim, ttl).await
    }
    async fn raise(&self, claim: &Claim, token: u64) -> Result<Option<u64>, Fault> {
        self.0.raise(claim, token).await
    }
    async fn release(&self, claim: &Claim, burial: Option<Duration>) -> Result<Standing, Fault> {
        self.0.release(claim, burial).await
    }
    async fn peek(&self, claim: &Claim) -> Result<Vec<(String, Duration)>, Fault> {
        self.0.peek(claim).await
    }
    async fn bootstrap(&self, epoch_key: &str) -> Result<(), Fault> {
        self.0.bootstrap(epoch_key).await
    }
}

/// Messages are late by up to three claim times, come twice or never, and looks are late: the lock still has one holder
/// at a time, and tokens rise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hand_off_that_is_late_or_repeated_gives_a_lock_to_two() {
    let begun = Instant::now();
    let seed = rand::rng().random();
    println!("seed {seed}");
    let weather = Weather::new(seed);
    let server = forgetful().await;
    let mut managers = Vec::new();
    for _ in 0..2 {
        let config = config().with_claim_timeout(ms(200)).with_waiter_timeout(ms(300));
        let client = redis::Client::open(server.url()).unwrap();
        let builder = LockManager::builder(config).subscriber(Stormy(client, weather.clone()));
        managers.push(builder.single(Overcast(node(&server), weather.clone())).await.unwrap());
    }
    let register = Register::default();
    let work = contend(&managers, 8, &register, Instant::now() + 5 * SECOND).await;
    let report = register.report();
    figures("hand-offs in bad weather", &format!("{} grants, {report:?}", work.done), begun);
    assert!(report.grants >= 20, "seed {seed}: {work:?}");
    assert_eq!((report.overlaps, report.inversions), (0, 0), "seed {seed}");
}
