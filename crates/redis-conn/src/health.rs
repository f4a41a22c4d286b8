//! Whether servers and sentinels are fit for work, asked regularly.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use redis::Value;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::endpoint::Endpoint;
use crate::error::{ErrorKind, Result};
use crate::events::{Event, Events, State};
use crate::handshake::{Role, parse_role};
use crate::link::Link;
use crate::topology::Topology;

/// The outcome of the latest health check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The verdict on all of them: `Unhealthy` when no master serves, `Degraded` when something else stands against
    /// one of them.
    pub status: HealthStatus,
    /// All that stands against [`HealthStatus::Healthy`], each reason once; [`nodes`](Self::nodes) says against whom.
    pub reasons: Vec<HealthReason>,
    /// The server, or each master of a cluster; replicas that are read from; and each sentinel that is watched.
    pub nodes: Vec<NodeHealth>,
}

/// The health of one server or sentinel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeHealth {
    /// Where it is; `None` while Sentinel names no such server.
    pub endpoint: Option<Arc<Endpoint>>,
    /// What it is needed for.
    pub duty: Duty,
    /// The verdict.
    pub status: HealthStatus,
    /// What stands against [`HealthStatus::Healthy`]; empty then.
    pub reasons: Vec<HealthReason>,
    /// The role it gave, where the user may ask.
    pub role: Option<Role>,
    /// How long it took to answer, `None` when it did not.
    pub latency: Option<Duration>,
}

/// What a node is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Duty {
    /// Reads and writes.
    Master,
    /// Reads, see [`ReadFrom`](crate::ReadFrom).
    Replica,
    /// To say where the master is.
    Sentinel,
}

/// How fit a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HealthStatus {
    /// It answers, and is what it is needed for.
    Healthy,
    /// It answers, with a limitation.
    Degraded,
    /// It does not serve.
    Unhealthy,
}

/// What stands against a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HealthReason {
    /// No check has run yet.
    NotChecked,
    /// There is no connection.
    NotConnected,
    /// The connection is up and the check was not answered in time.
    NotAnswering,
    /// It answers that it cannot serve now: it loads, runs a script for too long, or is cut off from its master.
    NotReady,
    /// It is a replica: reads work, writes do not.
    NotMaster,
    /// It is a sentinel, which holds no data.
    NotData,
    /// The user may not ask for the role (`ROLE`), so a demoted master would go unnoticed here.
    RoleUnknown,
    /// It does not accept the credentials (any more).
    Auth,
    /// This sentinel does not know the service.
    ServiceUnknown,
    /// Some slots of the cluster are served by nobody.
    SlotsUnserved,
}

impl Health {
    fn of(nodes: Vec<NodeHealth>, is_whole: bool) -> Self {
        let serves = |node: &NodeHealth| node.duty == Duty::Master && node.status != HealthStatus::Unhealthy;
        let mut reasons = Vec::new();
        for reason in nodes.iter().flat_map(|node| &node.reasons) {
            if !reasons.contains(reason) {
                reasons.push(*reason);
            }
        }
        reasons.extend((!is_whole).then_some(HealthReason::SlotsUnserved));
        let status = match reasons.is_empty() {
            _ if !nodes.iter().any(serves) => HealthStatus::Unhealthy,
            true => HealthStatus::Healthy,
            false => HealthStatus::Degraded,
        };
        Self { status, reasons, nodes }
    }

    /// The same but for latencies, which are never the same.
    fn is_news_after(&self, before: &Self) -> bool {
        (self.status, &self.reasons) != (before.status, &before.reasons)
            || self.nodes.len() != before.nodes.len()
            || self.nodes.iter().zip(&before.nodes).any(|(now, then)| now.is_news_after(then))
    }
}

impl NodeHealth {
    pub(crate) fn of(endpoint: Option<Arc<Endpoint>>, duty: Duty, against: Option<HealthReason>) -> Self {
        let status = match against {
            None => HealthStatus::Healthy,
            Some(HealthReason::NotMaster | HealthReason::RoleUnknown) => HealthStatus::Degraded,
            Some(_) => HealthStatus::Unhealthy,
        };
        Self { endpoint, duty, status, reasons: against.into_iter().collect(), role: None, latency: None }
    }

    pub(crate) fn is_news_after(&self, before: &Self) -> bool {
        (&self.endpoint, self.duty, &self.reasons, self.role)
            != (&before.endpoint, before.duty, &before.reasons, before.role)
    }
}

/// A connection whose server is checked.
pub(crate) struct Patient {
    link: Arc<Link>,
    duty: Duty,
}

impl Patient {
    pub(crate) fn new(link: &Arc<Link>, duty: Duty) -> Self {
        Self { link: Arc::clone(link), duty }
    }

    async fn check(&self) -> NodeHealth {
        let live = self.link.current.load_full();
        let endpoint =
            live.map(|live| Arc::clone(&live.endpoint)).or_else(|| self.link.setup.source.constant());
        let found = |against| NodeHealth::of(endpoint, self.duty, against);
        let state = self.link.status.borrow().state;
        if state != State::Up {
            return found(Some(HealthReason::NotConnected));
        }
        let began = Instant::now();
        let deadline = began + self.link.setup.config.stall_timeout;
        let answer = self.link.send_own(&redis::cmd("ROLE"), deadline).await;
        let latency = answer.is_ok().then(|| began.elapsed());
        let (against, role) = self.judge(answer);
        NodeHealth { role, latency, ..found(against) }
    }

    fn judge(&self, answer: Result<Value>) -> (Option<HealthReason>, Option<Role>) {
        match answer {
            Ok(Value::ServerError(error)) => match crate::classify::server_error(&error).kind() {
                ErrorKind::NotReady => (Some(HealthReason::NotReady), None),
                ErrorKind::Auth => (Some(HealthReason::Auth), None),
                _ => (Some(HealthReason::RoleUnknown), None),
            },
            Ok(reply) => {
                let role = parse_role(&reply);
                let against = match (role, self.duty) {
                    (Some(Role::Sentinel), _) => Some(HealthReason::NotData),
                    (Some(Role::Replica), Duty::Master) => Some(HealthReason::NotMaster),
                    (Some(_), _) => None,
                    (None, _) => Some(HealthReason::RoleUnknown),
                };
                (against, role)
            }
            Err(error) if error.kind() == ErrorKind::Timeout => (Some(HealthReason::NotAnswering), None),
            Err(_) => (Some(HealthReason::NotConnected), None),
        }
    }
}

/// Starts checking, until the topology is gone.
pub(crate) fn watch_over(topology: &Arc<dyn Topology>) -> watch::Receiver<Health> {
    let setup = topology.setup();
    let unchecked = NodeHealth::of(None, Duty::Master, Some(HealthReason::NotChecked));
    let health = watch::Sender::new(Health::of(vec![unchecked], true));
    let receiver = health.subscribe();
    let monitor = Monitor {
        topology: Arc::downgrade(topology),
        every: setup.config.health_interval,
        events: setup.events.subscribe(),
        sentinels: setup.source.sentinels(),
        health,
    };
    tokio::spawn(monitor.run());
    receiver
}

struct Monitor {
    topology: Weak<dyn Topology>,
    every: Duration,
    events: Events,
    sentinels: Option<watch::Receiver<Vec<NodeHealth>>>,
    health: watch::Sender<Health>,
}

impl Monitor {
    async fn run(mut self) {
        let mut tick = interval(self.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                is_over = changed(&mut self.events) => if is_over {
                    return;
                },
                () = told(&mut self.sentinels) => {}
            }
            // Held only for a moment: connections close with the last handle, not with the last check.
            let found = self.topology.upgrade().map(|topology| (topology.patients(), topology.is_whole()));
            let Some((patients, is_whole)) = found else { return };
            let mut nodes = join_all(patients.iter().map(Patient::check)).await;
            nodes.extend(self.sentinels.as_ref().into_iter().flat_map(|told| told.borrow().clone()));
            let found = Health::of(nodes, is_whole);
            self.health.send_if_modified(|health| {
                let is_news = found.is_news_after(health);
                *health = found;
                is_news
            });
        }
    }
}

/// Waits for something that another check is due for; `true` when there will be nothing more.
async fn changed(events: &mut Events) -> bool {
    loop {
        match events.recv().await {
            Ok(Event::Connected { .. } | Event::Down { .. } | Event::TopologyChanged { .. }) => return false,
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(_)) => return false,
            Err(broadcast::error::RecvError::Closed) => return true,
        }
    }
}

async fn told(sentinels: &mut Option<watch::Receiver<Vec<NodeHealth>>>) {
    let is_told = match sentinels {
        Some(sentinels) => sentinels.changed().await.is_ok(),
        None => false,
    };
    if !is_told {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(duty: Duty, against: Option<HealthReason>) -> NodeHealth {
        NodeHealth::of(Some(Arc::new(Endpoint::tcp("node", 1))), duty, against)
    }

    #[test]
    fn the_whole_is_unhealthy_only_when_no_master_serves() {
        let lost = Some(HealthReason::NotConnected);
        for (nodes, expected) in [
            (vec![node(Duty::Master, None)], HealthStatus::Healthy),
            (vec![node(Duty::Master, lost)], HealthStatus::Unhealthy),
            (vec![node(Duty::Master, None), node(Duty::Master, lost)], HealthStatus::Degraded),
            (vec![node(Duty::Master, lost), node(Duty::Replica, None)], HealthStatus::Unhealthy),
            (vec![node(Duty::Master, None), node(Duty::Sentinel, lost)], HealthStatus::Degraded),
            (vec![node(Duty::Master, Some(HealthReason::NotMaster))], HealthStatus::Degraded),
        ] {
            assert_eq!(Health::of(nodes.clone(), true).status, expected, "{nodes:?}");
        }
    }

    #[test]
    fn each_reason_is_named_once_and_unserved_slots_are_one() {
        let lost = Some(HealthReason::NotConnected);
        let nodes = vec![node(Duty::Master, None), node(Duty::Sentinel, lost), node(Duty::Sentinel, lost)];
        let health = Health::of(nodes, false);
        assert_eq!(health.reasons, [HealthReason::NotConnected, HealthReason::SlotsUnserved]);
        assert_eq!(health.status, HealthStatus::Degraded);
    }
}
