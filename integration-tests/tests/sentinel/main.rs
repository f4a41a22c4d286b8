//! redis-conn behind Sentinel: real groups, failovers, partitions, sentinels that are down, slow, stale or lying.

mod access;
mod concern;
mod divided;
mod failover;
mod fake;
mod health;
mod judgement;
mod partition;
mod replicas;
mod support;
