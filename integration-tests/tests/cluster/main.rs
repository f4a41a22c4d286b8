//! redis-conn on real clusters: routing, slots that move, masters that die.
// Tests fail by panicking, and print their figures.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod access;
mod addresses;
mod answers;
mod concern;
mod dedicated;
mod moves;
mod notices;
mod outages;
mod replicas;
mod replies;
mod routing;
mod scan;
mod shard_channels;
mod support;
