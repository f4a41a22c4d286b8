//! The conformance suite on the in-memory backend, bare and behind everything that may wrap a backend.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use state_core::{
    CasOutcome, EntryStream, Expiry, FaultyBackend, KeyStream, MemoryBackend, PutOptions, ScanOptions,
    StateBackend, StateResult, conformance,
};

#[tokio::test(start_paused = true)]
async fn memory_conforms() {
    conformance::run_all(Arc::new(MemoryBackend::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_conforms_in_real_time_on_several_threads() {
    conformance::run_all(Arc::new(MemoryBackend::new())).await;
}

#[tokio::test(start_paused = true)]
async fn pointers_to_trait_objects_conform() {
    let shared: Arc<dyn StateBackend> = Arc::new(MemoryBackend::new());
    let boxed: Box<dyn StateBackend> = Box::new(shared);
    conformance::run_all(Arc::new(boxed)).await;
}

#[tokio::test(start_paused = true)]
async fn a_faulty_backend_without_faults_conforms() {
    conformance::run_all(Arc::new(FaultyBackend::new(MemoryBackend::new()))).await;
}

#[tokio::test(start_paused = true)]
async fn the_default_bodies_conform() {
    conformance::run_all(Arc::new(RequiredOnly(MemoryBackend::new()))).await;
}

#[tokio::test(start_paused = true)]
async fn two_backends_are_two_namespaces() {
    conformance::namespaces_do_not_touch(&MemoryBackend::new(), &MemoryBackend::new()).await;
}

#[tokio::test]
#[should_panic(expected = "the caller left keys behind")]
async fn the_suite_refuses_a_backend_that_holds_data() {
    let backend = MemoryBackend::new();
    backend.put(b"precious", b"data").await.unwrap();
    conformance::run_all(Arc::new(backend)).await;
}

/// Forwards what the trait requires and nothing else, as the laziest of wrappers would.
struct RequiredOnly(MemoryBackend);

#[async_trait]
impl StateBackend for RequiredOnly {
    async fn get(&self, key: &[u8]) -> StateResult<Option<Vec<u8>>> {
        self.0.get(key).await
    }

    async fn delete(&self, key: &[u8]) -> StateResult<()> {
        self.0.delete(key).await
    }

    async fn clear(&self) -> StateResult<()> {
        self.0.clear().await
    }

    async fn contains(&self, key: &[u8]) -> StateResult<bool> {
        self.0.contains(key).await
    }

    async fn put_with(&self, key: &[u8], value: &[u8], options: PutOptions) -> StateResult<bool> {
        self.0.put_with(key, value, options).await
    }

    async fn get_and_delete(&self, key: &[u8]) -> StateResult<Option<Vec<u8>>> {
        self.0.get_and_delete(key).await
    }

    async fn compare_and_swap(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> StateResult<CasOutcome> {
        self.0.compare_and_swap(key, expected, new).await
    }

    async fn increment(&self, key: &[u8], delta: i64) -> StateResult<i64> {
        self.0.increment(key, delta).await
    }

    async fn ttl(&self, key: &[u8]) -> StateResult<Expiry> {
        self.0.ttl(key).await
    }

    async fn expire(&self, key: &[u8], ttl: Duration) -> StateResult<bool> {
        self.0.expire(key, ttl).await
    }

    async fn persist(&self, key: &[u8]) -> StateResult<bool> {
        self.0.persist(key).await
    }

    fn scan(&self, prefix: &[u8], options: ScanOptions) -> KeyStream<'_> {
        self.0.scan(prefix, options)
    }

    fn scan_entries(&self, prefix: &[u8], options: ScanOptions) -> EntryStream<'_> {
        self.0.scan_entries(prefix, options)
    }

    async fn health_check(&self) -> StateResult<bool> {
        self.0.health_check().await
    }
}
