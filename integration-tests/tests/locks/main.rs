//! Locks on real servers: what the crate promises, and the experiments E1 to E19 of docs/locks.md.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test program: figures are printed, failures panic"
)]

mod basics;
mod cancel;
mod child;
mod clocks;
mod cost;
mod crashes;
mod handoff;
mod leaders;
mod lines;
mod network;
mod pauses;
mod proxy;
mod server_faults;
mod sharded;
mod soak;
mod support;
mod topologies;
