//! The stored envelope as others see it: a reader in Python, and a script inside Redis.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod python;
mod script;

use std::path::PathBuf;

/// The workspace's root.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The golden files of `state-codec`.
fn golden() -> PathBuf {
    root().join("crates/state-codec/tests/golden")
}
