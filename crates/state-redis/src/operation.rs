//! What goes through the door, by name.

/// What a repeat of a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Idempotency {
    /// It changes nothing: a read. May be repeated and hedged.
    Safe,
    /// Running it twice leaves what running it once leaves: an overwrite, a removal. May be repeated.
    Idempotent,
    /// Running it twice differs from once: a counter, an append, a conditional write. Repeated only when it certainly
    /// did not run.
    Unsafe,
}

/// An operation, for errors, policies and instruments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    Put,
    /// A put with a condition.
    PutIf,
    Delete,
    ListKeys,
    Clear,
    Count,
    Contains,
    GetAndDelete,
    CompareAndSwap,
    Increment,
    IncrementOnce,
    CompareAndSwapOnce,
    PutIfAbsentOnce,
    ScriptOnce,
    Ttl,
    Expire,
    Persist,
    BatchGet,
    BatchPut,
    BatchPutIfAbsent,
    BatchDelete,
    Scan,
    ScanEntries,
    HealthCheck,
    Dedicated,
    Command(Idempotency),
}

impl Operation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::PutIf => "put_with",
            Self::Delete => "delete",
            Self::ListKeys => "list_keys",
            Self::Clear => "clear",
            Self::Count => "count",
            Self::Contains => "contains",
            Self::GetAndDelete => "get_and_delete",
            Self::CompareAndSwap => "compare_and_swap",
            Self::Increment => "increment",
            Self::IncrementOnce => "increment_once",
            Self::CompareAndSwapOnce => "compare_and_swap_once",
            Self::PutIfAbsentOnce => "put_if_absent_once",
            Self::ScriptOnce => "script_once",
            Self::Ttl => "ttl",
            Self::Expire => "expire",
            Self::Persist => "persist",
            Self::BatchGet => "batch_get",
            Self::BatchPut => "batch_put",
            Self::BatchPutIfAbsent => "batch_put_if_absent",
            Self::BatchDelete => "batch_delete",
            Self::Scan => "scan",
            Self::ScanEntries => "scan_entries",
            Self::HealthCheck => "health_check",
            Self::Dedicated => "dedicated",
            Self::Command(_) => "command",
        }
    }

    /// What a repeat would do. A conditional write would find its own first run, so it is unsafe; so is `persist`,
    /// which answers whether there was a TTL.
    pub(crate) fn idempotency(self) -> Idempotency {
        match self {
            Self::Get | Self::ListKeys | Self::Count | Self::Contains | Self::Ttl | Self::BatchGet => {
                Idempotency::Safe
            }
            Self::Scan | Self::ScanEntries | Self::HealthCheck | Self::Dedicated => Idempotency::Safe,
            Self::Put | Self::Delete | Self::Clear | Self::Expire | Self::BatchPut | Self::BatchDelete => {
                Idempotency::Idempotent
            }
            // The id makes a repeat harmless.
            Self::IncrementOnce | Self::CompareAndSwapOnce | Self::PutIfAbsentOnce | Self::ScriptOnce => {
                Idempotency::Idempotent
            }
            Self::PutIf | Self::GetAndDelete | Self::CompareAndSwap | Self::Increment | Self::Persist => {
                Idempotency::Unsafe
            }
            Self::BatchPutIfAbsent => Idempotency::Unsafe,
            Self::Command(idempotency) => idempotency,
        }
    }

    /// Whether it may change something, so that its loss may be ambiguous.
    pub(crate) fn writes(self) -> bool {
        self.idempotency() != Idempotency::Safe
    }
}
