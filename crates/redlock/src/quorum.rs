//! The arithmetic of a quorum: how many votes, how long a grant is good for.

use std::time::Duration;

/// The number of authorities and what makes a majority of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quorum {
    nodes: usize,
}

impl Quorum {
    pub(crate) const fn of(nodes: usize) -> Self {
        Self { nodes }
    }

    pub(crate) const fn majority(self) -> usize {
        self.nodes / 2 + 1
    }

    /// Whether a majority can still be reached when this many nodes did not agree.
    pub(crate) const fn reachable_without(self, lost: usize) -> bool {
        self.nodes - lost >= self.majority()
    }
}

/// By how much the clocks of a client and a server may run apart during `ttl`: 1 % and 2 ms, the allowance of
/// the Redlock description. The 2 ms also cover that servers count in whole milliseconds.
pub(crate) fn drift(ttl: Duration) -> Duration {
    ttl / 100 + Duration::from_millis(2)
}

/// How long a hold of `ttl` may be relied on, counted from before its first request was sent.
pub(crate) fn validity(ttl: Duration) -> Duration {
    ttl.saturating_sub(drift(ttl))
}

/// How long a node that may have forgotten locks has to abstain: until every lock of the longest time to live
/// is over, by the slowest clock allowed.
pub(crate) fn quarantine(max_ttl: Duration) -> Duration {
    max_ttl + drift(max_ttl) + Duration::from_secs(1)
}

/// The one token of a set of votes, and how many of the votes already name it.
pub(crate) fn highest(tokens: impl Iterator<Item = u64> + Clone) -> Option<(u64, usize)> {
    let top = tokens.clone().max()?;
    Some((top, tokens.filter(|token| *token == top).count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_two_majorities_share_a_node() {
        for nodes in 1..=9 {
            let majority = Quorum::of(nodes).majority();
            assert!(2 * majority > nodes, "{nodes}");
            assert!(Quorum::of(nodes).reachable_without(nodes - majority));
            assert!(!Quorum::of(nodes).reachable_without(nodes - majority + 1));
        }
    }

    #[test]
    fn a_hold_is_relied_on_for_less_than_its_ttl() {
        assert_eq!(validity(Duration::from_secs(10)), Duration::from_millis(9_898));
        assert_eq!(validity(Duration::from_millis(1)), Duration::ZERO);
    }

    #[test]
    fn a_quarantine_outlasts_every_lock_given_before_it() {
        let ttl = Duration::from_secs(60);
        assert!(quarantine(ttl) > ttl + drift(ttl));
    }

    #[test]
    fn the_highest_token_is_counted() {
        assert_eq!(highest([3, 7, 7].into_iter()), Some((7, 2)));
        assert_eq!(highest(std::iter::empty()), None);
    }
}
