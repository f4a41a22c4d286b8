//! What a user of the crate can rely on, through its public names only.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

mod dictionary;
mod encoding;
#[cfg(feature = "encrypt")]
mod encryption;
mod formats;
#[cfg(feature = "encrypt")]
mod golden;
#[cfg(feature = "encrypt")]
mod golden_set;
mod hostile;
mod round_trip;
mod schema;
