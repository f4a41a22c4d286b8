//! `RedisBackend` on real servers: the contract, what is special about Redis, and faults.

// The conformance suite, in every form a backend may be held in.
mod conformance;
// Wrong configuration and wrong input: typed errors that name what to do.
mod input;
// Other data types, and data of other clients.
mod foreign;
// What stands on the server: namespaces, patterns, locks beside data, TTLs in milliseconds.
mod keys;
// Batches as shorthands, and what they bring.
mod batches;
// Servers that forget, restart, hang, fill up or turn into replicas.
mod faults;
// Dedicated connections: warmed, bounded, waited for.
mod pool;
// Typed values: formats, schema versions, updates, in memory and on Redis.
mod support;
mod typed;
