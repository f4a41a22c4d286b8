//! Attempts until the lock is had or the time to wait is over.

use std::{sync::Arc, time::Duration};

use rand::RngExt;
use tokio::time::Instant;

use crate::{
    Claim, Error, ErrorKind, Guard, LockConfig, LockKind, LockOptions, Result,
    claim::{Resource, fresh_id},
    manager::Core,
    queue::wait_in_line,
    vote::{Grant, attempt},
};

/// Full jitter whose upper end doubles from wait to wait.
pub(crate) struct Backoff {
    shortest: Duration,
    longest: Duration,
    upper: Duration,
}

impl Backoff {
    pub(crate) fn new(config: &LockConfig) -> Self {
        let (shortest, longest) = config.retry;
        Self { shortest, longest, upper: shortest * 2 }
    }

    /// The next wait; not longer than until the lock is `free_in`, plus the shortest wait.
    pub(crate) fn next(&mut self, free_in: Option<Duration>) -> Duration {
        let upper = self.upper.min(self.longest);
        self.upper = upper * 2;
        let wait = rand::rng().random_range(self.shortest..=upper.max(self.shortest));
        free_in.map_or(wait, |free_in| wait.min(free_in + self.shortest))
    }
}

/// Acquires all resources under one guard.
pub(crate) async fn acquire(
    core: &Arc<Core>,
    kind: LockKind,
    resources: Vec<Resource>,
    options: &LockOptions,
) -> Result<Guard> {
    observed(core, kind, options, async |attempts| grant(core, resources.into(), options, attempts).await)
        .await
}

/// Acquires in whatever way, and tells the observer how that went.
pub(crate) async fn observed(
    core: &Arc<Core>,
    kind: LockKind,
    options: &LockOptions,
    grant: impl AsyncFnOnce(&mut u32) -> Result<Grant>,
) -> Result<Guard> {
    options.validate(&core.config)?;
    core.check_open()?;
    let begun = Instant::now();
    let mut attempts = 0;
    let outcome = grant(&mut attempts).await;
    let observer = &core.members.observer;
    match outcome {
        Ok(grant) => {
            observer.acquired(kind, begun.elapsed(), attempts);
            tracing::debug!(kind = kind.name(), token = grant.token, attempts, "lock acquired");
            Ok(Guard::new(kind, grant, options))
        }
        Err(error) => {
            // What an attempt that was not to wait took is the time of its question.
            let wait = if options.wait == Some(Duration::ZERO) { Duration::ZERO } else { begun.elapsed() };
            observer.failed(kind, error.kind(), wait, attempts);
            tracing::debug!(kind = kind.name(), error = %error, attempts, "lock not acquired");
            Err(error)
        }
    }
}

/// Makes attempts until one succeeds or the time to wait is over.
pub(crate) async fn grant(
    core: &Arc<Core>,
    resources: Arc<[Resource]>,
    options: &LockOptions,
    attempts: &mut u32,
) -> Result<Grant> {
    // A wait beyond what the clock can express is for ever.
    let deadline = options.wait.and_then(|wait| Instant::now().checked_add(wait));
    let tries_once = options.wait.is_some_and(|wait| wait.is_zero());
    if core.members.len() == 1 && resources.len() == 1 && !tries_once {
        let claim = core.claim(fresh_id(&core.config.owner), resources, options.ttl);
        return wait_in_line(core, claim, options.priority, deadline, attempts).await;
    }
    // A writer that comes back keeps new readers out until then.
    let intent = if tries_once { Duration::ZERO } else { core.config.retry.1 * 3 };
    let mut backoff = Backoff::new(&core.config);
    loop {
        *attempts += 1;
        let fresh = core.claim(fresh_id(&core.config.owner), Arc::clone(&resources), options.ttl);
        let claim = Claim { intent, ..fresh };
        let refusal = match attempt(core, claim).await {
            Ok(grant) => return Ok(grant),
            Err(refusal) => refusal,
        };
        let now = Instant::now();
        if deadline.is_some_and(|deadline| now >= deadline) || is_final(&refusal.error) {
            // A caller that tries again by itself must not be in its own way.
            refusal.clearing.wait(core.request_timeout(options.ttl), core.config.retry.0).await;
            return Err(refusal.error);
        }
        let wait = backoff.next(refusal.free_in);
        let end = deadline.map_or(now + wait, |deadline| deadline.min(now + wait));
        let (shortest, longest) = core.config.retry;
        tokio::join!(tokio::time::sleep_until(end), refusal.clearing.wait(longest, shortest));
    }
}

/// Whether waiting cannot mend it.
pub(crate) fn is_final(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WrongType | ErrorKind::InvalidConfig | ErrorKind::InvalidInput)
}
