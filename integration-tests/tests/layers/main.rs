//! The layers of the facade, one by one and together, on real servers: each setting is kept, each promise is seen.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests panic, and figures are printed"
)]

// Values around the threshold, algorithms changed on live data, damaged members, dictionaries.
mod compression;
// Encrypted values: swaps, counters, rotation.
mod encryption;
// The breaker is consulted: opens, fails fast, lets probes through, closes.
mod breaker;
// Exact numbers of attempts, and the time they have.
mod attempts;
// What bounds and helps an operation: budget, rate limit, bulkhead, hedge, fallback.
mod guards;
// Locks on the backend's own servers and on a quorum.
mod locks;
// How the servers of a quorum are reached.
mod quorum;
// What metrics tell of each kind of lock.
mod lock_kinds;
// Connections of one's own, and what metrics tell of shared ones.
mod lend;
// What metrics tell of connections that subscribe.
mod subscribers;
// A server whose disk is full.
mod disk;
// What Prometheus is told.
mod metrics;
// Nothing secret in what is shown, logged and exported.
mod secrets;
// Behind sentinels: failover, replicas, confirmed writes.
mod sentinel;
// What is left behind: tasks, connections.
mod leaks;
// Each field of the settings has an effect.
mod settings;
mod support;
