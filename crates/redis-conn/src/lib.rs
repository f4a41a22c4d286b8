#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backoff;
mod budget;
mod classify;
mod cluster;
mod config;
mod conn;
mod credentials;
mod dedicated;
mod dial;
mod endpoint;
mod errand;
mod error;
mod events;
mod gather;
mod ground;
mod group;
mod guard;
mod handshake;
mod health;
mod launch;
mod link;
mod mux;
mod node;
mod observe;
mod options;
mod outbox;
mod pick;
mod pool;
mod pubsub;
mod pump;
mod queue;
mod reader;
mod reauth;
mod reply;
mod request;
mod resp;
mod routing;
mod scan;
mod sentinel;
mod setters;
mod setup;
mod shards;
mod slot;
mod slots;
mod stream;
mod supervisor;
#[cfg(feature = "tls")]
mod tls;
mod topology;
mod typed;
mod url;
mod wait;
mod watch;

pub use config::{Backoff, Batching, Config, KeepAlive, Pooling, Protocol, Servers, Tcp};
pub use conn::Conn;
pub use credentials::{Credentials, CredentialsProvider};
pub use dedicated::Dedicated;
pub use endpoint::{AddressMap, Endpoint};
pub use error::{Class, Error, ErrorKind, Result};
pub use events::{DownReason, Event, Events, State};
pub use handshake::Role;
pub use health::{Duty, Health, HealthReason, HealthStatus, NodeHealth};
pub use observe::{BatchKind, EndpointGate, Observer, Outcome, Permit, Settle};
pub use options::{Condition, Expiry, SetOptions};
pub use pool::PoolStats;
pub use pubsub::{Notice, Subscription};
pub use reader::ReadFrom;
pub use scan::{Scan, ScanOptions};
pub use sentinel::SentinelSettings;
pub use slots::slot_of;
#[cfg(feature = "tls")]
pub use tls::{Identity, Pem, Tls};
pub use wait::WriteConcern;
