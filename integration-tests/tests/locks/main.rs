//! Locks on real servers: what the crate promises, and the experiments E1 to E19 of docs/locks.md.

mod basics;
mod support;
