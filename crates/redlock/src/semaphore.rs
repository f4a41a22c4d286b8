//! Permits: at most so many holders at a time.

use std::{sync::Arc, time::Duration};

use rand::RngExt;
use tokio::time::Instant;

use crate::{
    Error, ErrorKind, Guard, LockKind, LockManager, LockOptions, Mode, Result,
    acquire::{Backoff, acquire, grant, is_final, observed},
    claim::Resource,
    manager::Core,
    vote::Grant,
};

/// The most permits of a semaphore on a single authority, and in a quorum.
const MOST: (u32, u32) = (100_000, 32);

/// At most a given number of holders at a time, each with its own guard and time to live.
///
/// On a single authority it is a set of permits, in turn. In a quorum that would be unsafe, because majorities of
/// different holders overlap too little; there it is one lock for each permit, tried from a random one on. All users of
/// a semaphore have to name the same number of permits.
#[derive(Clone, Debug)]
pub struct Semaphore {
    manager: LockManager,
    slots: Vec<Resource>,
}

impl Semaphore {
    pub(crate) fn new(manager: &LockManager, name: &str, permits: u32) -> Result<Self> {
        let prefix = &manager.0.config.prefix;
        let several = manager.0.members.len() > 1;
        let most = if several { MOST.1 } else { MOST.0 };
        if !(1..=most).contains(&permits) {
            let context = format!("a semaphore has 1 to {most} permits here");
            return Err(Error::new(ErrorKind::InvalidInput, context));
        }
        let slots = if several {
            let slot = |i| Resource::new(prefix, &format!("s{i}"), name, Mode::Exclusive);
            (0..permits).map(slot).collect::<Result<_>>()?
        } else {
            vec![Resource::new(prefix, "s", name, Mode::Permit(permits))?]
        };
        Ok(Self { manager: manager.clone(), slots })
    }

    /// Acquires a permit, waiting as long as the options say.
    ///
    /// # Errors
    /// As [`LockManager::acquire`].
    pub async fn acquire(&self, options: LockOptions) -> Result<Guard> {
        let (core, kind) = (&self.manager.0, LockKind::Semaphore);
        match &self.slots[..] {
            [permits] => acquire(core, kind, vec![permits.clone()], &options).await,
            slots => {
                observed(core, kind, &options, async |attempts| any_of(core, slots, options, attempts).await)
                    .await
            }
        }
    }
}

/// Tries all slots, from a random one on, until one is had or the time to wait is over.
async fn any_of(
    core: &Arc<Core>,
    slots: &[Resource],
    options: LockOptions,
    attempts: &mut u32,
) -> Result<Grant> {
    let deadline = options.wait.and_then(|wait| Instant::now().checked_add(wait));
    let once = options.with_wait(Some(Duration::ZERO));
    let mut backoff = Backoff::new(&core.config);
    loop {
        let mut refused = None;
        let first = rand::rng().random_range(0..slots.len());
        for slot in slots[first..].iter().chain(&slots[..first]) {
            match grant(core, Arc::new([slot.clone()]), &once, attempts).await {
                Err(error) if !is_final(&error) => refused = Some(error),
                other => return other,
            }
        }
        let wait = backoff.next(None);
        if deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
            return Err(refused.expect("there is at least one slot"));
        }
        tokio::time::sleep(wait).await;
    }
}
