//! Settings of a manager and of one acquisition.

use std::time::Duration;

use uuid::Uuid;

use crate::{Error, ErrorKind, Result, quorum};

/// The shortest time to live that is accepted.
pub(crate) const MIN_TTL: Duration = Duration::from_millis(100);
/// A single request may take this part of the time to live, whatever the node timeout.
const TIMEOUT_PART: u32 = 10;

/// Settings of a [`LockManager`](crate::LockManager). All managers of one set of locks need the same `prefix` and
/// `max_ttl`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LockConfig {
    /// In front of every key and channel. No braces, at most 1,100 bytes. Default: `redlock:`.
    pub prefix: String,
    /// What other processes see as the holder: 1 to 64 letters, digits, `.`, `_`, `-`. Default: eight random
    /// hexadecimal digits.
    pub owner: String,
    /// How long one request to one node may take; a tenth of the time to live where that is shorter. 1 ms to
    /// 10 s. Default: 50 ms for a quorum, 1 s for a single authority.
    pub node_timeout: Option<Duration>,
    /// The longest time to live that can be asked for. In a quorum a node that may have forgotten locks abstains
    /// for that long. 100 ms to 1 hour. Default: 60 s.
    pub max_ttl: Duration,
    /// Whether nodes of a quorum abstain after a restart or a loss of data. Without it a restart can give a lock
    /// to two holders. Default: true.
    pub quarantine: bool,
    /// The shortest and the longest wait between two attempts, which lies anywhere between; the upper end grows
    /// from attempt to attempt. 1 ms to 10 s. Default: 5 ms and 200 ms.
    pub retry: (Duration, Duration),
    /// A waiter in a queue that was silent for this long counts as dead; a living one speaks at least three times
    /// as often. 300 ms to 1 minute. Default: 3 s.
    pub waiter_timeout: Duration,
    /// How long a lock that was handed to a waiter waits for its confirmation. The waiter relies on it from the
    /// message on, and confirms in the background, if at least a quarter of this is left since it last spoke; it
    /// speaks twice in this time. A lock with a time to live as short as this is confirmed first. 100 ms to
    /// 1 minute. Default: 2 s.
    pub claim_timeout: Duration,
}

impl Default for LockConfig {
    fn default() -> Self {
        Self {
            prefix: "redlock:".into(),
            owner: Uuid::new_v4().simple().to_string()[..8].into(),
            node_timeout: None,
            max_ttl: Duration::from_secs(60),
            quarantine: true,
            retry: (Duration::from_millis(5), Duration::from_millis(200)),
            waiter_timeout: Duration::from_secs(3),
            claim_timeout: Duration::from_secs(2),
        }
    }
}

impl LockConfig {
    /// Sets [`prefix`](Self::prefix).
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets [`owner`](Self::owner).
    #[must_use]
    pub fn with_owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = owner.into();
        self
    }

    /// Sets [`node_timeout`](Self::node_timeout).
    #[must_use]
    pub fn with_node_timeout(mut self, node_timeout: Duration) -> Self {
        self.node_timeout = Some(node_timeout);
        self
    }

    /// Sets [`max_ttl`](Self::max_ttl).
    #[must_use]
    pub fn with_max_ttl(mut self, max_ttl: Duration) -> Self {
        self.max_ttl = max_ttl;
        self
    }

    /// Sets [`quarantine`](Self::quarantine).
    #[must_use]
    pub fn with_quarantine(mut self, quarantine: bool) -> Self {
        self.quarantine = quarantine;
        self
    }

    /// Sets [`retry`](Self::retry).
    #[must_use]
    pub fn with_retry(mut self, shortest: Duration, longest: Duration) -> Self {
        self.retry = (shortest, longest);
        self
    }

    /// Sets [`waiter_timeout`](Self::waiter_timeout).
    #[must_use]
    pub fn with_waiter_timeout(mut self, waiter_timeout: Duration) -> Self {
        self.waiter_timeout = waiter_timeout;
        self
    }

    /// Sets [`claim_timeout`](Self::claim_timeout).
    #[must_use]
    pub fn with_claim_timeout(mut self, claim_timeout: Duration) -> Self {
        self.claim_timeout = claim_timeout;
        self
    }

    /// Checks every setting; building a manager does it first of all.
    ///
    /// # Errors
    /// `InvalidConfig`, naming the field.
    pub fn validate(&self) -> Result<()> {
        let (ms, second) = (Duration::from_millis, Duration::from_secs(1));
        let label = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let owner = (1..=64).contains(&self.owner.len()) && self.owner.chars().all(label);
        let (shortest, longest) = self.retry;
        let checks = [
            ("prefix", !self.prefix.contains(['{', '}']) && self.prefix.len() <= 1_100),
            ("owner", owner),
            ("node_timeout", self.node_timeout.is_none_or(|t| (ms(1)..=10 * second).contains(&t))),
            ("max_ttl", (MIN_TTL..=3600 * second).contains(&self.max_ttl)),
            ("retry", ms(1) <= shortest && shortest <= longest && longest <= 10 * second),
            ("waiter_timeout", (ms(300)..=60 * second).contains(&self.waiter_timeout)),
            ("claim_timeout", (MIN_TTL..=60 * second).contains(&self.claim_timeout)),
        ];
        match checks.iter().find(|(_, holds)| !holds) {
            Some((field, _)) => Err(Error::new(ErrorKind::InvalidConfig, format!("{field} is out of range"))),
            None => Ok(()),
        }
    }

    /// The deadline of one request for a hold of `ttl`.
    pub(crate) fn request_timeout(&self, nodes: usize, ttl: Duration) -> Duration {
        let default = if nodes == 1 { Duration::from_secs(1) } else { Duration::from_millis(50) };
        self.node_timeout.unwrap_or(default).min(ttl / TIMEOUT_PART)
    }

    /// How often a waiter looks. A lock that is handed to it has half of its claim time left at the least.
    pub(crate) fn heartbeat(&self) -> Duration {
        (self.waiter_timeout / 3).min(self.claim_timeout / 2)
    }

    pub(crate) fn quarantine_span(&self, nodes: usize) -> Option<Duration> {
        (self.quarantine && nodes > 1).then(|| quorum::quarantine(self.max_ttl))
    }
}

/// How one lock is acquired and kept: three separate times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockOptions {
    /// How long the lock lasts on the servers unless it is renewed. 100 ms to the manager's `max_ttl`; whole
    /// milliseconds. Default: 30 s.
    pub ttl: Duration,
    /// How long to wait for others; `None` waits for ever. Default: 30 s.
    pub wait: Option<Duration>,
    /// Whether the guard keeps the lock beyond its time to live. Default: renewed, for at most one hour.
    pub renewal: Renewal,
    /// Who goes first among the waiters of a single authority: the higher one, then the earlier one. Ignored in
    /// a quorum, which has no order. Default: 0.
    pub priority: i8,
}

/// Whether a guard keeps its lock beyond the time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Renewal {
    /// Not unless [`extend`](crate::Guard::extend) is called.
    Off,
    /// Renewed at every third of the time to live, until the lock was held for `max_hold`; then it runs out
    /// and the guard reports it as lost, so that a stuck holder does not hold for ever.
    UpTo {
        /// The longest hold, unless the time to live alone is longer.
        max_hold: Duration,
    },
}

impl Default for LockOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(30),
            wait: Some(Duration::from_secs(30)),
            renewal: Renewal::UpTo { max_hold: Duration::from_secs(3600) },
            priority: 0,
        }
    }
}

impl LockOptions {
    /// The defaults with another [`ttl`](Self::ttl).
    #[must_use]
    pub fn ttl(ttl: Duration) -> Self {
        Self { ttl, ..Self::default() }
    }

    /// Sets [`wait`](Self::wait).
    #[must_use]
    pub fn with_wait(mut self, wait: Option<Duration>) -> Self {
        self.wait = wait;
        self
    }

    /// Sets [`renewal`](Self::renewal).
    #[must_use]
    pub fn with_renewal(mut self, renewal: Renewal) -> Self {
        self.renewal = renewal;
        self
    }

    /// Sets [`priority`](Self::priority).
    #[must_use]
    pub fn with_priority(mut self, priority: i8) -> Self {
        self.priority = priority;
        self
    }

    pub(crate) fn validate(&self, config: &LockConfig) -> Result<()> {
        check_ttl(self.ttl, config)
    }
}

pub(crate) fn check_ttl(ttl: Duration, config: &LockConfig) -> Result<()> {
    if (MIN_TTL..=config.max_ttl).contains(&ttl) {
        return Ok(());
    }
    let context = format!("the time to live has to be {MIN_TTL:?} to {:?}", config.max_ttl);
    Err(Error::new(ErrorKind::InvalidInput, context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_out_of_range_is_named() {
        let ms = Duration::from_millis;
        let base = LockConfig::default;
        for (field, config) in [
            ("prefix", base().with_prefix("a{b")),
            ("owner", base().with_owner("a/b")),
            ("node_timeout", base().with_node_timeout(Duration::ZERO)),
            ("max_ttl", base().with_max_ttl(ms(99))),
            ("retry", base().with_retry(ms(5), ms(4))),
            ("waiter_timeout", base().with_waiter_timeout(ms(1))),
            ("claim_timeout", base().with_claim_timeout(ms(60_001))),
        ] {
            let error = config.validate().unwrap_err();
            assert_eq!((error.kind(), error.context().starts_with(field)), (ErrorKind::InvalidConfig, true));
        }
        base().validate().unwrap();
    }

    #[test]
    fn a_waiter_looks_often_enough_to_live_and_to_rely_on_a_hand_off() {
        let ms = Duration::from_millis;
        for (waiter, claim, expected) in [(3_000, 2_000, 1_000), (3_000, 1_000, 500), (900, 60_000, 300)] {
            let config = LockConfig::default().with_waiter_timeout(ms(waiter)).with_claim_timeout(ms(claim));
            assert_eq!(config.heartbeat(), ms(expected));
        }
    }

    #[test]
    fn a_request_takes_at_most_a_tenth_of_the_time_to_live() {
        let config = LockConfig::default();
        assert_eq!(config.request_timeout(3, MIN_TTL), Duration::from_millis(10));
        assert_eq!(config.request_timeout(3, 100 * MIN_TTL), Duration::from_millis(50));
    }

    #[test]
    fn times_to_live_out_of_range_are_refused() {
        let config = LockConfig::default();
        for ttl in [Duration::ZERO, Duration::from_millis(99), Duration::from_secs(61)] {
            assert_eq!(LockOptions::ttl(ttl).validate(&config).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }
}
