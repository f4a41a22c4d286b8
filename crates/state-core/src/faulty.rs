//! A wrapper that fails on purpose, for tests of what stands above a backend.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::{
    CasOutcome, EntryStream, Expiry, KeyStream, PutItem, PutOptions, ScanOptions, StateBackend, StateError,
    StateResult,
};

mod fault;

pub use crate::faulty::fault::{Fault, Operation};
use crate::faulty::fault::{Plan, Timing};

/// A backend that delays, refuses or loses the answers of another one, as told.
///
/// Each call of an operation, each item of a batch and each item of a scan counts as one call.
/// Faults are looked at in the order of their injection; each that matches adds its delay, and the first error wins.
///
/// ```
/// # use state_core::{ErrorKind, Fault, FaultyBackend, MemoryBackend, Operation, StateBackend};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let backend = FaultyBackend::new(MemoryBackend::new());
/// backend.inject(Fault::error(ErrorKind::Unavailable).on(Operation::Get).times(2));
/// assert!(backend.get(b"key").await.is_err());
/// assert!(backend.get(b"key").await.is_err());
/// assert!(backend.get(b"key").await.is_ok());
/// assert_eq!(backend.calls(Operation::Get), 3);
/// # }
/// ```
pub struct FaultyBackend<B> {
    inner: B,
    script: Mutex<Script>,
}

struct Script {
    faults: Vec<Fault>,
    calls: HashMap<Operation, u64>,
    random: StdRng,
}

impl<B: StateBackend> FaultyBackend<B> {
    /// Wraps `inner` without any fault yet; the dice of [`Fault::with_probability`] are seeded with 0.
    pub fn new(inner: B) -> Self {
        Self::with_seed(inner, 0)
    }

    /// Wraps `inner` with dice seeded by `seed`.
    pub fn with_seed(inner: B, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { inner, script: Mutex::new(Script { faults: Vec::new(), calls: HashMap::new(), random }) }
    }

    /// Adds a fault.
    pub fn inject(&self, fault: Fault) {
        self.script.lock().faults.push(fault);
    }

    /// Removes all faults; the counts stay.
    pub fn heal(&self) {
        self.script.lock().faults.clear();
    }

    /// How often `operation` was called, refused calls included.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.script.lock().calls.get(&operation).copied().unwrap_or(0)
    }

    /// The wrapped backend.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    fn plan(&self, operation: Operation) -> Plan {
        let script = &mut *self.script.lock();
        *script.calls.entry(operation).or_default() += 1;
        let mut plan = Plan::default();
        for fault in &mut script.faults {
            if fault.strikes(operation, || script.random.random::<f64>()) {
                plan.add(fault);
            }
        }
        plan
    }

    async fn run<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = StateResult<T>>,
    ) -> StateResult<T> {
        let plan = self.plan(operation);
        plan.wait().await;
        match plan.error {
            Some((Timing::Before, error)) => Err(error),
            Some((Timing::After, error)) => call.await.and(Err(error)),
            None => call.await,
        }
    }

    /// Runs the items that no fault refuses as one smaller batch, and puts the results together again.
    async fn run_batch<I: Copy, T, F>(
        &self,
        operation: Operation,
        items: &[I],
        call: impl FnOnce(Vec<I>) -> F,
    ) -> Vec<StateResult<T>>
    where
        F: Future<Output = Vec<StateResult<T>>>,
    {
        let plans: Vec<Plan> = items.iter().map(|_| self.plan(operation)).collect();
        let longest = plans.iter().map(|plan| plan.delay).max().unwrap_or_default();
        Plan { delay: longest, error: None }.wait().await;
        let passed = items.iter().zip(&plans).filter(|(_, plan)| !plan.refuses()).map(|(item, _)| *item);
        let mut answers = call(passed.collect()).await.into_iter();
        let mut answer = |plan: Plan| match plan.error {
            Some((Timing::Before, error)) => Err(error),
            Some((Timing::After, error)) => next_answer(&mut answers).and(Err(error)),
            None => next_answer(&mut answers),
        };
        plans.into_iter().map(&mut answer).collect()
    }

    /// Lets each item of `items` pass through the faults; the first injected error ends the stream.
    fn run_stream<'a, T: Send + 'a>(
        &'a self,
        operation: Operation,
        items: BoxStream<'a, StateResult<T>>,
    ) -> BoxStream<'a, StateResult<T>> {
        stream::unfold(Some(items), move |items| async move {
            let mut items = items?;
            let plan = self.plan(operation);
            plan.wait().await;
            match plan.error {
                Some((_, error)) => Some((Err(error), None)),
                None => items.next().await.map(|item| (item, Some(items))),
            }
        })
        .boxed()
    }
}

fn next_answer<T>(answers: &mut impl Iterator<Item = StateResult<T>>) -> StateResult<T> {
    answers.next().unwrap_or_else(|| {
        Err(StateError::new(crate::ErrorKind::Internal, "the wrapped backend answered too few items"))
    })
}

impl<B: std::fmt::Debug> std::fmt::Debug for FaultyBackend<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let script = self.script.lock();
        f.debug_struct("FaultyBackend").field("inner", &self.inner).field("faults", &script.faults).finish()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<B: StateBackend> StateBackend for FaultyBackend<B> {
    async fn get(&self, key: &[u8]) -> StateResult<Option<Vec<u8>>> {
        self.run(Operation::Get, self.inner.get(key)).await
    }

    async fn put(&self, key: &[u8], value: &[u8]) -> StateResult<()> {
        self.run(Operation::Put, self.inner.put(key, value)).await
    }

    async fn delete(&self, key: &[u8]) -> StateResult<()> {
        self.run(Operation::Delete, self.inner.delete(key)).await
    }

    async fn list_keys(&self, prefix: &[u8]) -> StateResult<Vec<Vec<u8>>> {
        self.run(Operation::ListKeys, self.inner.list_keys(prefix)).await
    }

    async fn clear(&self) -> StateResult<()> {
        self.run(Operation::Clear, self.inner.clear()).await
    }

    async fn count(&self) -> StateResult<usize> {
        self.run(Operation::Count, self.inner.count()).await
    }

    async fn contains(&self, key: &[u8]) -> StateResult<bool> {
        self.run(Operation::Contains, self.inner.contains(key)).await
    }

    async fn put_with(&self, key: &[u8], value: &[u8], options: PutOptions) -> StateResult<bool> {
        self.run(Operation::PutWith, self.inner.put_with(key, value, options)).await
    }

    async fn get_and_delete(&self, key: &[u8]) -> StateResult<Option<Vec<u8>>> {
        self.run(Operation::GetAndDelete, self.inner.get_and_delete(key)).await
    }

    async fn compare_and_swap(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> StateResult<CasOutcome> {
        self.run(Operation::CompareAndSwap, self.inner.compare_and_swap(key, expected, new)).await
    }

    async fn increment(&self, key: &[u8], delta: i64) -> StateResult<i64> {
        self.run(Operation::Increment, self.inner.increment(key, delta)).await
    }

    async fn ttl(&self, key: &[u8]) -> StateResult<Expiry> {
        self.run(Operation::Ttl, self.inner.ttl(key)).await
    }

    async fn expire(&self, key: &[u8], ttl: Duration) -> StateResult<bool> {
        self.run(Operation::Expire, self.inner.expire(key, ttl)).await
    }

    async fn persist(&self, key: &[u8]) -> StateResult<bool> {
        self.run(Operation::Persist, self.inner.persist(key)).await
    }

    async fn batch_get(&self, keys: &[&[u8]]) -> Vec<StateResult<Option<Vec<u8>>>> {
        self.run_batch(Operation::BatchGet, keys, async |keys| self.inner.batch_get(&keys).await).await
    }

    async fn batch_put(&self, items: &[PutItem<'_>]) -> Vec<StateResult<()>> {
        self.run_batch(Operation::BatchPut, items, async |items| self.inner.batch_put(&items).await).await
    }

    async fn batch_put_if_absent(&self, items: &[PutItem<'_>]) -> Vec<StateResult<bool>> {
        let call = async |items: Vec<PutItem<'_>>| self.inner.batch_put_if_absent(&items).await;
        self.run_batch(Operation::BatchPutIfAbsent, items, call).await
    }

    async fn batch_delete(&self, keys: &[&[u8]]) -> Vec<StateResult<()>> {
        self.run_batch(Operation::BatchDelete, keys, async |keys| self.inner.batch_delete(&keys).await).await
    }

    fn scan(&self, prefix: &[u8], options: ScanOptions) -> KeyStream<'_> {
        self.run_stream(Operation::Scan, self.inner.scan(prefix, options))
    }

    fn scan_entries(&self, prefix: &[u8], options: ScanOptions) -> EntryStream<'_> {
        self.run_stream(Operation::ScanEntries, self.inner.scan_entries(prefix, options))
    }

    async fn health_check(&self) -> StateResult<bool> {
        self.run(Operation::HealthCheck, self.inner.health_check()).await
    }
}
