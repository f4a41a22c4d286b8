//! Snapshots, restores and copies at scale: 100,000 keys, or a million with `STATE_REDIS_LONG=1`, and both sides dying.
#![allow(clippy::print_stdout, reason = "figures, and what a child tells its parent")]

// From memory to Redis, from a standalone server to a cluster, in memory that does not grow with the data.
mod copies;
// Cut short half way by the death of a server, of the process, or of the future, and resumed.
mod resume;
// A transfer in a process of its own, which can be measured and killed.
mod child;
// What is transferred, and the check that it arrived.
mod data;
