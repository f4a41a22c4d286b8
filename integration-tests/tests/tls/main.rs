//! TLS, credentials and secrets of redis-conn, against real servers.

mod credentials;
mod handshake;
mod reload;
mod secrets;
mod support;
