//! Lua scripts: called by digest, sent whole where the server does not know them.

use std::borrow::Cow;
use std::sync::OnceLock;

use redis::{Cmd, Script, Value};
use redis_conn::{Conn, ErrorKind};
use tokio::time::Instant;

/// What runs a function `operation` once for an id.
const ONCE: &str = include_str!("lua/once.lua");

/// A script that runs once for an id.
macro_rules! once {
    ($operation:literal) => {
        concat!(
            "local function operation(KEYS, ARGV)\n",
            include_str!($operation),
            "\nend\n",
            include_str!("lua/once.lua")
        )
    };
}

/// Compare-and-swap.
pub(crate) static CAS: LuaScript = LuaScript::new(include_str!("lua/cas.lua"));
/// Increment that gives a key it creates a TTL.
pub(crate) static INCREMENT: LuaScript = LuaScript::new(include_str!("lua/increment.lua"));
/// Put that keeps the TTL and gives a key it creates one.
pub(crate) static PUT_KEEP: LuaScript = LuaScript::new(include_str!("lua/put_keep.lua"));
/// Reads and removes, but not what the caller could not read.
#[cfg(feature = "codec")]
pub(crate) static TAKE: LuaScript = LuaScript::new(include_str!("lua/take.lua"));
/// Compare-and-swap, once for an id.
pub(crate) static CAS_ONCE: LuaScript = LuaScript::new(once!("lua/cas.lua"));
/// Increment, once for an id.
pub(crate) static INCREMENT_ONCE: LuaScript = LuaScript::new(once!("lua/increment.lua"));
/// Put of a key that does not exist, once for an id.
pub(crate) static PUT_IF_ABSENT_ONCE: LuaScript = LuaScript::new(once!("lua/put_if_absent.lua"));
/// Value and time left, read together.
pub(crate) static ENTRY: LuaScript = LuaScript::new(include_str!("lua/entry.lua"));

/// The source of a script and, once it is used, its digest.
pub(crate) struct LuaScript {
    source: Cow<'static, str>,
    digest: OnceLock<String>,
}

/// A script with the keys, all of one slot, and the arguments of one call.
pub(crate) struct ScriptCall<'a> {
    script: &'a LuaScript,
    keys: &'a [&'a [u8]],
    arguments: &'a [&'a [u8]],
}

impl LuaScript {
    const fn new(source: &'static str) -> Self {
        Self { source: Cow::Borrowed(source), digest: OnceLock::new() }
    }

    /// A user's script, to be run once for an id.
    pub(crate) fn once(script: &str) -> Self {
        // Only its first result counts: a second one has a meaning to what follows.
        let source = format!(
            "local function script(KEYS, ARGV)\n{script}\nend\n\
             local function operation(keys, arguments) return (script(keys, arguments)) end\n{ONCE}"
        );
        Self { source: Cow::Owned(source), digest: OnceLock::new() }
    }

    /// A call on `keys`.
    pub(crate) fn call<'a>(&'a self, keys: &'a [&'a [u8]], arguments: &'a [&'a [u8]]) -> ScriptCall<'a> {
        ScriptCall { script: self, keys, arguments }
    }

    /// A call that brings the source along, for pipelines, where nothing can be sent again in between.
    pub(crate) fn whole(&self, key: &[u8], arguments: &[&[u8]]) -> Cmd {
        command("EVAL", &self.source, &[key], arguments)
    }
}

impl ScriptCall<'_> {
    /// Runs the script; a server that has forgotten it, or never knew it, is sent the source.
    pub(crate) async fn run(
        &self,
        conn: &Conn,
        is_durable: bool,
        deadline: Instant,
    ) -> redis_conn::Result<Value> {
        match self.send(conn, &self.by_digest(), is_durable, deadline).await {
            // NOSCRIPT says that nothing ran. EVAL runs it and stores it in one step, so that a flush in between
            // cannot make it fail again.
            Err(error) if error.kind() == ErrorKind::NoScript => {
                let by_source = command("EVAL", &self.script.source, self.keys, self.arguments);
                self.send(conn, &by_source, is_durable, deadline).await
            }
            other => other,
        }
    }

    async fn send(
        &self,
        conn: &Conn,
        command: &Cmd,
        is_durable: bool,
        deadline: Instant,
    ) -> redis_conn::Result<Value> {
        if is_durable {
            return conn.write(command, deadline).await;
        }
        conn.call(self.keys.first().copied().unwrap_or_default(), command, deadline).await
    }

    fn by_digest(&self) -> Cmd {
        let digest = || Script::new(&self.script.source).get_hash().to_owned();
        command("EVALSHA", self.script.digest.get_or_init(digest), self.keys, self.arguments)
    }
}

fn command(name: &str, script: &str, keys: &[&[u8]], arguments: &[&[u8]]) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(script).arg(keys.len()).arg(keys);
    for argument in arguments {
        command.arg(*argument);
    }
    command
}
