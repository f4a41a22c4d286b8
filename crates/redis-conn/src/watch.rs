//! Watches an established connection for the reasons to replace it.

use std::pin::{Pin, pin};
use std::time::Duration;

use redis::Value;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::budget::Charge;
use crate::classify::Trouble;
use crate::dial::Driver;
use crate::error::Result;
use crate::events::DownReason;
use crate::handshake::Role;
use crate::link::{Link, Live};
use crate::reauth::follow_rotations;

/// A former master that answers `READONLY` is left, for another look at where the endpoint leads, at most this
/// often; a node that was a replica from the start, so that another look hardly helps, at most as often as below.
const ROLE_INTERVAL: Duration = Duration::from_secs(1);
const REPLICA_INTERVAL: Duration = Duration::from_secs(10);

/// A second of patience for so many bytes in flight, so that a large upload is not taken for a stall.
const BYTES_PER_SECOND: u64 = 16 << 20;

/// The watcher of one link; outlives its connections, to remember what must not happen too often.
pub(crate) struct Watch<'a> {
    link: &'a Link,
    generation: watch::Receiver<u64>,
    left_role: Option<Instant>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(link: &'a Link) -> Self {
        Self { link, generation: link.setup.source.generation(), left_role: None }
    }

    /// Completes when the source wants earlier connections closed; never when it is gone.
    pub(crate) async fn switched(&mut self) {
        if self.generation.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// From here on only later switches count.
    pub(crate) fn acknowledge_switch(&mut self) {
        self.generation.mark_unchanged();
    }

    /// Watches `live` until it has to be replaced.
    pub(crate) async fn until_down(&mut self, live: &Live, driver: &mut Driver) -> DownReason {
        let link = self.link;
        let mut tick = interval(link.setup.config.stall_timeout / 4);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stall = Stall::new(live);
        let mut probe = Probe::default();
        let mut rotations = pin!(follow_rotations(&link.setup, live));
        loop {
            tokio::select! {
                () = driver.ended() => return DownReason::Lost,
                () = self.switched() => return DownReason::Switched,
                trouble = link.signal.next(live.epoch) => match trouble {
                    Trouble::Auth => return DownReason::Auth,
                    Trouble::WrongRole if self.may_leave_role(live) => return DownReason::WrongRole,
                    Trouble::WrongRole => {}
                },
                never = &mut rotations => match never {},
                _ = tick.tick() => if stall.is_over(link, live) {
                    return DownReason::Stalled;
                },
                () = live.debts.grown.notified(), if probe.is_idle() => probe.start(live),
                owed = probe.answered() => {
                    live.debts.repay(owed, &link.budget);
                    if live.debts.owed() != Charge::NONE {
                        probe.start(live);
                    }
                }
            }
        }
    }

    fn may_leave_role(&mut self, live: &Live) -> bool {
        let known_replica = live.server.role == Some(Role::Replica);
        let interval = if known_replica { REPLICA_INTERVAL } else { ROLE_INTERVAL };
        let may = self.left_role.is_none_or(|left| left.elapsed() >= interval);
        if may {
            self.left_role = Some(Instant::now());
        }
        may
    }
}

/// Since when a request is unanswered without a byte arriving.
struct Stall {
    read: u64,
    since: Instant,
    looked: Instant,
}

impl Stall {
    fn new(live: &Live) -> Self {
        let now = Instant::now();
        Self { read: live.traffic.read(), since: now, looked: now }
    }

    /// Abandoned requests keep their share of the budget until they are answered, so the budget knows of
    /// every unanswered request.
    fn is_over(&mut self, link: &Link, live: &Live) -> bool {
        let stall_timeout = link.setup.config.stall_timeout;
        let (read, now) = (live.traffic.read(), Instant::now());
        // After a pause of this process (a blocked runtime, a suspended machine) the silence was ours.
        let paused = now - self.looked >= stall_timeout / 2;
        self.looked = now;
        if read != self.read || link.budget.count() == 0 || paused {
            (self.read, self.since) = (read, now);
            return false;
        }
        let uploading = Duration::from_secs(link.budget.bytes() / BYTES_PER_SECOND);
        self.since.elapsed() >= stall_timeout + uploading
    }
}

type PingFuture = Pin<Box<dyn Future<Output = Result<Value>> + Send>>;

/// A `PING` behind abandoned requests: its answer says that they have been answered, too.
#[derive(Default)]
struct Probe(Option<(PingFuture, Charge)>);

impl Probe {
    fn is_idle(&self) -> bool {
        self.0.is_none()
    }

    fn start(&mut self, live: &Live) {
        let owed = live.debts.owed();
        let mux = live.mux.clone();
        let ping = async move { mux.ask(&redis::cmd("PING")).await };
        self.0 = Some((Box::pin(ping), owed));
    }

    /// What has been answered now that the probe is; waits for ever when none is under way. A failed probe
    /// also settles its debt: the connection is over then.
    async fn answered(&mut self) -> Charge {
        let Some((ping, owed)) = &mut self.0 else { return std::future::pending().await };
        let _ = ping.await;
        let owed = *owed;
        self.0 = None;
        owed
    }
}
