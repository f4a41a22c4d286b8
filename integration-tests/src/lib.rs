//! Real Redis servers for tests: started, hurt and cleaned up.
#![forbid(unsafe_code)]
