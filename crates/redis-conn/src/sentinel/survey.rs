//! What one sentinel is asked in one round trip, and what it answers.

use std::collections::HashMap;
use std::sync::Arc;

use redis::{FromRedisValue, Pipeline, Value};

use super::{Shared, Vote};
use crate::classify::server_error;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::mux::Mux;
use crate::request::Piped;

/// Questions beside the one for the address. A sentinel whose ACL forbids one is not asked it again on the same
/// connection, so that its ACL log is not filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extra {
    Master,
    MyId,
    Replicas,
    Sentinels,
}

/// What may be asked on one connection.
pub(super) struct Survey {
    extras: Vec<Extra>,
}

/// What a sentinel answered.
#[derive(Default)]
pub(super) struct Answer {
    /// `None` when the sentinel does not know the service.
    pub(super) vote: Option<Vote>,
    pub(super) id: Option<String>,
    /// `None` when it does not say.
    pub(super) replicas: Option<Vec<Arc<Endpoint>>>,
    /// Identity and address of the other sentinels.
    pub(super) sentinels: Vec<(String, Endpoint)>,
}

impl Survey {
    pub(super) fn new(learn: bool) -> Self {
        let mut extras = vec![Extra::Master, Extra::MyId, Extra::Replicas];
        extras.extend(learn.then_some(Extra::Sentinels));
        Self { extras }
    }

    /// Asks. The caller bounds the time.
    pub(super) async fn ask(&mut self, shared: &Shared, mux: &Mux) -> Result<Answer> {
        let questions = self.questions(&shared.service);
        let mut replies = mux.ask(Piped::new(&questions)).await?.into_iter();
        let master = address(replies.next().unwrap_or(Value::Nil))?.map(|master| shared.reachable(master));
        let mut answer =
            Answer { vote: master.map(|master| Vote { master, epoch: None }), ..Answer::default() };
        let extras = self.extras.clone();
        for (extra, reply) in extras.into_iter().zip(replies) {
            match reply {
                Value::ServerError(error) if error.code() == "NOPERM" => {
                    self.extras.retain(|other| *other != extra);
                }
                // An older sentinel does not know the question, or this one does not know the service.
                Value::ServerError(_) => {}
                reply => answer.add(extra, reply, shared),
            }
        }
        Ok(answer)
    }

    fn questions(&self, service: &str) -> Pipeline {
        let mut questions = Pipeline::with_capacity(5);
        questions.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(service);
        for extra in &self.extras {
            match extra {
                Extra::Master => questions.cmd("SENTINEL").arg("MASTER").arg(service),
                Extra::MyId => questions.cmd("SENTINEL").arg("MYID"),
                Extra::Replicas => questions.cmd("SENTINEL").arg("REPLICAS").arg(service),
                Extra::Sentinels => questions.cmd("SENTINEL").arg("SENTINELS").arg(service),
            };
        }
        questions
    }
}

impl Answer {
    fn add(&mut self, extra: Extra, reply: Value, shared: &Shared) {
        match extra {
            Extra::Master => {
                let epoch = fields(reply).and_then(|fields| fields.get("config-epoch")?.parse().ok());
                if let Some(vote) = &mut self.vote {
                    vote.epoch = epoch;
                }
            }
            Extra::MyId => self.id = String::from_redis_value(reply).ok(),
            Extra::Replicas => {
                let healthy = list(reply).into_iter().filter(is_healthy_replica);
                let endpoints = healthy.filter_map(|fields| endpoint_of(&fields));
                self.replicas = Some(endpoints.map(|endpoint| shared.reachable(endpoint)).collect());
            }
            Extra::Sentinels => {
                self.sentinels = list(reply)
                    .into_iter()
                    .filter(|fields| !has_flag(fields, &["s_down", "o_down", "disconnected"]))
                    .filter_map(|mut fields| {
                        let endpoint = shared.reachable(endpoint_of(&fields)?);
                        Some((fields.remove("runid")?, Endpoint::clone(&endpoint)))
                    })
                    .collect();
            }
        }
    }
}

/// The payload of `+switch-master`: `service old-host old-port new-host new-port`.
pub(super) fn switched_to(payload: &str, service: &str) -> Option<Endpoint> {
    let rest = payload.strip_prefix(service)?.strip_prefix(' ')?;
    let mut words = rest.split(' ').skip(2);
    let (host, port) = (words.next()?, words.next()?);
    Some(Endpoint::tcp(host, port.parse().ok()?))
}

fn address(reply: Value) -> Result<Option<Endpoint>> {
    match reply {
        Value::ServerError(error) => Err(server_error(&error)),
        Value::Nil => Ok(None),
        reply => <(String, u16)>::from_redis_value(reply)
            .map(|(host, port)| Some(Endpoint::tcp(host, port)))
            .map_err(|_| Error::not_sent(ErrorKind::Protocol, "a sentinel named no address")),
    }
}

fn fields(reply: Value) -> Option<HashMap<String, String>> {
    HashMap::from_redis_value(reply).ok()
}

fn list(reply: Value) -> Vec<HashMap<String, String>> {
    match reply {
        Value::Array(entries) => entries.into_iter().filter_map(fields).collect(),
        _ => Vec::new(),
    }
}

fn endpoint_of(fields: &HashMap<String, String>) -> Option<Endpoint> {
    Some(Endpoint::tcp(fields.get("ip")?, fields.get("port")?.parse().ok()?))
}

fn is_healthy_replica(fields: &HashMap<String, String>) -> bool {
    let linked = fields.get("master-link-status").is_none_or(|status| status == "ok");
    linked && !has_flag(fields, &["s_down", "o_down", "disconnected", "master"])
}

fn has_flag(fields: &HashMap<String, String>, unwanted: &[&str]) -> bool {
    let flags = fields.get("flags").map_or("", String::as_str);
    flags.split(',').any(|flag| unwanted.contains(&flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_of_our_service_names_the_new_address() {
        let switch = switched_to("orders 10.0.0.1 6379 10.0.0.2 6380", "orders");
        assert_eq!(switch, Some(Endpoint::tcp("10.0.0.2", 6380)));
        assert_eq!(
            switched_to("orders fd00::1 6379 fd00::2 6380", "orders"),
            Some(Endpoint::tcp("fd00::2", 6380))
        );
    }

    #[test]
    fn a_switch_of_another_service_or_nonsense_names_none() {
        for payload in
            ["orders2 a 1 b 2", "orders a 1 b", "orders a 1 b x", "orders", "", "orders a 1 b 99999"]
        {
            assert_eq!(switched_to(payload, "orders"), None, "{payload}");
        }
    }
}
