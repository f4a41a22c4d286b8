//! The servers library itself: what it starts, what its faults do, and that nothing stays behind.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

// One server is killed, frozen and restarted.
mod faults;
// The programs of this crate, and what they say when there is no server.
mod programs;
// Nothing stays behind, however a process that started servers ends.
mod leftovers;
// Sentinels and clusters come up ready, fail over and reshard.
mod topologies;
// TLS with client certificates, ACL users.
mod tls;
