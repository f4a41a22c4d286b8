#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod atomic;
mod backend;
mod batch;
mod builder;
mod clear;
mod config;
mod error;
mod exec;
mod health;
mod inherent;
mod keyspace;
mod mode;
mod open;
mod put;
mod reply;
mod scan;
mod script;
#[cfg(feature = "codec")]
mod typed;

pub use crate::backend::RedisBackend;
pub use crate::builder::RedisConfigBuilder;
pub use crate::config::RedisConfig;
pub use crate::keyspace::Layout;
pub use crate::mode::RedisMode;
pub use crate::open::open;
#[cfg(feature = "codec")]
#[cfg_attr(docsrs, doc(cfg(feature = "codec")))]
pub use crate::typed::SerializationFormat;
#[cfg(feature = "typed")]
#[cfg_attr(docsrs, doc(cfg(any(feature = "json", feature = "msgpack", feature = "postcard"))))]
pub use crate::typed::{Migration, Typed};

pub use redis_conn::Credentials;
pub use state_core::{
    CasOutcome, Condition, Entry, ErrorKind, Expiry, MemoryBackend, PutItem, PutOptions, ScanOptions,
    StateBackend, StateBackendExt, StateError, StateResult, Ttl,
};

/// Schema versions of typed records; the rest of the codec is [`state-codec`](https://docs.rs/state-codec).
#[cfg(feature = "typed")]
#[cfg_attr(docsrs, doc(cfg(any(feature = "json", feature = "msgpack", feature = "postcard"))))]
pub use state_codec::{NoPrevious, Versioned};

/// The contract, with everything around it: `state-core`.
pub use state_core as core;

/// The connection, on its own: `redis-conn`.
pub use redis_conn as conn;
