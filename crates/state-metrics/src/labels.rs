//! The closed label sets: every value a label can take is a variant here, so that no key, address or message
//! ever becomes a label value.

use serde::{Deserialize, Serialize};

/// Declares an enum whose variants are the values of one label.
macro_rules! label_set {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+ }

        impl $name {
            /// Every variant, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            pub(crate) const NAMES: &'static [&'static str] = &[$($text,)+];

            /// The label value, as exported.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                Self::NAMES[self as usize]
            }
        }
    };
}

label_set! {
    /// What a caller asked of the state layer (label `operation`).
    Op {
        /// Read one value.
        Get = "get",
        /// Write one value.
        Put = "put",
        /// Write one value with a time to live or a condition.
        PutWith = "put_with",
        /// Remove one key.
        Delete = "delete",
        /// Read and remove one key.
        GetAndDelete = "get_and_delete",
        /// Ask whether a key exists.
        Contains = "contains",
        /// Replace a value if it is the expected one.
        CompareAndSwap = "compare_and_swap",
        /// Add to a counter.
        Increment = "increment",
        /// Read a time to live.
        Ttl = "ttl",
        /// Set a time to live.
        Expire = "expire",
        /// Remove a time to live.
        Persist = "persist",
        /// Read many values.
        BatchGet = "batch_get",
        /// Write many values.
        BatchPut = "batch_put",
        /// Write those of many values that are absent.
        BatchPutIfAbsent = "batch_put_if_absent",
        /// Remove many keys.
        BatchDelete = "batch_delete",
        /// Collect the keys under a prefix.
        ListKeys = "list_keys",
        /// Stream keys or entries under a prefix.
        Scan = "scan",
        /// Stream entries under a prefix.
        ScanEntries = "scan_entries",
        /// Count keys.
        Count = "count",
        /// Remove every key of the namespace.
        Clear = "clear",
        /// Write a snapshot of the namespace.
        Snapshot = "snapshot",
        /// Restore a snapshot.
        Restore = "restore",
        /// Ask the server whether it serves.
        HealthCheck = "health_check",
        /// Acquire a lock.
        LockAcquire = "lock_acquire",
        /// Extend a lock.
        LockExtend = "lock_extend",
        /// Release a lock.
        LockRelease = "lock_release",
        /// Any other command or script.
        Command = "command",
    }
}

label_set! {
    /// How an operation ended (label `status`).
    Status {
        /// It did what was asked; a miss is a success.
        Success = "success",
        /// It failed; `error_type` of the errors counter says why.
        Error = "error",
        /// The caller dropped it before it ended.
        Cancelled = "cancelled",
    }
}

label_set! {
    /// Why an operation failed (label `error_type`).
    ErrorType {
        /// A setting is wrong.
        InvalidConfig = "invalid_config",
        /// The caller's input is wrong.
        InvalidInput = "invalid_input",
        /// No connection to the server, or the server refuses to serve.
        Unavailable = "unavailable",
        /// A deadline passed.
        Timeout = "timeout",
        /// The circuit breaker refused the call.
        CircuitOpen = "circuit_open",
        /// A queue, bulkhead, rate limit or retry budget refused the call.
        Overloaded = "overloaded",
        /// Somebody else holds the lock.
        LockHeld = "lock_held",
        /// The lock was lost while held.
        LockLost = "lock_lost",
        /// The server accepts no writes.
        ReadOnly = "read_only",
        /// Credentials are missing, wrong or not sufficient.
        Auth = "auth",
        /// Stored bytes cannot be decoded.
        Corrupt = "corrupt",
        /// A key, value or batch is beyond its limit.
        TooLarge = "too_large",
        /// Concurrent writers kept winning, or an expected value did not hold.
        Conflict = "conflict",
        /// The stored type is another.
        WrongType = "wrong_type",
        /// A counter would leave its range.
        OutOfRange = "out_of_range",
        /// The backend cannot do this.
        Unsupported = "unsupported",
        /// A file cannot be read or written.
        Io = "io",
        /// The backend was closed by its owner.
        Closed = "closed",
        /// A defect.
        Internal = "internal",
    }
}

impl ErrorType {
    /// Whether the service failed the caller, as opposed to refusing what it was asked.
    ///
    /// The error budget counts only these: contention on a lock or a lost compare-and-swap is an answer.
    #[must_use]
    pub const fn is_service_fault(self) -> bool {
        !matches!(
            self,
            Self::InvalidConfig
                | Self::InvalidInput
                | Self::LockHeld
                | Self::TooLarge
                | Self::Conflict
                | Self::WrongType
                | Self::OutOfRange
                | Self::Closed
                | Self::Unsupported
        )
    }
}

label_set! {
    /// Whether a read found its key (label `result`).
    Lookup {
        /// The key was there.
        Hit = "hit",
        /// The key was absent.
        Miss = "miss",
    }
}

label_set! {
    /// Which connections a pool figure is about (label `pool`).
    Pool {
        /// Multiplexed connections that all commands share.
        Shared = "shared",
        /// Connections lent to one caller at a time.
        Dedicated = "dedicated",
        /// Connections that subscribe; one that is kept for the next subscription is among them.
        PubSub = "pubsub",
    }
}

label_set! {
    /// A compression algorithm (label `codec`).
    Codec {
        /// LZ4 block format.
        Lz4 = "lz4",
        /// Snappy raw format.
        Snappy = "snappy",
        /// Zstandard.
        Zstd = "zstd",
    }
}

label_set! {
    /// The state of a circuit breaker (label `state`; the state gauge shows the position in this list, from 0).
    BreakerState {
        /// Calls pass.
        Closed = "closed",
        /// Calls are refused.
        Open = "open",
        /// A few probes pass.
        HalfOpen = "half_open",
        /// Calls pass and nothing is counted.
        Disabled = "disabled",
        /// Calls are refused by an operator's order.
        ForcedOpen = "forced_open",
        /// Calls pass, failures are counted, nothing opens.
        MetricsOnly = "metrics_only",
    }
}

label_set! {
    /// What happened to a connection or a topology (label `event`).
    ConnectionEvent {
        /// A connection is up.
        Connected = "connected",
        /// An attempt to connect failed.
        ConnectFailed = "connect_failed",
        /// A group has another master.
        MasterSwitched = "master_switched",
        /// A cluster's slots or nodes changed.
        TopologyChanged = "topology_changed",
        /// Credentials were read again.
        CredentialsRotated = "credentials_rotated",
    }
}

label_set! {
    /// Why a connection was given up (label `reason`).
    LossReason {
        /// The peer closed it, or reading or writing failed.
        Lost = "lost",
        /// A request stayed unanswered and nothing arrived.
        Stalled = "stalled",
        /// The node is not the master.
        WrongRole = "wrong_role",
        /// The server no longer accepts the credentials.
        Auth = "auth",
        /// The master is another node now.
        Switched = "switched",
        /// The owner closed it.
        Closed = "closed",
    }
}

label_set! {
    /// What refused a call before it was sent (label `reason`).
    Rejection {
        /// The circuit breaker is open.
        CircuitOpen = "circuit_open",
        /// The bulkhead is full.
        Bulkhead = "bulkhead",
        /// The rate limit is reached.
        RateLimit = "rate_limit",
        /// The send queue is full.
        QueueFull = "queue_full",
        /// The retry budget is exhausted, so a retry or hedge was not made.
        RetryBudget = "retry_budget",
    }
}

label_set! {
    /// What became of a hedged request (label `outcome`).
    HedgeOutcome {
        /// The hedge answered first.
        Won = "won",
        /// The first request answered first.
        Lost = "lost",
    }
}

label_set! {
    /// What a batch held (label `kind`).
    BatchKind {
        /// Reads only.
        Read = "read",
        /// Writes only.
        Write = "write",
        /// Both.
        Mixed = "mixed",
    }
}

label_set! {
    /// Who grants a lock (label `mode`).
    LockMode {
        /// One authority.
        Single = "single",
        /// A majority of independent nodes.
        Quorum = "quorum",
    }
}

label_set! {
    /// What kind of lock (label `kind`).
    LockKind {
        /// One holder.
        Mutex = "mutex",
        /// Shared with other readers.
        Read = "read",
        /// Excludes readers and writers.
        Write = "write",
        /// A permit out of several.
        Semaphore = "semaphore",
        /// Several resources at once.
        Multi = "multi",
        /// Leadership.
        Leader = "leader",
    }
}

label_set! {
    /// How an attempt to acquire a lock ended (label `outcome`).
    LockOutcome {
        /// The lock was granted.
        Acquired = "acquired",
        /// Somebody else held it, and the caller did not wait.
        Held = "held",
        /// The caller's wait ended without the lock.
        TimedOut = "timed_out",
        /// The authority could not be asked.
        Failed = "failed",
    }
}

label_set! {
    /// What a release found (label `outcome`).
    LockEnd {
        /// The lock was ours and is released.
        Released = "released",
        /// It had expired, and nobody held it.
        AlreadyExpired = "already_expired",
        /// Somebody else holds it.
        Stolen = "stolen",
        /// The authority could not be asked.
        Unknown = "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_snake_case_and_serialize_as_exported() {
        for (index, op) in Op::ALL.iter().enumerate() {
            assert_eq!(*op as usize, index);
            assert!(op.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            assert_eq!(serde_json::to_string(op).unwrap(), format!("\"{}\"", op.as_str()));
        }
    }

    #[test]
    fn contention_is_not_a_service_fault_and_a_timeout_is() {
        assert!(!ErrorType::LockHeld.is_service_fault());
        assert!(!ErrorType::Conflict.is_service_fault());
        assert!(ErrorType::Timeout.is_service_fault());
        assert!(ErrorType::LockLost.is_service_fault());
    }
}
