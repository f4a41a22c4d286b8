//! A Redis server as a lock node.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use redis::{Cmd, RedisError, RedisWrite, Value, aio::ConnectionLike};

use crate::{
    Claim, Fault, LockNode, NodeInfo, Place, Reconnecting, Standing, Vote,
    native::{Native, field, version},
    script::{ACQUIRE, BOOTSTRAP, ENQUEUE, EXTEND, Keys, PEEK, RAISE, RELEASE, Script},
};

/// A Redis server, or a Sentinel group or a cluster as one authority, behind any connection of redis-rs that
/// can be cloned.
///
/// The connection should replace itself when it breaks; one that does not is reported as
/// [`Fault::Io`] from then on. A connection must not repeat commands by itself, though a repeated one does no
/// harm here: every script is idempotent.
#[derive(Clone)]
pub struct RedisNode<C> {
    connection: C,
    label: String,
    durable: bool,
    native: Arc<Native>,
}

impl RedisNode<Reconnecting> {
    /// A node by its URL (`redis://host:port/db`), connected at first use and again whenever it breaks.
    ///
    /// The label is `host:port`.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) when the URL cannot be read.
    pub fn open(url: &str) -> crate::Result<Self> {
        let connection = Reconnecting::open(url)?;
        let label = connection.address();
        Ok(Self::new(label, connection))
    }
}

impl<C> RedisNode<C> {
    /// A node over a connection, with the name it has in errors and metrics.
    pub fn new(label: impl Into<String>, connection: C) -> Self {
        Self { connection, label: label.into(), durable: false, native: Arc::default() }
    }

    /// Says that the server keeps every acknowledged write over a crash and restart (`appendfsync always`), so
    /// that it need not abstain after one. Default: it does not.
    #[must_use]
    pub fn with_durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisNode<C> {
    async fn query(&self, command: Cmd) -> Result<Value, RedisError> {
        let mut connection = self.connection.clone();
        command.query_async(&mut connection).await
    }

    /// Runs a script by its hash, and by its text where the server does not know it. Only then can the server
    /// have been restarted since, so only then is it told so (`cold`).
    async fn run(&self, script: &Script, keys: Keys<'_>, args: impl Fn(&mut Cmd, bool)) -> Reply {
        let mut call = script.by_hash(&keys);
        args(&mut call, false);
        match self.query(call).await {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                let mut call = script.by_text(&keys);
                args(&mut call, true);
                self.query(call).await.map_err(fault_of)
            }
            other => other.map_err(fault_of),
        }
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisNode<C> {
    /// Releases by one command what one command can release, and says whether it did: whose it is otherwise, only
    /// the script tells.
    async fn release_natively(&self, claim: &Claim) -> Result<bool, Fault> {
        let key = claim.only_key();
        let Some(command) = key.and_then(|key| self.native.compare_and_delete(&key, claim.id())) else {
            return Ok(false);
        };
        match self.query(command).await {
            Ok(deleted) => Ok(deleted == Value::Int(1)),
            Err(error) if matches!(error.code(), Some("ERR" | "NOPERM")) => {
                self.native.forget();
                Ok(false)
            }
            Err(error) => Err(fault_of(error)),
        }
    }
}

type Reply = Result<Value, Fault>;

#[async_trait]
impl<C: ConnectionLike + Clone + Send + Sync + 'static> LockNode for RedisNode<C> {
    fn label(&self) -> &str {
        &self.label
    }

    async fn inspect(&self) -> Result<NodeInfo, Fault> {
        let answer = self.query(redis::cmd("INFO")).await.map_err(fault_of)?;
        // A cluster connection asks all masters and answers with a map by address: all of them have to be fit.
        let infos = match answer {
            Value::Map(by_address) => by_address.into_iter().map(|(_, info)| info).collect(),
            one => vec![one],
        };
        let mut whole = NodeInfo::default();
        for info in infos {
            let info = text(&info).ok_or_else(unreadable)?;
            self.native.learn(&info);
            let one = node_info(&info)?;
            whole.run_id = one.run_id;
            whole.unfit.extend(one.unfit);
            whole.unfit_for_quorum.extend(one.unfit_for_quorum);
        }
        Ok(whole)
    }

    async fn acquire(&self, claim: &Claim) -> Result<Vote, Fault> {
        let reply = self.run(&ACQUIRE, Keys::Voting(claim), |call, cold| {
            let came = match (cold, self.durable) {
                (false, _) => "warm",
                (true, false) => "cold",
                (true, true) => "durable",
            };
            call.arg(claim.id()).arg(millis(claim.ttl())).arg(millis(claim.intent()));
            call.arg(millis(claim.quarantine().unwrap_or_default())).arg(came);
            limits(claim, call);
        });
        vote(&reply.await?)
    }

    async fn enqueue(&self, claim: &Claim, place: &Place) -> Result<Vote, Fault> {
        let Place { priority, look, channel, .. } = place;
        let (patience, wait) = (millis(place.patience), millis(place.claim));
        let reply = self.run(&ENQUEUE, Keys::Mortal(claim), |call, _| {
            call.arg(claim.id()).arg(millis(claim.ttl()));
            limits(claim, call);
            call.write_arg_fmt(format_args!("{priority} {patience} {wait} {look} {channel}"));
            call.arg(place.score.as_deref());
        });
        vote(&reply.await?)
    }

    async fn extend(&self, claim: &Claim, ttl: Duration) -> Result<Standing, Fault> {
        let reply = self.run(&EXTEND, Keys::Resources(claim), |call, _| {
            call.arg(claim.id()).arg(millis(ttl));
            limits(claim, call);
        });
        standing(&reply.await?)
    }

    async fn raise(&self, claim: &Claim, token: u64) -> Result<Option<u64>, Fault> {
        let reply = self.run(&RAISE, Keys::Resources(claim), |call, _| {
            call.arg(claim.id()).arg(token);
            limits(claim, call);
        });
        let reply = text(&reply.await?).ok_or_else(unreadable)?;
        if reply.is_empty() {
            return Ok(None);
        }
        reply.parse().map(Some).map_err(|_| unreadable())
    }

    async fn release(&self, claim: &Claim, burial: Option<Duration>) -> Result<Standing, Fault> {
        if burial.is_none() && self.release_natively(claim).await? {
            return Ok(Standing::Held);
        }
        let keys = burial.map_or(Keys::Resources(claim), |_| Keys::Mortal(claim));
        let reply = self.run(&RELEASE, keys, |call, _| {
            call.arg(claim.id());
            limits(claim, call);
            call.arg(burial.map(millis));
        });
        standing(&reply.await?)
    }

    async fn peek(&self, claim: &Claim) -> Result<Vec<(String, Duration)>, Fault> {
        let reply = self.run(&PEEK, Keys::Resources(claim), |call, _| limits(claim, call)).await?;
        let pairs = items(&reply).ok_or_else(unreadable)?.chunks_exact(2);
        pairs.map(|pair| Ok((text(&pair[0]).ok_or_else(unreadable)?, span(&pair[1])?))).collect()
    }

    async fn bootstrap(&self, epoch_key: &str) -> Result<(), Fault> {
        self.run(&BOOTSTRAP, Keys::Epoch(epoch_key), |_, _| ()).await.map(drop)
    }
}

impl<C> std::fmt::Debug for RedisNode<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("RedisNode");
        out.field("label", &self.label).field("durable", &self.durable).finish_non_exhaustive()
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn limits(claim: &Claim, call: &mut Cmd) {
    for resource in claim.resources() {
        call.arg(resource.mode().limit());
    }
}

fn unreadable() -> Fault {
    Fault::Refused("an unreadable reply".into())
}

fn items(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        Value::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    }
}

/// Milliseconds as a duration; the negative answers of PTTL count as zero.
fn span(value: &Value) -> Result<Duration, Fault> {
    match value {
        Value::Int(ms) => Ok(Duration::from_millis(u64::try_from(*ms).unwrap_or(0))),
        _ => Err(unreadable()),
    }
}

fn vote(reply: &Value) -> Result<Vote, Fault> {
    if let Value::Int(token) = reply {
        return u64::try_from(*token).map(|token| Vote::Granted { token }).map_err(|_| unreadable());
    }
    let items = items(reply).ok_or_else(unreadable)?;
    let word = |i: usize| items.get(i).and_then(text).ok_or_else(unreadable);
    let time = |i: usize| items.get(i).ok_or_else(unreadable).and_then(span);
    Ok(match word(0)?.as_str() {
        "held" => Vote::Held { holder: word(1)?, remaining: time(2)? },
        "waiting" => Vote::Waiting { holder: word(1)?, remaining: time(2)?, score: word(3)? },
        "quarantined" => Vote::Quarantined { remaining: time(1)? },
        "dead" => Vote::Dead,
        _ => return Err(unreadable()),
    })
}

fn standing(reply: &Value) -> Result<Standing, Fault> {
    match text(reply).as_deref() {
        Some("held") => Ok(Standing::Held),
        Some("missing") => Ok(Standing::Missing),
        Some("stolen") => Ok(Standing::Stolen),
        _ => Err(unreadable()),
    }
}

fn fault_of(error: RedisError) -> Fault {
    if error.is_timeout() {
        return Fault::Timeout;
    }
    match error.code() {
        Some("READONLY" | "NOREPLICAS" | "MISCONF") => Fault::ReadOnly,
        Some("WRONGTYPE") => Fault::WrongType,
        Some("ERR") if error.detail().is_some_and(|text| text.contains("WRONGTYPE")) => Fault::WrongType,
        Some(code) => Fault::Refused(code.to_owned()),
        None => Fault::Io(error.category().to_owned()),
    }
}

fn node_info(info: &str) -> Result<NodeInfo, Fault> {
    let field = |name: &str| field(info, name);
    let run_id = field("run_id").to_owned();
    if run_id.is_empty() {
        return Err(unreadable());
    }
    let evicts = field("maxmemory") != "0" && field("maxmemory_policy") != "noeviction";
    let failed = |checks: &[(bool, &'static str)]| {
        checks.iter().filter(|(fails, _)| *fails).map(|(_, why)| *why).collect::<Vec<_>>()
    };
    Ok(NodeInfo {
        run_id,
        unfit: failed(&[
            (evicts, "the server may evict locks: set maxmemory-policy noeviction"),
            (field("role") == "slave", "the server is a replica"),
        ]),
        unfit_for_quorum: failed(&[
            (field("cluster_enabled") == "1", "a cluster is one authority, not several"),
            (is_old(field("redis_version")), "the server is older than Redis 7.0"),
        ]),
    })
}

/// Older servers keep the script cache over a restart, by which a restart is known here.
fn is_old(text: &str) -> bool {
    version(text).is_none_or(|version| version < (7, 0))
}
