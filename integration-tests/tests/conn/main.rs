//! redis-conn on real servers, hurt for real.

mod basics;
mod faults;
mod support;
