//! Walks all keys, of one server or of a whole cluster, without missing one that moves meanwhile.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::time::{Instant, sleep};

use crate::conn::Conn;
use crate::endpoint::Endpoint;
use crate::error::{Class, Error, ErrorKind, Result};
use crate::ground::{Ground, Move};
use crate::reply;
use crate::slots::slot_of;
use crate::topology::Topology;

/// Rounds after which slots that keep moving make the walk give up.
const MAX_ROUNDS: u32 = 32;

/// Pause before a node that could not be asked is asked again.
const PAUSE: Duration = Duration::from_millis(20);

/// What [`Conn::scan`] looks for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScanOptions {
    /// Glob pattern that keys have to match (`MATCH`). Default: all keys.
    pub pattern: Option<Vec<u8>>,
    /// How many keys the server looks at for one page (`COUNT`). Default: 1000.
    pub page: usize,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self { pattern: None, page: 1000 }
    }
}

impl ScanOptions {
    /// Sets [`pattern`](Self::pattern).
    #[must_use]
    pub fn with_pattern(self, pattern: impl Into<Vec<u8>>) -> Self {
        Self { pattern: Some(pattern.into()), ..self }
    }

    /// Sets [`page`](Self::page).
    #[must_use]
    pub fn with_page(self, page: usize) -> Self {
        Self { page, ..self }
    }
}

/// A walk over keys. See [`Conn::scan`].
pub struct Scan {
    topology: Arc<dyn Topology>,
    options: ScanOptions,
    state: State,
}

enum State {
    /// Nothing has been asked yet.
    New,
    Walking(Box<Walk>),
    Done,
}

/// The walk's position.
struct Walk {
    legs: VecDeque<Leg>,
    /// In a cluster, the slots' owners when the round began.
    ground: Option<Ground>,
    /// Moves that this round is made for: it visits the new owner after the old one.
    planned: HashSet<Move>,
    /// Moves seen during this round.
    seen: HashSet<Move>,
    round: u32,
}

/// The walk over one node.
struct Leg {
    /// `None`: the only node there is.
    at: Option<Arc<Endpoint>>,
    /// The slots that matter; `None`: all.
    only: Option<HashSet<u16>>,
    cursor: u64,
    /// The connection the cursor is good for: another process has another order of keys.
    epoch: Option<u64>,
}

impl Conn {
    /// Walks all keys that match.
    ///
    /// A key that exists from the first page to the last is yielded at least once, and may be yielded more
    /// often; keys that come or go meanwhile may be yielded or not. That holds across reconnects (the walk over
    /// that server starts anew) and, in a cluster, while slots move and masters fail over: all masters are
    /// walked, and slots that moved meanwhile once more, at their old owner first and at the new one next.
    ///
    /// In a cluster the user needs `CLUSTER NODES` (`+cluster|nodes`) beside `SCAN`.
    pub fn scan(&self, options: ScanOptions) -> Scan {
        Scan { topology: self.topology(), options, state: State::New }
    }
}

impl Scan {
    /// The next page of keys, which may be empty; `None` at the end.
    ///
    /// # Errors
    /// Those of [`Conn::run`]; the walk can be continued after one. `NotReady` when the cluster does not serve
    /// all slots, so that keys would be missing, or when slots keep moving from round to round.
    pub async fn next(&mut self, deadline: Instant) -> Result<Option<Vec<Vec<u8>>>> {
        loop {
            let walk = match &mut self.state {
                State::Done => return Ok(None),
                State::New => {
                    self.state = State::Walking(Box::new(Walk::begin(self.topology.ground(deadline).await?)));
                    continue;
                }
                State::Walking(walk) => walk,
            };
            let Some(leg) = walk.legs.front_mut() else {
                if !walk.next_round()? {
                    self.state = State::Done;
                }
                continue;
            };
            match leg.page(&*self.topology, &self.options, deadline).await {
                Ok((keys, more)) => {
                    if !more {
                        let ground = self.topology.ground(deadline).await?;
                        walk.legs.pop_front();
                        walk.notice(ground);
                    }
                    return Ok(Some(keys));
                }
                Err(error) => walk.recover(error, &*self.topology, deadline).await?,
            }
        }
    }
}

impl Walk {
    fn begin(ground: Option<Ground>) -> Self {
        let mut nodes: Vec<Option<Arc<Endpoint>>> = match &ground {
            None => vec![None],
            Some(ground) => ground.masters.iter().cloned().map(Some).collect(),
        };
        // A master that gets its first slot has none yet.
        for to in ground.iter().flat_map(|ground| &ground.moving).map(|moved| &moved.to) {
            if !nodes.iter().flatten().any(|node| node == to) {
                nodes.push(Some(Arc::clone(to)));
            }
        }
        let seen = ground.iter().flat_map(|ground| ground.moving.iter().cloned()).collect();
        let legs = nodes.into_iter().map(|at| Leg::new(at, None)).collect();
        Self { legs, ground, planned: HashSet::new(), seen, round: 0 }
    }

    /// Remembers which slots moved, or were moving, since the last look.
    fn notice(&mut self, now: Option<Ground>) {
        if let (Some(before), Some(now)) = (&self.ground, &now) {
            self.seen.extend(before.changes(now));
            self.seen.extend(now.moving.iter().cloned());
        }
        self.ground = now;
    }

    /// Plans a round for moves that none has been made for. `false` when there are none.
    fn next_round(&mut self) -> Result<bool> {
        let moves: HashSet<Move> = self.seen.drain().filter(|moved| !self.planned.contains(moved)).collect();
        let Some(ground) = self.ground.as_ref().filter(|_| !moves.is_empty()) else { return Ok(false) };
        self.round += 1;
        if self.round > MAX_ROUNDS {
            let context = "slots kept moving while the keys were walked";
            return Err(Error::new(ErrorKind::NotReady, Class::Refused, context));
        }
        // Where a move is complete, all keys are at the new owner.
        let under_way = moves.iter().filter(|moved| ground.moving.contains(moved));
        let old = by_node(under_way.map(|moved| (&moved.from, moved.slot)));
        let new = by_node(moves.iter().map(|moved| (&moved.to, moved.slot)));
        self.legs = old.into_iter().chain(new).map(|(at, only)| Leg::new(Some(at), Some(only))).collect();
        self.planned = moves;
        Ok(true)
    }

    /// After a failure: waits, and leaves a node out that is no master any more; what it had is visited at its
    /// new owner.
    async fn recover(&mut self, error: Error, topology: &dyn Topology, deadline: Instant) -> Result<()> {
        let passing = error.is_safe_to_repeat() || error.class() == Class::Ambiguous;
        if self.ground.is_none() || !passing || Instant::now() + PAUSE >= deadline {
            return Err(error);
        }
        sleep(PAUSE).await;
        let Ok(Some(ground)) = topology.ground(deadline).await else { return Err(error) };
        let at = self.legs.front().and_then(|leg| leg.at.clone());
        let gone =
            at.is_some_and(|at| !ground.masters.contains(&at) && !ground.moving.iter().any(|m| m.to == at));
        self.notice(Some(ground));
        if gone {
            self.legs.pop_front();
        }
        Ok(())
    }
}

impl Leg {
    fn new(at: Option<Arc<Endpoint>>, only: Option<HashSet<u16>>) -> Self {
        Self { at, only, cursor: 0, epoch: None }
    }

    /// One `SCAN`: its keys, and whether there is more.
    async fn page(
        &mut self,
        topology: &dyn Topology,
        options: &ScanOptions,
        deadline: Instant,
    ) -> Result<(Vec<Vec<u8>>, bool)> {
        let command = self.command(options);
        let (reply, epoch) = topology.send_at(self.at.as_ref(), &command, deadline).await?;
        if *self.epoch.get_or_insert(epoch) != epoch {
            (self.epoch, self.cursor) = (None, 0);
            return Ok((Vec::new(), true));
        }
        let (cursor, mut keys) = parse(reply::value(reply)?)?;
        self.cursor = cursor;
        if let Some(only) = &self.only {
            keys.retain(|key| only.contains(&slot_of(key)));
        }
        Ok((keys, cursor != 0))
    }

    fn command(&self, options: &ScanOptions) -> Cmd {
        let mut command = redis::cmd("SCAN");
        command.arg(self.cursor);
        if let Some(pattern) = &options.pattern {
            command.arg("MATCH").arg(pattern.as_slice());
        }
        command.arg("COUNT").arg(options.page.max(1));
        command
    }
}

fn by_node<'a>(slots: impl Iterator<Item = (&'a Arc<Endpoint>, u16)>) -> Vec<(Arc<Endpoint>, HashSet<u16>)> {
    let mut nodes: Vec<(Arc<Endpoint>, HashSet<u16>)> = Vec::new();
    for (node, slot) in slots {
        match nodes.iter_mut().find(|(known, _)| known == node) {
            Some((_, only)) => {
                only.insert(slot);
            }
            None => nodes.push((Arc::clone(node), HashSet::from([slot]))),
        }
    }
    nodes
}

fn parse(reply: Value) -> Result<(u64, Vec<Vec<u8>>)> {
    redis::from_redis_value(reply).map_err(|_| reply::unexpected())
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("options", &self.options).finish_non_exhaustive()
    }
}
