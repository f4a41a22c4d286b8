//! The benchmarks against other clients: `cargo xtask bench`.
//!
//! A suite builds cases, a case runs its candidates in turn, round by round, and what they did becomes tables, a
//! page, a list and the verdict on the figures that were promised.

pub mod candidate;
pub mod candidates;
pub mod case;
pub mod charts;
pub mod child;
pub mod figures;
pub mod lab;
pub mod load;
pub mod machine;
pub mod page;
pub mod publish;
pub mod rounds;
pub mod stats;
pub mod suites;
pub mod summary;
pub mod table;
pub mod usage;
pub mod versions;

/// Whatever a client answers when it fails.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// What an operation of a client returns.
pub type Outcome<T> = Result<T, Fault>;
