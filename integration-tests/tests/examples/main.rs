//! Every example of `state-redis`, run as a stranger would run it, on servers that are started for it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests panic, and show what programs print"
)]

// Each of them, to its end.
mod runs;
// The web service: requests, refusals while the server is gone, a graceful end.
mod service;
mod support;
