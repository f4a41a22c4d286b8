//! A call that succeeds at its first attempt allocates nothing. A binary of its own, for its allocator.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::alloc::System;
use std::sync::Arc;

use state_resilience::{
    Attempt, BreakerConfig, BulkheadConfig, Hedge, Idempotency, Policy, RateLimitConfig, Registry,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::{Fault, classify, ms};
use tokio::time::Instant;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The fewest allocations of several rounds: the allocator counts for the whole process, and the test harness's own
/// thread may allocate during one of them. What a call allocates, it allocates in each.
struct Fewest(usize);

impl Fewest {
    const ROUNDS: usize = 5;

    fn new() -> Self {
        Self(usize::MAX)
    }

    fn note(&mut self, region: &Region<'_, System>) {
        self.0 = self.0.min(region.change().allocations);
    }
}

#[test]
fn the_happy_path_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let policy = Policy::standard("lean")
            .bulkhead(BulkheadConfig::default())
            .rate_limit(RateLimitConfig::default().with_rate(1_000_000_000, 1_000_000_000))
            .hedge(Arc::new(Hedge::new(ms(900)).unwrap()))
            .build()
            .unwrap();
        // Pending once, so that the timers are set: one for the hedge, or one for the attempt.
        let operation = |_: Attempt| async {
            tokio::task::yield_now().await;
            Ok::<_, Fault>(())
        };
        for idempotency in [Idempotency::Safe, Idempotency::Idempotent, Idempotency::Unsafe] {
            policy.run(idempotency, classify, operation).await.unwrap();
            let mut fewest = Fewest::new();
            for _ in 0..Fewest::ROUNDS {
                let region = Region::new(ALLOCATOR);
                for _ in 0..100 {
                    policy.run(idempotency, classify, operation).await.unwrap();
                }
                fewest.note(&region);
            }
            assert_eq!(fewest.0, 0, "{idempotency:?}");
        }
    });
    let now = Instant::now();
    let registry = Registry::new(BreakerConfig::default(), Arc::new(())).unwrap();
    registry.get("127.0.0.1:6379", now).unwrap();
    let mut fewest = Fewest::new();
    for _ in 0..Fewest::ROUNDS {
        let region = Region::new(ALLOCATOR);
        registry.get("127.0.0.1:6379", now).unwrap().admit_owned(now).unwrap().success(now);
        fewest.note(&region);
    }
    assert_eq!(fewest.0, 0, "asking the registry");
    let breaker = registry.get("127.0.0.1:6379", now).unwrap();
    breaker.force_open();
    let mut fewest = Fewest::new();
    for _ in 0..Fewest::ROUNDS {
        let region = Region::new(ALLOCATOR);
        breaker.admit(now).unwrap_err();
        fewest.note(&region);
    }
    assert_eq!(fewest.0, 0, "a rejection");
}
