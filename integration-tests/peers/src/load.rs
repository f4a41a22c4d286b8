//! One slice of time in which tasks do one sort of operation, as fast as the client lets them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::candidate::{Candidate, Key};
use crate::case::Sample;
use crate::stats::quantile;
use crate::{Outcome, usage};

/// The sort of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Reads a key that is there.
    Get,
    /// Stores a value.
    Put,
    /// Stores a value for a minute.
    PutTtl,
    /// Stores a value under a key that is not there yet.
    PutIfAbsent,
    /// Swaps a value back and forth.
    Cas,
    /// Adds one to a counter.
    Increment,
    /// Reads this many keys at once.
    BatchGet(usize),
    /// Stores this many values at once.
    BatchPut(usize),
    /// Takes a lock that nobody else wants, or everybody, and releases it.
    Lock,
    /// Removes this many keys at once; storing them again before is not counted.
    BatchDelete(usize),
}

impl Work {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get | Self::BatchGet(_) => "get",
            Self::Put | Self::BatchPut(_) => "put",
            Self::PutTtl => "put_ttl",
            Self::PutIfAbsent => "put_if_absent",
            Self::Cas => "cas",
            Self::Increment => "increment",
            Self::Lock => "lock",
            Self::BatchDelete(_) => "delete",
        }
    }

    /// How many keys one call works on.
    fn keys(self) -> usize {
        match self {
            Self::BatchGet(keys) | Self::BatchPut(keys) | Self::BatchDelete(keys) => keys,
            _ => 1,
        }
    }
}

/// Whoever can do operations of a load.
pub trait Operate: Clone + Send + Sync + 'static {
    /// Whatever a slice needs before its time begins.
    fn prepare(&self, load: &Load) -> impl Future<Output = Outcome<()>> + Send;
    /// Whatever an operation needs, and its time does not include; answers whether there was something.
    fn before(&self, step: Step<'_>) -> impl Future<Output = Outcome<bool>> + Send;
    /// Does one operation, and makes sure that it did what it was for.
    fn once(&self, step: Step<'_>, swapped: &mut bool) -> impl Future<Output = Outcome<()>> + Send;
}

/// Which operation of a load.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The load.
    pub load: &'a Load,
    /// Which task does it.
    pub task: usize,
    /// The how manieth of that task.
    pub round: usize,
}

/// What a case works on; filled into the server before.
#[derive(Debug)]
pub struct Data {
    /// Keys with values.
    pub keys: Vec<Key>,
    /// The value of key n is `values[n % values.len()]`.
    pub values: Vec<Vec<u8>>,
    /// For increments.
    pub counters: Vec<Key>,
    /// For swaps: one key for each task, holding `values[0]`.
    pub swaps: Vec<Key>,
    /// Numbers keys that were never used.
    fresh: AtomicU64,
}

impl Data {
    /// `count` keys; `values` are handed out in turn.
    pub fn new(count: usize, values: Vec<Vec<u8>>) -> Self {
        let named = |kind: &str, count| (0..count).map(|n| Key::new(format!("{kind}:{n:07}"))).collect();
        Self {
            keys: named("key", count),
            values,
            counters: named("counter", count.min(1_000)),
            swaps: named("swap", 2_048),
            fresh: AtomicU64::new(0),
        }
    }

    fn value(&self, n: usize) -> &[u8] {
        &self.values[n % self.values.len()]
    }
}

/// A load.
#[derive(Clone, Debug)]
pub struct Load {
    /// What each task does.
    pub work: Work,
    /// How many tasks do it.
    pub tasks: usize,
    /// For how long they begin new operations.
    pub slice: Duration,
    /// On what.
    pub data: Arc<Data>,
    /// The servers' processes.
    pub servers: Arc<Vec<u32>>,
}

const MINUTE: Duration = Duration::from_secs(60);
/// Keys that are stored once expire by themselves.
const SOON: Duration = Duration::from_secs(5);

/// What one task did.
#[derive(Default)]
struct Tally {
    /// Nanoseconds of each operation that succeeded.
    latencies: Vec<u32>,
    /// Time spent on what is not counted.
    uncounted: Duration,
    failed: u64,
    failure: Option<String>,
}

/// Runs one slice with a candidate.
///
/// # Errors
/// When a server is gone, or when nothing succeeded.
pub async fn run<O: Operate>(operator: &O, load: &Load) -> Outcome<Sample> {
    operator.prepare(load).await?;
    let (own, served) = (usage::own_cpu(), usage::cpu_of(&load.servers)?);
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..load.tasks {
        tasks.spawn(drive(operator.clone(), load.clone(), task, began + load.slice));
    }
    let tallies = tasks.join_all().await;
    let elapsed = began.elapsed();
    let (own, served) = (usage::own_cpu() - own, usage::cpu_of(&load.servers)?.saturating_sub(served));
    sample(load, tallies, elapsed, own, served)
}

async fn drive<O: Operate>(operator: O, load: Load, task: usize, end: Instant) -> Tally {
    let mut tally = Tally::default();
    let mut swapped = false;
    let mut now = Instant::now();
    for round in 0.. {
        let step = Step { load: &load, task, round };
        match operator.before(step).await {
            Ok(false) => {}
            Ok(true) => {
                tally.uncounted += now.elapsed();
                now = Instant::now();
            }
            Err(error) => tally.fail(error.to_string()),
        }
        let outcome = operator.once(step, &mut swapped).await;
        let then = Instant::now();
        match outcome {
            Ok(()) => tally.latencies.push(u32::try_from((then - now).as_nanos()).unwrap_or(u32::MAX)),
            Err(error) => tally.fail(error.to_string()),
        }
        if then >= end {
            break;
        }
        now = then;
    }
    tally
}

impl<C: Candidate> Operate for C {
    async fn prepare(&self, load: &Load) -> Outcome<()> {
        if load.work == Work::Cas {
            self.batch_put(&load.data.swaps[..load.tasks], &load.data.values[0]).await?;
        }
        Ok(())
    }

    async fn before(&self, step: Step<'_>) -> Outcome<bool> {
        let Work::BatchDelete(keys) = step.load.work else { return Ok(false) };
        self.batch_put(step.keys(keys), step.load.data.value(0)).await?;
        Ok(true)
    }

    async fn once(&self, step: Step<'_>, swapped: &mut bool) -> Outcome<()> {
        let data = &*step.load.data;
        let at = step.place();
        let (key, value) = (&data.keys[at], data.value(at));
        match step.load.work {
            Work::Get => expect(self.get(key).await? == value.len(), "a value's length"),
            Work::Put => self.put(key, value).await,
            Work::PutTtl => self.put_ttl(key, value, MINUTE).await,
            Work::PutIfAbsent => {
                let key = Key::new(format!("once:{}", data.fresh.fetch_add(1, Ordering::Relaxed)));
                expect(self.put_if_absent(&key, value, SOON).await?, "the key is new")
            }
            Work::Cas => {
                let (old, new) = (&data.values[usize::from(*swapped)], &data.values[usize::from(!*swapped)]);
                expect(self.swap(&data.swaps[step.task], old, new).await?, "nobody else swaps it")?;
                *swapped = !*swapped;
                Ok(())
            }
            Work::Increment => {
                self.increment(&data.counters[at % data.counters.len()], 1).await.map(|_count| ())
            }
            Work::BatchGet(keys) => {
                expect(self.batch_get(step.keys(keys)).await? == keys, "all keys are there")
            }
            Work::BatchPut(keys) => self.batch_put(step.keys(keys), data.value(step.round)).await,
            Work::BatchDelete(keys) => self.batch_delete(step.keys(keys)).await,
            Work::Lock => Err("a client of data has no locks".into()),
        }
    }
}

impl Step<'_> {
    /// The place of its key: tasks begin far from each other and walk on by steps of one.
    pub fn place(&self) -> usize {
        (self.task * 7_919 + self.round) % self.load.data.keys.len()
    }

    fn keys(&self, count: usize) -> &[Key] {
        let from = (self.task * 7_919 + self.round * count) % (self.load.data.keys.len() - count + 1);
        &self.load.data.keys[from..from + count]
    }
}

fn expect(holds: bool, what: &str) -> Outcome<()> {
    if holds { Ok(()) } else { Err(format!("not so: {what}").into()) }
}

impl Tally {
    fn fail(&mut self, answer: String) {
        self.failed += 1;
        self.failure.get_or_insert(answer);
    }
}

fn sample(
    load: &Load,
    tallies: Vec<Tally>,
    elapsed: Duration,
    own: Duration,
    served: Duration,
) -> Outcome<Sample> {
    let failed = tallies.iter().map(|tally| tally.failed).sum();
    let failure = tallies.iter().find_map(|tally| tally.failure.clone());
    let uncounted: Duration = tallies.iter().map(|tally| tally.uncounted).sum();
    let mut latencies: Vec<u32> = tallies.into_iter().flat_map(|tally| tally.latencies).collect();
    if latencies.is_empty() {
        return Err(format!("nothing succeeded: {}", failure.unwrap_or_default()).into());
    }
    let operations = (latencies.len() * load.work.keys()) as f64;
    let counted = elapsed - uncounted / load.tasks as u32;
    // Processor time cannot be told apart where only a part of the time counts.
    let per_operation = |time: Duration| uncounted.is_zero().then(|| time.as_secs_f64() * 1e6 / operations);
    Ok(Sample {
        value: operations / counted.as_secs_f64(),
        latency: Some([0.5, 0.99, 0.999].map(|share| f64::from(quantile(&mut latencies, share)) / 1e3)),
        client_cpu: per_operation(own),
        server_cpu: if load.servers.is_empty() { None } else { per_operation(served) },
        failed,
        failure,
    })
}
