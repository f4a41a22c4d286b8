//! Real Redis servers for tests: started, hurt and cleaned up.
//!
//! ```
//! # async fn example() {
//! let server = integration_tests::Server::start().await;
//! println!("{} is process {:?}", server.url(), server.pid());
//! server.kill();
//! server.restart().await;
//! # }
//! ```
#![forbid(unsafe_code)]

mod binary;
mod cluster;
mod cluster_view;
mod config;
mod janitor;
mod masters;
mod network;
mod port;
pub mod proxy;
mod sentinel;
mod server;
mod slots;
mod tls;
mod wait;

pub use crate::{
    binary::server_binary,
    cluster::{Cluster, ClusterConfig},
    config::ServerConfig,
    masters::independent_masters,
    network::{Wire, may_create_networks},
    port::Port,
    sentinel::{SentinelConfig, SentinelGroup},
    server::{READY_WITHIN, Server},
    slots::{SLOTS, slot_of, tag_for},
    tls::{Certificates, Identity},
    wait::{eventually, long, margin},
};

/// The examples of the workspace's README, as doctests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
