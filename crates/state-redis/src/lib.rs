#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod contract;
mod inherent;
mod names;
mod once;
mod open;
mod report;

mod builder;
mod config;
#[cfg(feature = "serde")]
mod env;
#[cfg(feature = "serde")]
mod file;
mod format;
mod mode;
#[cfg(feature = "serde")]
mod reference;
#[cfg(feature = "serde")]
mod settings;
#[cfg(feature = "serde")]
mod text;
mod validate;

#[cfg(all(
    test,
    feature = "tls",
    feature = "codec",
    feature = "encrypt",
    feature = "resilience",
    feature = "metrics",
    feature = "locks"
))]
mod covered;

mod exec;
mod operation;

mod error;
mod reply;

mod atomic;
mod batch;
mod clear;
mod health;
mod keyspace;
mod many_keys;
mod put;
mod records;
mod scan;
mod script;

#[cfg(feature = "typed")]
mod typed;

#[cfg(feature = "codec")]
mod dictionaries;
#[cfg(feature = "codec")]
mod values;
#[cfg(not(feature = "codec"))]
#[path = "values_off.rs"]
mod values;

#[cfg(feature = "resilience")]
mod breakers;
#[cfg(feature = "resilience")]
mod classify;
#[cfg(feature = "resilience")]
mod policy;
#[cfg(not(feature = "resilience"))]
#[path = "policy_off.rs"]
mod policy;

#[cfg(feature = "metrics")]
mod instruments;
#[cfg(not(feature = "metrics"))]
#[path = "instruments_off.rs"]
mod instruments;
mod observe;

#[cfg(feature = "locks")]
mod late;
#[cfg(feature = "locks")]
mod lock_subscriber;
#[cfg(feature = "locks")]
mod lock_watcher;
#[cfg(feature = "locks")]
mod locks;
#[cfg(feature = "locks")]
mod quorum;

pub use crate::backend::RedisBackend;
pub use crate::builder::RedisConfigBuilder;
pub use crate::config::RedisConfig;
pub use crate::format::SerializationFormat;
pub use crate::keyspace::Layout;
pub use crate::mode::RedisMode;
pub use crate::names::{EnterpriseRedisBackend, EnterpriseRedisConfig, RedisStateBackend};
pub use crate::once::{MAX_ID_LEN, Once};
pub use crate::open::open;
pub use crate::operation::Idempotency;
pub use crate::report::{BackendHealth, Layer, LayerHealth};
#[cfg(feature = "typed")]
#[cfg_attr(docsrs, doc(cfg(any(feature = "json", feature = "msgpack", feature = "postcard"))))]
pub use crate::typed::{Migration, Typed};

pub use redis_conn::{Credentials, HealthStatus, ReadFrom, WriteConcern};
#[cfg(feature = "locks")]
pub use redlock::{Guard as RedlockGuard, LockManager};
#[cfg(feature = "codec")]
pub use state_codec::Compression as CompressionAlgorithm;
pub use state_core::{
    CasOutcome, Condition, Entry, ErrorKind, Expiry, MemoryBackend, PutItem, PutOptions, ScanOptions,
    StateBackend, StateBackendExt, StateError, StateResult, Ttl,
};
#[cfg(feature = "metrics")]
pub use state_metrics::{BackendStats, Instruments as RedisMetrics};

/// Schema versions of typed records; the rest of the codec is [`state-codec`](https://docs.rs/state-codec).
#[cfg(feature = "typed")]
#[cfg_attr(docsrs, doc(cfg(any(feature = "json", feature = "msgpack", feature = "postcard"))))]
pub use state_codec::{NoPrevious, Versioned};

/// redis-rs, for the commands that [`RedisBackend::command`] and dedicated connections take.
pub use redis;

/// The contract, with everything around it: `state-core`.
pub use state_core as core;

/// The connection, on its own: `redis-conn`.
pub use redis_conn as conn;

/// The codec, on its own: `state-codec`.
#[cfg(feature = "codec")]
pub use state_codec as codec;

/// Policies, on their own: `state-resilience`.
#[cfg(feature = "resilience")]
pub use state_resilience as resilience;

/// The instruments and the exporter, on their own: `state-metrics`.
#[cfg(feature = "metrics")]
pub use state_metrics as metrics;

/// Distributed locks, on their own: `redlock`.
#[cfg(feature = "locks")]
pub use redlock;
