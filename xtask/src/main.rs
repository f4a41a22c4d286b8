//! The workspace's commands.
#![forbid(unsafe_code)]
fn main() {}
