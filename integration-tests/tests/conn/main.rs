//! redis-conn on real servers, hurt for real.

mod basics;
mod batches;
mod faults;
mod pool;
mod support;
