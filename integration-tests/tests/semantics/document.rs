//! The document itself.
