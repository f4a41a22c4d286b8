//! Puts: one value, its condition and its TTL, as a typed call or as a member of a pipeline.

use std::borrow::Cow;
use std::time::Duration;

use redis::Cmd;
use redis_conn::{Expiry, SetOptions};
use state_core::{Condition, StateResult, Ttl, ttl_millis};

use crate::exec::Task;
use crate::reply;
use crate::script::PUT_KEEP;

/// A put of `value`, ready to go.
pub(crate) struct Put<'a> {
    stored: Vec<u8>,
    value: Cow<'a, [u8]>,
    condition: Condition,
    ttl: TtlOnServer,
}

/// What a TTL comes to once the backend's default is known; times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TtlOnServer {
    Never,
    Keep,
    /// Keep the TTL of an existing key, and give this one to a new key.
    KeepOr(u64),
    After(u64),
}

impl TtlOnServer {
    pub(crate) fn resolve(ttl: Ttl, default_ms: Option<u64>) -> StateResult<Self> {
        Ok(match ttl {
            Ttl::Default => default_ms.map_or(Self::Never, Self::After),
            Ttl::Keep => default_ms.map_or(Self::Keep, Self::KeepOr),
            Ttl::Never => Self::Never,
            Ttl::After(ttl) => Self::After(ttl_millis(ttl)?),
        })
    }
}

impl<'a> Put<'a> {
    pub(crate) fn new(stored: Vec<u8>, value: Cow<'a, [u8]>, condition: Condition, ttl: TtlOnServer) -> Self {
        // A condition decides beforehand whether the key is new, and with it which half of KeepOr holds.
        let ttl = match (ttl, condition) {
            (TtlOnServer::KeepOr(default), Condition::IfAbsent) => TtlOnServer::After(default),
            (TtlOnServer::KeepOr(_), Condition::IfPresent) => TtlOnServer::Keep,
            (ttl, _) => ttl,
        };
        Self { stored, value, condition, ttl }
    }

    /// Stores the value, and tells whether the condition held.
    pub(crate) async fn run(&self, task: &Task<'_>) -> StateResult<bool> {
        if let TtlOnServer::KeepOr(default) = self.ttl {
            let default = default.to_string();
            let arguments: [&[u8]; 2] = [&self.value, default.as_bytes()];
            let reply = task.script(&PUT_KEEP.call(&[&self.stored], &arguments)).await?;
            return reply::written(task.operation(), reply);
        }
        let options = SetOptions::new().with_expiry(self.expiry()).with_condition(match self.condition {
            Condition::Always => redis_conn::Condition::Always,
            Condition::IfAbsent => redis_conn::Condition::IfAbsent,
            Condition::IfPresent => redis_conn::Condition::IfPresent,
        });
        task.run(|conn, deadline, _| conn.set(&self.stored, &self.value, options, deadline)).await
    }

    /// The same as a command, answered by `OK` or nothing.
    pub(crate) fn command(&self) -> Cmd {
        let mut command = redis::cmd("SET");
        command.arg(&self.stored).arg(&*self.value);
        match self.ttl {
            TtlOnServer::Never => {}
            TtlOnServer::Keep => drop(command.arg("KEEPTTL")),
            TtlOnServer::After(millis) => drop(command.arg("PX").arg(millis)),
            TtlOnServer::KeepOr(default) => {
                return PUT_KEEP.whole(&self.stored, &[&self.value, default.to_string().as_bytes()]);
            }
        }
        match self.condition {
            Condition::Always => {}
            Condition::IfAbsent => drop(command.arg("NX")),
            Condition::IfPresent => drop(command.arg("XX")),
        }
        command
    }

    /// Bytes that it stores.
    pub(crate) fn len(&self) -> usize {
        self.stored.len() + self.value.len()
    }

    /// Adds it to an `MSET`, which knows no TTL and no condition.
    pub(crate) fn add_to(&self, command: &mut Cmd) {
        command.arg(&self.stored).arg(&*self.value);
    }

    fn expiry(&self) -> Expiry {
        match self.ttl {
            TtlOnServer::Never => Expiry::Never,
            TtlOnServer::Keep | TtlOnServer::KeepOr(_) => Expiry::Keep,
            TtlOnServer::After(millis) => Expiry::After(Duration::from_millis(millis)),
        }
    }
}
