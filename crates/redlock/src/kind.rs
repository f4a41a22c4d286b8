//! The kinds of locks that an observer tells apart.

use crate::{Mode, claim::Resource};

/// What a lock was acquired as. On the servers there is less to tell: a mutex and a writer are the same there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LockKind {
    /// By [`acquire`](crate::LockManager::acquire), or by one of the methods that are it with other arguments.
    Mutex,
    /// By [`read`](crate::LockManager::read).
    Read,
    /// By [`write`](crate::LockManager::write).
    Write,
    /// A permit of a [`Semaphore`](crate::Semaphore).
    Semaphore,
    /// By [`acquire_all`](crate::LockManager::acquire_all), however many they are.
    Multi,
    /// The office of an [`Election`](crate::Election).
    Leader,
}

impl LockKind {
    /// The kind in one word, in lower case: for labels and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mutex => "mutex",
            Self::Read => "read",
            Self::Write => "write",
            Self::Semaphore => "semaphore",
            Self::Multi => "multi",
            Self::Leader => "leader",
        }
    }

    /// What the resources of a lock show that was acquired elsewhere. Nothing on them tells a writer from a mutex.
    pub(crate) fn shown_by(resources: &[Resource], prefix: &str) -> Self {
        match resources {
            [only] if only.mode() == Mode::Shared => Self::Read,
            [only] if only.is_permit(prefix) => Self::Semaphore,
            [_] => Self::Mutex,
            _ => Self::Multi,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(resources: &[(&str, &str, Mode)]) -> LockKind {
        let resource = |(class, name, mode): &(&str, &str, Mode)| Resource::new("p:", class, name, *mode);
        let resources: Vec<_> = resources.iter().map(resource).collect::<Result<_, _>>().unwrap();
        LockKind::shown_by(&resources, "p:")
    }

    #[test]
    fn resources_show_all_kinds_but_a_writer() {
        assert_eq!(shown(&[("l", "stock", Mode::Exclusive)]), LockKind::Mutex);
        assert_eq!(shown(&[("l", "stock", Mode::Shared)]), LockKind::Read);
        assert_eq!(shown(&[("s", "seats", Mode::Permit(2))]), LockKind::Semaphore);
        assert_eq!(shown(&[("s1", "seats", Mode::Exclusive)]), LockKind::Semaphore, "a permit of a quorum");
        let both = [("l", "a", Mode::Exclusive), ("l", "b", Mode::Exclusive)];
        assert_eq!(shown(&both), LockKind::Multi);
    }
}
