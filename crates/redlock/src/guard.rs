//! A held lock.

use std::{future::Future, sync::Arc, time::Duration};

use crate::{
    Claim, Lease, LockKind, LockOptions, LockToken, Outcome, Renewal, Result,
    config::check_ttl,
    hold::Hold,
    manager::Core,
    quorum,
    renewal::{Keeper, Kept, confirm_detached, extend},
    vote::Grant,
};

/// A held lock. Ownership is this value: there is no re-entrancy, and it can be sent to other tasks and threads.
///
/// Dropped, it is released in the background, without blocking and without a panic, runtime or not.
#[must_use = "a lock is released when its guard is dropped"]
pub struct Guard {
    kind: LockKind,
    lease: Lease,
    hold: Option<Hold>,
    keeper: Kept,
    /// Whether it was granted for its time to live, and not handed over for the claim time.
    confirmed: bool,
}

/// What became of an attempt to prolong a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extension {
    /// A majority confirmed it; the lock is valid for this long.
    Extended(Duration),
    /// Too few nodes answered; the lock stays valid for this long, and it can be tried again.
    Unknown(Duration),
    /// The lock is not held any more.
    Lost,
}

impl Guard {
    pub(crate) fn new(kind: LockKind, grant: Grant, options: &LockOptions) -> Self {
        let Grant { hold, token, until, confirmed } = grant;
        let lease = Lease::new(Arc::clone(&hold.core.clock), token, until);
        let keeper = Keeper::new(&hold, kind, lease.clone(), options, confirmed).start();
        Self { kind, lease, hold: Some(hold), keeper, confirmed }
    }

    /// A view of the lock for other tasks, which does not hold it.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The fencing token. See [`Lease::token`].
    pub fn token(&self) -> u64 {
        self.lease.token()
    }

    /// For how much longer the lock is surely held. See [`Lease::validity`]. Less than the time to live for the first
    /// milliseconds of a lock that was handed over by its last holder:
    /// [`claim_timeout`](crate::LockConfig::claim_timeout).
    pub fn validity(&self) -> Duration {
        self.lease.validity()
    }

    /// Whether the lock is surely held at this moment.
    pub fn is_valid(&self) -> bool {
        self.lease.is_valid()
    }

    /// Stops the caller when the lock is not held any more. See [`Lease::check`].
    ///
    /// # Errors
    /// [`Lost`](crate::ErrorKind::Lost).
    pub fn check(&self) -> Result<()> {
        self.lease.check()
    }

    /// Completes when the lock is not held any more. See [`Lease::lost`].
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.lease.lost()
    }

    /// Prolongs the lock to at least `ttl` from now. Only nodes that still hold it count; it is never created
    /// anew and never shortened.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when `ttl` is out of range.
    pub async fn extend(&self, ttl: Duration) -> Result<Extension> {
        let hold = self.hold();
        check_ttl(ttl, &hold.core.config)?;
        Ok(extend(&hold.core, &hold.claim, &hold.ballots, &self.lease, ttl).await)
    }

    /// Releases the lock and says how that went, as soon as a majority has answered. Renewal ends before the
    /// first request is sent. Cancelled, it goes on in the background.
    pub async fn release(mut self) -> Outcome {
        let hold = self.hold.take().expect("a guard has its hold until it is released");
        let observer = Arc::clone(&hold.core.members.observer);
        let was_valid = self.lease.is_valid();
        let held = self.end();
        let outcome = hold.release(was_valid).await;
        observer.released(self.kind, held.unwrap_or_else(|| self.lease.held_for()), outcome);
        outcome
    }

    /// Stops renewal and gives the lock up without releasing it: whoever has the token can take it over with
    /// [`resume`](crate::LockManager::resume), and otherwise it ends with its time to live.
    pub fn detach(mut self) -> LockToken {
        let hold = self.hold.take().expect("a guard has its hold until it is released");
        let token = LockToken::new(&hold.claim, self.token());
        self.end();
        if !self.confirmed {
            confirm_detached(&hold);
        }
        hold.forget();
        token
    }

    /// Ends the lease and with it renewal, so that it cannot prolong what is being released.
    fn end(&self) -> Option<Duration> {
        let held = self.lease.end();
        self.keeper.end();
        held
    }

    fn hold(&self) -> &Hold {
        self.hold.as_ref().expect("a guard has its hold until it is released")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("lease", &self.lease).finish_non_exhaustive()
    }
}

/// A guard for a claim that was made elsewhere, and whether the claim still holds. Until that is known the lease is
/// short, but not over: the request has to come back while it lasts.
pub(crate) async fn resumed(
    core: &Arc<Core>,
    claim: Claim,
    token: u64,
    options: &LockOptions,
) -> (Guard, Extension) {
    let until = core.clock.now().after(quorum::validity(claim.ttl));
    let kind = LockKind::shown_by(&claim.resources, &core.config.prefix);
    let hold = Hold::new(core, claim);
    let lease = Lease::new(Arc::clone(&core.clock), token, until);
    let extension = extend(core, &hold.claim, &hold.ballots, &lease, options.ttl).await;
    let keeper = Keeper::new(&hold, kind, lease.clone(), options, true).start();
    (Guard { kind, lease, hold: Some(hold), keeper, confirmed: true }, extension)
}

/// The end of the last renewal under this option, after the lock was acquired.
pub(crate) fn max_hold(renewal: Renewal) -> Duration {
    match renewal {
        Renewal::Off => Duration::ZERO,
        Renewal::UpTo { max_hold } => max_hold,
    }
}
