//! Counts what operations of one client allocate: `allocations CLIENT URL` prints a list in JSON.
//!
//! A program of its own, since an allocator that counts is slower.

use std::alloc::System;
use std::sync::Arc;

use peers::Outcome;
use peers::candidate::{Candidate, Key};
use peers::candidates::{self, Visitor};
use serde::Serialize;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::task::JoinSet;

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Operations of all tasks together.
const OPERATIONS: usize = 6_400;

#[derive(Serialize)]
struct Counted {
    work: &'static str,
    tasks: usize,
    allocations: f64,
    bytes: f64,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(url)) = (arguments.next(), arguments.next()) else {
        return Err("usage: allocations CLIENT URL".into());
    };
    let counted = candidates::connect(&name, &url, Count).await?;
    println!("{}", serde_json::to_string(&counted)?);
    Ok(())
}

struct Count;

impl Visitor for Count {
    type Output = Vec<Counted>;

    async fn visit<C: Candidate>(self, candidate: C) -> Outcome<Vec<Counted>> {
        let mut counted = Vec::new();
        for tasks in [1, 64] {
            for put in [false, true] {
                // The first time is not counted: buffers grow.
                run(&candidate, tasks, put).await?;
                let region = Region::new(COUNTING);
                run(&candidate, tasks, put).await?;
                let change = region.change();
                let per = |count: usize| count as f64 / OPERATIONS as f64;
                let (allocations, bytes) = (per(change.allocations), per(change.bytes_allocated));
                counted.push(Counted { work: if put { "put" } else { "get" }, tasks, allocations, bytes });
            }
        }
        Ok(counted)
    }
}

async fn run<C: Candidate>(candidate: &C, tasks: usize, put: bool) -> Outcome<()> {
    let key = Arc::new(Key::new("key:0000000"));
    let mut running = JoinSet::new();
    for _ in 0..tasks {
        let (candidate, key) = (candidate.clone(), Arc::clone(&key));
        running.spawn(async move {
            let value = [b'x'; 100];
            for _ in 0..OPERATIONS / tasks {
                if put {
                    candidate.put(&key, &value).await?;
                } else {
                    candidate.get(&key).await?;
                }
            }
            Outcome::Ok(())
        });
    }
    running.join_all().await.into_iter().collect()
}
