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
mod config;
mod janitor;
mod port;
pub mod proxy;
mod server;
mod tls;
mod wait;

pub use crate::{
    binary::server_binary,
    config::ServerConfig,
    port::Port,
    server::{READY_WITHIN, Server},
    tls::{Certificates, Identity},
    wait::eventually,
};
