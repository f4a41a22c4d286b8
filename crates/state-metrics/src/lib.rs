#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod binding;
mod config;
mod delta;
mod error;
mod events;
#[cfg(feature = "prometheus")]
mod exporter;
#[cfg(feature = "prometheus")]
mod health;
mod histogram;
mod hot_keys;
mod instruments;
mod key;
mod labels;
mod naming;
mod operation;
#[cfg(feature = "prometheus")]
mod prometheus;
mod publish;
mod reference;
#[cfg(feature = "prometheus")]
mod routes;
mod slow_log;
mod stats;
mod store;
mod stripe;
mod table;

pub use crate::config::{HotKeysConfig, InstrumentsConfig, Naming, Publishing, SlowLogConfig, Spans};
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::events::{Lock, PoolState};
#[cfg(feature = "prometheus")]
pub use crate::exporter::{Exporter, ExporterConfig};
#[cfg(feature = "prometheus")]
pub use crate::health::{AlwaysUp, Health, HealthSource};
pub use crate::histogram::HistogramSnapshot;
pub use crate::hot_keys::HotKey;
pub use crate::instruments::Instruments;
pub use crate::key::KeyDisplay;
pub use crate::labels::{
    BatchKind, BreakerState, Codec, ConnectionEvent, ErrorType, HedgeOutcome, LockEnd, LockKind, LockMode,
    LockOutcome, Lookup, LossReason, Op, Pool, Rejection, Status,
};
pub use crate::operation::{Operation, Outcome};
#[cfg(feature = "prometheus")]
pub use crate::prometheus::Prometheus;
pub use crate::reference::reference;
pub use crate::slow_log::SlowOperation;
pub use crate::stats::{
    BackendStats, BatchStats, ConnectionStats, LatencyStats, LockStats, OperationStats, PoolStats,
    ResilienceStats,
};
pub use crate::store::Endpoint;
pub use crate::table::{LATENCY_BUCKETS, LabelSet, MAX_ENDPOINTS, MetricKind, MetricSpec, MetricUnit, TABLE};
/// The facade crate of the recorders; a recorder has to be of this version.
pub use metrics;
