#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod config;
mod error;
mod manager;

mod election;
mod guard;
mod lease;
mod renewal;
mod semaphore;
mod token;

mod acquire;
mod clock;
mod hold;
mod later;
mod queue;
mod quorum;
mod releaser;
mod vote;

mod claim;
mod kind;
mod members;
mod node;
mod observer;
mod subscriber;
mod wakeups;

#[cfg(feature = "redis")]
mod connection;
#[cfg(feature = "redis")]
mod native;
#[cfg(feature = "redis")]
mod redis_node;
#[cfg(feature = "redis")]
mod script;

pub use builder::ManagerBuilder;
pub use claim::{Claim, Mode, Place, Resource};
pub use config::{LockConfig, LockOptions, Renewal};
pub use election::{Election, Leadership};
pub use error::{Error, ErrorKind, NodeVerdict, Result, Verdict};
pub use guard::{Extension, Guard};
pub use hold::Outcome;
pub use kind::LockKind;
pub use lease::Lease;
pub use manager::{Holder, LockManager};
pub use node::{Fault, LockNode, NodeInfo, Standing, Vote};
pub use observer::{Observer, Operation};
pub use semaphore::Semaphore;
pub use subscriber::Subscriber;
pub use token::LockToken;

#[cfg(feature = "redis")]
pub use connection::Reconnecting;
#[cfg(feature = "redis")]
pub use redis_node::RedisNode;

pub use async_trait::async_trait;
pub use futures_util::stream::BoxStream;
#[cfg(feature = "redis")]
pub use redis;
