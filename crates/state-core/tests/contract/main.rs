//! What users of the contract see: one binary, a topic a module.

// The conformance suite on the in-memory backend and on wrappers.
mod suite;
// Faults injected on purpose arrive as told.
mod faults;
// Read-modify-write and transfers when things go wrong.
mod comfort;
