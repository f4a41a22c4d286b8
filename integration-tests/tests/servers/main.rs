//! The servers library itself: what it starts, what its faults do, and that nothing stays behind.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use redis::AsyncConnectionConfig;

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

/// The client gives a server half a second, which a busy machine may not.
fn patient() -> AsyncConnectionConfig {
    let patience = Some(Duration::from_secs(30));
    AsyncConnectionConfig::new().set_connection_timeout(patience).set_response_timeout(patience)
}
