//! What is on its way to a node of a cluster, and what becomes of it when it has to go elsewhere.

use std::sync::Arc;

use futures_util::future::join_all;
use redis::{Cmd, Pipeline, Value};
use tokio::time::Instant;

use crate::classify::server_error;
use crate::endpoint::Endpoint;
use crate::error::{Class, Error, ErrorKind, Result};
use crate::node::Node;
use crate::reply;
use crate::request::Piped;
use crate::wait::Write;

/// Commands that go to one node together, and how far they have come.
pub(crate) struct Errand<'a> {
    pub(crate) commands: Vec<&'a Cmd>,
    pub(crate) slot: Option<u16>,
    delivery: Delivery,
    /// Goes to several nodes, so not with the others.
    pub(crate) apart: bool,
    pub(crate) detour: Option<Detour>,
    /// Why it was not run so far.
    hindrance: Option<Error>,
    pub(crate) outcome: Option<Result<Vec<Value>>>,
}

/// When a command counts as delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Once its node has answered.
    Answered,
    /// Once as many replicas as configured have it, too.
    Confirmed,
}

/// What to do about a command that certainly did not run.
pub(crate) enum Detour {
    /// Send it there.
    To { endpoint: Arc<Endpoint>, asking: bool },
    /// Wait until the cluster has found its order, and send it again.
    Wait,
}

/// Whether a command certainly did not run, for a reason that lies in the topology and passes.
pub(crate) fn did_not_run(error: &Error) -> bool {
    match error.class() {
        Class::WrongRole => true,
        Class::Refused => matches!(error.code(), Some("TRYAGAIN" | "CLUSTERDOWN")),
        Class::NotSent => error.kind() == ErrorKind::Unavailable,
        _ => false,
    }
}

impl Detour {
    fn of(error: &Error, answered: Option<&Node>) -> Option<Self> {
        if !did_not_run(error) {
            return None;
        }
        let target = error.redirect().zip(answered).and_then(|(redirect, node)| {
            let host = match (redirect.host.as_str(), node.endpoint().as_deref()) {
                ("", Some(Endpoint::Tcp { host, .. })) => host.clone(),
                ("", _) => return None,
                (host, _) => host.to_owned(),
            };
            let endpoint = node.setup().config.reachable(Endpoint::tcp(host, redirect.port));
            Some(Self::To { endpoint, asking: redirect.asking })
        });
        Some(target.unwrap_or(Self::Wait))
    }
}

impl<'a> Errand<'a> {
    pub(crate) fn new(commands: Vec<&'a Cmd>, slot: Option<u16>) -> Self {
        let delivery = Delivery::Answered;
        Self { commands, slot, delivery, apart: false, detour: None, hindrance: None, outcome: None }
    }

    /// One command, to be delivered in this way.
    pub(crate) fn one(command: &'a Cmd, slot: Option<u16>, delivery: Delivery) -> Self {
        Self { delivery, ..Self::new(vec![command], slot) }
    }

    pub(crate) fn apart(command: &'a Cmd) -> Self {
        Self { apart: true, ..Self::new(vec![command], None) }
    }

    /// Takes the replies to its commands, or finds out from them where it has to go.
    pub(crate) fn settle(&mut self, answer: Result<Vec<Value>>, node: &Node) {
        match answer {
            Ok(replies) => match Self::misdirected(&replies) {
                Some(error) => self.fail(error, Some(node)),
                None => self.outcome = Some(Ok(replies)),
            },
            Err(error) => self.fail(error, None),
        }
    }

    /// The refusal that kept it from running. A transaction was refused as a whole when `EXEC` says so; the
    /// reason then stands in the reply of the command that could not be queued.
    fn misdirected(replies: &[Value]) -> Option<Error> {
        if !matches!(replies.last(), Some(Value::ServerError(_))) {
            return None;
        }
        let errors = replies.iter().filter_map(|reply| match reply {
            Value::ServerError(error) => Some(server_error(error)),
            _ => None,
        });
        errors.into_iter().find(did_not_run)
    }

    pub(crate) fn fail(&mut self, error: Error, answered: Option<&Node>) {
        match Detour::of(&error, answered) {
            Some(detour) => {
                self.detour = Some(detour);
                self.hindrance = Some(error);
            }
            None => self.outcome = Some(Err(error)),
        }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.outcome.is_none() && matches!(self.detour, Some(Detour::Wait))
    }

    /// The deadline has come: what kept it from running is its outcome.
    pub(crate) fn give_up(&mut self) {
        if self.outcome.is_none() {
            let timeout = || Error::not_sent(ErrorKind::Timeout, "looking for the node; nothing was run");
            self.outcome = Some(Err(self.hindrance.take().unwrap_or_else(timeout)));
        }
    }

    /// The only reply of an errand of one command.
    pub(crate) fn only_reply(self) -> Result<Value> {
        self.reply()?.pop().ok_or_else(reply::unexpected)
    }

    pub(crate) fn reply(self) -> Result<Vec<Value>> {
        self.outcome.unwrap_or_else(|| Err(reply::unexpected()))
    }
}

/// Errands for one node.
pub(crate) struct Group {
    pub(crate) node: Arc<Node>,
    pub(crate) asking: bool,
    pub(crate) members: Vec<usize>,
}

impl Group {
    /// The answer to each member.
    pub(crate) async fn send(&self, errands: &[Errand<'_>], deadline: Instant) -> Vec<Result<Vec<Value>>> {
        let members = || self.members.iter().map(|index| &errands[*index]);
        // Errands of one operation are all of one sort.
        if members().all(|errand| errand.delivery == Delivery::Confirmed) {
            let writes =
                members().map(|errand| Write { command: errand.commands[0].clone(), asking: self.asking });
            let answers = join_all(writes.map(|write| self.node.confirm(write, deadline))).await;
            return answers.into_iter().map(|answer| answer.map(|reply| vec![reply])).collect();
        }
        let answer = self.node.send(Piped::new(&self.pipeline(members())), deadline).await;
        self.share_out(answer, members())
    }

    fn pipeline<'e>(&self, members: impl Iterator<Item = &'e Errand<'e>>) -> Pipeline {
        let mut pipeline = Pipeline::new();
        for errand in members {
            if self.asking {
                pipeline.cmd("ASKING");
            }
            for command in &errand.commands {
                pipeline.add_command(Cmd::clone(command));
            }
        }
        pipeline
    }

    fn share_out<'e>(
        &self,
        answer: Result<Vec<Value>>,
        members: impl Iterator<Item = &'e Errand<'e>>,
    ) -> Vec<Result<Vec<Value>>> {
        let mut answer = answer.map(Vec::into_iter);
        let share = |errand: &Errand<'_>| match &mut answer {
            Ok(replies) => {
                let asking = if self.asking { replies.next() } else { None };
                let own = replies.take(errand.commands.len()).collect();
                match asking {
                    // Not allowed to ask: what the command itself was answered only says where to go, again.
                    Some(Value::ServerError(refused)) => Err(server_error(&refused)),
                    _ => Ok(own),
                }
            }
            Err(error) => Err(error.restated()),
        };
        members.map(share).collect()
    }

    pub(crate) fn settle(&self, errands: &mut [Errand<'_>], answers: Vec<Result<Vec<Value>>>) {
        for (index, answer) in self.members.iter().zip(answers) {
            errands[*index].settle(answer, &self.node);
        }
    }
}
