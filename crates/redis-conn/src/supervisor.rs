//! Keeps one link connected: connect, watch, replace, for ever.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::backoff::Schedule;
use crate::dial::Driver;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{DownReason, Event, State};
use crate::link::{Link, Live, Status};
use crate::setup::Setup;
use crate::watch::Watch;

/// A connection that lived shorter than this does not reset the backoff.
const STABLE: Duration = Duration::from_secs(1);

/// Pause before the next attempt with credentials that the server has refused.
const AUTH_PAUSE: Duration = Duration::from_millis(500);

/// Owns the supervisor task of a link; dropping it ends the task and closes the connection.
pub(crate) struct Supervised {
    pub(crate) link: Arc<Link>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Supervised {
    /// Starts supervising a new link; it is connecting when this returns.
    pub(crate) fn start(setup: &Arc<Setup>) -> Self {
        let link = Arc::new(Link::new(Arc::clone(setup)));
        let stop = watch::Sender::new(false);
        let task = tokio::spawn(supervise(Arc::clone(&link), stop.subscribe()));
        Self { link, stop, task }
    }

    /// Waits until the link is up.
    ///
    /// # Errors
    /// The failure of the last attempt, at `deadline` or at once when repeating cannot help.
    pub(crate) async fn ready(&self, deadline: Instant) -> Result<()> {
        let mut status = self.link.status.subscribe();
        let settled = status.wait_for(|status| {
            status.state == State::Up
                || status.state == State::Closed
                || status.failure.as_ref().is_some_and(|failure| is_final(failure))
        });
        let _ = tokio::time::timeout_at(deadline, settled).await;
        let status = self.link.status.borrow();
        match (&status.state, &status.failure) {
            (State::Up, _) => Ok(()),
            (State::Closed, _) => Err(Error::not_sent(ErrorKind::Closed, "closed while connecting")),
            (_, Some(failure)) => Err(failure.restated()),
            (_, None) => Err(Error::not_sent(ErrorKind::Timeout, "no connection within connect_timeout")),
        }
    }

    /// Ends supervision and closes the connection; returns when both is done.
    pub(crate) async fn stop(&self) {
        self.stop.send_replace(true);
        let mut status = self.link.status.subscribe();
        // The sender lives in the link we hold, so waiting cannot fail.
        let _ = status.wait_for(|status| status.state == State::Closed).await;
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(live) = self.link.current.swap(None) {
            live.traffic.sever();
            self.link.setup.observe(|observer| observer.disconnected(&live.endpoint, DownReason::Closed));
        }
    }
}

/// Failures that another attempt with the same configuration does not cure.
fn is_final(failure: &Error) -> bool {
    matches!(
        failure.kind(),
        ErrorKind::InvalidConfig
            | ErrorKind::Tls
            | ErrorKind::Auth
            | ErrorKind::Denied
            | ErrorKind::Unsupported
            | ErrorKind::Reply
    )
}

async fn supervise(link: Arc<Link>, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = keep_connected(&link) => {}
    }
    // Whatever was under way is dropped by now; nothing connects again.
    retract(&link, DownReason::Closed);
    link.status.send_replace(Status { state: State::Closed, failure: None });
}

async fn keep_connected(link: &Link) {
    let mut schedule = Schedule::new(link.setup.config.backoff);
    let mut watch = Watch::new(link);
    loop {
        watch.acknowledge_switch();
        let began = Instant::now();
        let attempt = tokio::select! {
            attempt = establish(link) => attempt,
            // Another master while this one is being dialled: what is under way is dropped.
            () = watch.switched() => continue,
        };
        match attempt {
            Ok((live, mut driver)) => {
                let since = Instant::now();
                publish(link, &live, since - began);
                let reason = watch.until_down(&live, &mut driver).await;
                retract(link, reason);
                drop(driver);
                if since.elapsed() >= STABLE {
                    schedule.reset();
                    continue;
                }
            }
            Err(failure) => note_failure(link, failure),
        }
        let pause = pause(link, &mut schedule);
        // A switch to another master ends the pause.
        let _ = timeout(pause, watch.switched()).await;
    }
}

async fn establish(link: &Link) -> Result<(Arc<Live>, Driver), Failure> {
    let setup = &link.setup;
    let endpoint = setup.locate().await.map_err(Failure::nowhere)?;
    link.dials(&endpoint);
    let epoch = setup.epoch();
    let dialed = setup.dialer.dial(&endpoint).await.map_err(|error| Failure::at(&endpoint, error))?;
    setup.source.verify(&endpoint, &dialed.server).map_err(|error| Failure::at(&endpoint, error))?;
    Ok((Arc::new(Live::new(&dialed, epoch, endpoint, link)), dialed.driver))
}

/// A failed attempt and where it went.
struct Failure {
    endpoint: Option<Arc<Endpoint>>,
    error: Error,
}

impl Failure {
    fn nowhere(error: Error) -> Self {
        Self { endpoint: None, error }
    }

    fn at(endpoint: &Arc<Endpoint>, error: Error) -> Self {
        Self { endpoint: Some(Arc::clone(endpoint)), error }
    }
}

fn publish(link: &Link, live: &Arc<Live>, took: Duration) {
    link.current.store(Some(Arc::clone(live)));
    // Only now: a gate that opens with the news must not hear of calls that still found no connection.
    link.setup.observe(|observer| observer.connected(&live.endpoint, took));
    link.status.send_replace(Status { state: State::Up, failure: None });
    tracing::debug!(endpoint = %live.endpoint, epoch = live.epoch, "connected");
    link.setup.publish(Event::Connected { endpoint: Arc::clone(&live.endpoint), epoch: live.epoch });
}

fn retract(link: &Link, reason: DownReason) {
    let Some(live) = link.current.swap(None) else { return };
    live.traffic.sever();
    link.setup.bump_epoch();
    live.debts.write_off(&link.budget);
    link.status.send_replace(Status { state: State::Connecting, failure: None });
    tracing::debug!(endpoint = %live.endpoint, epoch = live.epoch, ?reason, "connection given up");
    link.setup.observe(|observer| observer.disconnected(&live.endpoint, reason));
    link.setup.publish(Event::Down { endpoint: Arc::clone(&live.endpoint), reason });
}

fn note_failure(link: &Link, failure: Failure) {
    let Failure { endpoint, error } = failure;
    tracing::debug!(kind = ?error.kind(), context = error.context(), "connection attempt failed");
    link.setup.observe(|observer| observer.connect_failed(endpoint.as_deref(), &error));
    link.setup.publish(Event::ConnectFailed { endpoint, kind: error.kind() });
    link.status.send_replace(Status { state: State::Down, failure: Some(Arc::new(error)) });
}

fn pause(link: &Link, schedule: &mut Schedule) -> Duration {
    let refused = link.status.borrow().failure.as_ref().is_some_and(|f| f.kind() == ErrorKind::Auth);
    let pause = schedule.pause();
    if refused { pause.max(AUTH_PAUSE) } else { pause }
}
