#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
#[cfg(feature = "conformance")]
#[cfg_attr(docsrs, doc(cfg(feature = "conformance")))]
pub mod conformance;
mod error;
mod ext;
#[cfg(feature = "conformance")]
mod faulty;
mod fingerprints;
mod forward;
mod limits;
mod memory;
mod options;
mod transfer;

pub use crate::backend::{EntryStream, KeyStream, StateBackend};
pub use crate::error::{ErrorKind, StateError, StateResult};
pub use crate::ext::StateBackendExt;
#[cfg(feature = "conformance")]
#[cfg_attr(docsrs, doc(cfg(feature = "conformance")))]
pub use crate::faulty::{Fault, FaultyBackend, Operation};
pub use crate::fingerprints::Fingerprints;
pub use crate::limits::{
    DEFAULT_MAX_VALUE_LEN, KeyDigest, MAX_KEY_LEN, MAX_TTL, MAX_VALUE_LEN, check_key, check_prefix,
    check_scan, check_value, ttl_millis,
};
pub use crate::memory::{MemoryBackend, MemoryConfig};
pub use crate::options::{CasOutcome, Condition, Entry, Expiry, PutItem, PutOptions, ScanOptions, Ttl};
pub use crate::transfer::{Existing, Progress, RestoreMode, TransferOptions, TransferReport};
