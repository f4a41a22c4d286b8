//! The servers library itself: what it starts, what its faults do, and that nothing stays behind.

// One server is killed, frozen and restarted.
mod faults;
// Sentinels and clusters come up ready, fail over and reshard.
mod topologies;
// TLS with client certificates, ACL users.
mod tls;
