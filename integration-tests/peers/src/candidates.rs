//! The clients, each behind [`Candidate`](crate::candidate::Candidate).

mod fred;
mod one_by_one;
mod ours;
mod redis_rs;
mod rustis;

pub use fred::Fred;
pub use one_by_one::OneByOne;
pub use ours::{Algorithm, Layers, Ours, connect as connect_ours};
pub use redis_rs::{
    Borrow, Own, Pool, RedisRs, baseline, cluster, defaults, manager, pool_bb8, pool_deadpool,
};
pub use rustis::Rustis;

use crate::Outcome;
use crate::candidate::{Candidate, fault};

/// Our candidate.
pub const OURS: &str = "state-redis";
/// The baseline: redis-rs with the socket options that we set.
pub const BASELINE: &str = "redis-rs";
/// redis-rs as it comes: Nagle's algorithm on.
pub const DEFAULTS: &str = "redis-rs (defaults)";
/// The baseline on a cluster.
pub const CLUSTER: &str = "redis-rs cluster_async";
/// Single operations, awaited one after the other, where others send a batch.
pub const ONE_BY_ONE: &str = "state-redis (one by one)";

/// Every client for one server, and the package whose version it has.
pub const ALL: [(&str, &str); 8] = [
    (OURS, "state-redis"),
    (BASELINE, "redis"),
    (DEFAULTS, "redis"),
    ("ConnectionManager", "redis"),
    ("fred", "fred"),
    ("rustis", "rustis"),
    ("deadpool-redis", "deadpool-redis"),
    ("bb8-redis", "bb8-redis"),
];

/// Something that is done with a client, whichever it is.
pub trait Visitor: Send {
    /// What comes of it.
    type Output;
    /// Does it.
    fn visit<C: Candidate>(self, candidate: C) -> impl Future<Output = Outcome<Self::Output>> + Send;
}

/// Connects the client `name` to the server at `url`, and shows it to `visitor`.
///
/// # Errors
/// When there is none of that name, when it cannot connect, and those of the visitor.
pub async fn connect<V: Visitor>(name: &str, url: &str, visitor: V) -> Outcome<V::Output> {
    match name {
        OURS => visitor.visit(connect_ours(url, Layers::ALL).await?).await,
        BASELINE => visitor.visit(baseline(url).await?).await,
        DEFAULTS => visitor.visit(defaults(url).await?).await,
        "ConnectionManager" => visitor.visit(manager(url).await?).await,
        "fred" => visitor.visit(Fred::connect(url).await?).await,
        "rustis" => visitor.visit(Rustis::connect(url).await?).await,
        "deadpool-redis" => visitor.visit(pool_deadpool(url).await?).await,
        "bb8-redis" => visitor.visit(pool_bb8(url).await?).await,
        unknown => fault(format!("no client is named {unknown}")),
    }
}
