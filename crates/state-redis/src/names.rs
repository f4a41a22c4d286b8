//! Other names of the backend, for code that moves over from the original design.

use crate::{RedisBackend, RedisConfig};

/// The backend under the name of the original design.
pub type EnterpriseRedisBackend = RedisBackend;

/// Its settings under the name of the original design.
pub type EnterpriseRedisConfig = RedisConfig;

/// The backend under the name of the original's first one.
pub type RedisStateBackend = RedisBackend;
