//! Whether the server is fit for work, asked regularly.

use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::Value;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::error::ErrorKind;
use crate::events::State;
use crate::handshake::{Role, parse_role};
use crate::link::Link;

/// The outcome of the latest health check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// What stands against [`HealthStatus::Healthy`]; empty then.
    pub reasons: Vec<HealthReason>,
    /// The role the server gave, where the user may ask.
    pub role: Option<Role>,
    /// How long the server took to answer, `None` when it did not.
    pub latency: Option<Duration>,
}

/// How fit a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HealthStatus {
    /// It answers, and is the master.
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
    /// The server no longer accepts the credentials.
    Auth,
}

impl Health {
    fn of(reasons: Vec<HealthReason>, role: Option<Role>, latency: Option<Duration>) -> Self {
        let status = match reasons.as_slice() {
            [] => HealthStatus::Healthy,
            [HealthReason::NotMaster | HealthReason::RoleUnknown] => HealthStatus::Degraded,
            _ => HealthStatus::Unhealthy,
        };
        Self { status, reasons, role, latency }
    }
}

/// Owns the task that checks; dropping it ends the task.
pub(crate) struct HealthCheck {
    health: watch::Sender<Health>,
    task: AbortHandle,
}

impl HealthCheck {
    pub(crate) fn start(link: &Arc<Link>) -> Self {
        let health = watch::Sender::new(Health::of(vec![HealthReason::NotChecked], None, None));
        let task = tokio::spawn(check_regularly(Arc::downgrade(link), health.clone())).abort_handle();
        Self { health, task }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }
}

impl Drop for HealthCheck {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Checks at the interval, and at once when the connection's state changes.
async fn check_regularly(link: Weak<Link>, health: watch::Sender<Health>) {
    let Some((mut status, every)) =
        link.upgrade().map(|link| (link.status.subscribe(), link.setup.config.health_interval))
    else {
        return;
    };
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            changed = status.changed() => if changed.is_err() {
                return;
            },
        }
        let Some(link) = link.upgrade() else { return };
        let found = check(&link).await;
        health.send_if_modified(|health| {
            let is_news =
                (health.status, &health.reasons, health.role) != (found.status, &found.reasons, found.role);
            *health = found;
            is_news
        });
    }
}

async fn check(link: &Link) -> Health {
    let state = link.status.borrow().state;
    if state != State::Up {
        return Health::of(vec![HealthReason::NotConnected], None, None);
    }
    let began = Instant::now();
    let deadline = began + link.setup.config.stall_timeout;
    let answer = link.send_own(&redis::cmd("ROLE"), deadline).await;
    let latency = Some(began.elapsed());
    match answer {
        Ok(Value::ServerError(error)) => match crate::classify::server_error(&error).kind() {
            ErrorKind::NotReady => Health::of(vec![HealthReason::NotReady], None, latency),
            ErrorKind::Auth => Health::of(vec![HealthReason::Auth], None, latency),
            _ => Health::of(vec![HealthReason::RoleUnknown], None, latency),
        },
        Ok(reply) => {
            let role = parse_role(&reply);
            let against = match role {
                Some(Role::Master) => vec![],
                Some(Role::Replica) => vec![HealthReason::NotMaster],
                Some(Role::Sentinel) => vec![HealthReason::NotData],
                None => vec![HealthReason::RoleUnknown],
            };
            Health::of(against, role, latency)
        }
        Err(error) if error.kind() == ErrorKind::Timeout => {
            Health::of(vec![HealthReason::NotAnswering], None, None)
        }
        Err(_) => Health::of(vec![HealthReason::NotConnected], None, None),
    }
}
