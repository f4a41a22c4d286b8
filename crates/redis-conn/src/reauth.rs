//! Presents rotated credentials on a connection that stands.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::classify::server_error;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::handshake::auth;
use crate::link::Live;
use crate::setup::Setup;

/// Pause after a refusal: the provider may be ahead of the server, or the other way round.
const PAUSE: Duration = Duration::from_secs(1);

/// Says when a connection that nobody supervises has rotated credentials to present.
pub(crate) struct Rotations {
    told: Option<watch::Receiver<u64>>,
    /// When to present them, while they have not been accepted.
    due: Option<Instant>,
}

impl Rotations {
    /// From here on; taken before the credentials of the connection are asked for, so that none is missed.
    pub(crate) fn from_now_on(setup: &Setup) -> Self {
        Self { told: setup.dialer.rotations(), due: None }
    }

    /// Whether to present credentials now.
    pub(crate) fn are_due(&mut self) -> bool {
        if let Some(told) = self.told.as_mut().filter(|told| told.has_changed().unwrap_or(false)) {
            told.mark_unchanged();
            self.due = Some(Instant::now());
        }
        self.due.is_some_and(|due| due <= Instant::now())
    }

    /// Waits until credentials are to be presented.
    pub(crate) async fn due(&mut self) {
        while !self.are_due() {
            let is_told = match (self.due, &mut self.told) {
                (Some(due), _) => {
                    sleep_until(due).await;
                    continue;
                }
                (None, Some(told)) => told.changed().await.is_ok(),
                (None, None) => false,
            };
            if !is_told {
                std::future::pending().await
            }
            self.due = Some(Instant::now());
        }
    }

    /// They were accepted, or are to be presented again after a pause.
    pub(crate) fn settle(&mut self, outcome: &Result<()>) {
        self.due = match outcome {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(%error, "rotated credentials are not accepted yet");
                Some(Instant::now() + PAUSE)
            }
        };
    }
}

/// Authenticates `live` anew with every rotation, for as long as it is polled.
///
/// A refusal leaves the connection as it was, authenticated as before, and is repeated after a pause.
pub(crate) async fn follow_rotations(setup: &Setup, live: &Live) -> Infallible {
    let Some(mut rotations) = setup.dialer.rotations() else { return std::future::pending().await };
    // The one that may have fallen between asking for the credentials of this connection and now.
    rotations.mark_changed();
    loop {
        if rotations.changed().await.is_err() {
            return std::future::pending().await;
        }
        while let Err(error) = reauthenticate(setup, live).await {
            tracing::warn!(endpoint = %live.endpoint, %error, "rotated credentials are not accepted yet");
            sleep(PAUSE).await;
        }
        setup.publish(Event::Reauthenticated { endpoint: Arc::clone(&live.endpoint) });
    }
}

async fn reauthenticate(setup: &Setup, live: &Live) -> Result<()> {
    let Some(credentials) = setup.dialer.ask_credentials().await? else { return Ok(()) };
    let command = auth(&credentials);
    let reply = timeout(setup.config.command_timeout, live.mux.ask(&command))
        .await
        .map_err(|_| Error::not_sent(ErrorKind::Timeout, "authenticating anew"))?;
    match reply? {
        Value::ServerError(error) => Err(server_error(&error)),
        _ => Ok(()),
    }
}
