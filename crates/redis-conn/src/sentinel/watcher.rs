//! Watches one sentinel: notified of switches over one connection, asked over another.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use rand::RngExt as _;
use redis::RedisConnectionInfo;
use redis::aio::PubSub;
use tokio::time::{Instant, sleep, timeout};

use super::survey::{Answer, Survey, switched_to};
use super::{Shared, Vote};
use crate::backoff::Schedule;
use crate::classify::{SendState, classify};
use crate::config::Backoff;
use crate::credentials::Credentials;
use crate::dial::Dialed;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::health::HealthReason;

const CHANNEL: &str = "+switch-master";
/// Pauses between attempts to reach a sentinel.
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(20), max: Duration::from_secs(1) };
/// A learned sentinel that was not reached for so long is no longer watched.
const FORGET: Duration = Duration::from_secs(300);

/// Why a session ended.
enum End {
    Failed(Error),
    /// This is another address of a sentinel that is watched already.
    Duplicate,
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Watches `sentinel` for ever, or, when it was learned, until it is gone for good.
pub(super) async fn watch(shared: Arc<Shared>, sentinel: Arc<Endpoint>, learned: bool) {
    let mut schedule = Schedule::new(BACKOFF);
    let mut reached = Instant::now();
    loop {
        let Err(end) = session(&shared, &sentinel, learned, &mut reached).await;
        let gone = match end {
            End::Failed(error) => {
                tracing::debug!(%sentinel, kind = ?error.kind(), "lost a sentinel");
                shared.lost(&sentinel, error);
                reached.elapsed() > FORGET
            }
            End::Duplicate => {
                shared.withdraw(&sentinel);
                true
            }
        };
        if gone && learned {
            return shared.dismiss(&sentinel);
        }
        if reached.elapsed() < BACKOFF.max {
            schedule.reset();
        }
        sleep(schedule.pause()).await;
    }
}

/// One pair of connections, from dialling to the first thing that goes wrong.
async fn session(
    shared: &Arc<Shared>,
    sentinel: &Arc<Endpoint>,
    learned: bool,
    reached: &mut Instant,
) -> Result<Infallible, End> {
    let Dialed { mux, mut driver, .. } = shared.dialer.dial(sentinel).await?;
    // Subscribed before asked, so that no switch falls in between.
    let mut subscription = subscribe(shared, sentinel).await?;
    let mut switches = subscription.on_message();
    let mut hurry = shared.hurry.subscribe();
    let mut survey = Survey::new(shared.settings.learn);
    loop {
        hurry.mark_unchanged();
        let asked = Instant::now();
        let answer = timeout(shared.limit, survey.ask(shared, &mux)).await.map_err(|_| silent())??;
        *reached = Instant::now();
        let against = answer.vote.is_none().then_some(HealthReason::ServiceUnknown);
        take(shared, sentinel, learned, answer)?;
        shared.note(sentinel, against, Some(asked.elapsed()));
        tokio::select! {
            switch = switches.next() => {
                let payload = switch.ok_or_else(silent)?.get_payload::<String>().unwrap_or_default();
                if let Some(master) = switched_to(&payload, &shared.service) {
                    // The epoch comes with the survey that follows at once.
                    shared.vote(sentinel, Some(Vote { master: shared.reachable(master), epoch: None }));
                }
            }
            _ = hurry.changed() => {}
            () = driver.ended() => return Err(silent().into()),
            () = sleep(jittered(shared.settings.poll_interval)) => {}
        }
    }
}

async fn subscribe(shared: &Shared, sentinel: &Endpoint) -> Result<PubSub> {
    let (stream, credentials) = shared.dialer.open_subscriber(sentinel).await?;
    let login = login(credentials.as_ref());
    let subscribing = async {
        let mut subscription = PubSub::new(&login, stream).await?;
        subscription.subscribe(CHANNEL).await?;
        Ok(subscription)
    };
    let subscribed = timeout(shared.limit, subscribing).await.map_err(|_| silent())?;
    subscribed.map_err(|error| classify(error, SendState::NotSent))
}

fn login(credentials: Option<&Credentials>) -> RedisConnectionInfo {
    let info = RedisConnectionInfo::default();
    let Some(credentials) = credentials else { return info };
    let info = info.set_password(credentials.expose_password());
    match credentials.expose_user() {
        Some(user) => info.set_username(user),
        None => info,
    }
}

fn take(shared: &Arc<Shared>, sentinel: &Arc<Endpoint>, learned: bool, answer: Answer) -> Result<(), End> {
    // Without identities a learned address could be a second voice of a sentinel we know, so none is learned.
    if let Some(id) = answer.id {
        if !shared.claim(&id, sentinel, learned) {
            return Err(End::Duplicate);
        }
        // Before the vote counts, so that the first decision waits for those who are learned now.
        for (id, other) in answer.sentinels {
            shared.learn(&id, other);
        }
    }
    shared.vote(sentinel, answer.vote);
    if let Some(replicas) = answer.replicas {
        shared.name_replicas(replicas);
    }
    Ok(())
}

fn silent() -> Error {
    Error::not_sent(ErrorKind::Unavailable, "the sentinel does not answer")
}

/// Spread over the upper half, so that clients do not ask in step.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(rand::rng().random_range(0.5..=1.0))
}
