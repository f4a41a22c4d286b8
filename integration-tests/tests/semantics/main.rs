//! What `docs/semantics.md` promises of `RedisBackend`, and what it is tested with.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests panic, and figures are printed"
)]

// Operations with an id: what they return, and when they refuse.
mod once;
// The same through lost replies, kills, failovers and moving slots.
mod once_faults;
// Health by layer, figures, gauges, readiness.
mod report;
// What is left of a backend that was closed or dropped.
mod shutdown;
// The documented ACL rules, exactly.
mod rights;
// The document itself: the tests it names exist.
mod document;
mod support;
