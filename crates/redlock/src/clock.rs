//! The clock that validity is measured with.

use std::time::Duration;

use tokio::time::Instant;

/// A moment on a [`Clock`]: the time since the clock was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Duration);

impl Moment {
    pub(crate) fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// The time from `earlier` to this moment; zero when it is not earlier.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The later of two clocks that no step of the wall clock moves: the one that goes on while the machine is
/// suspended (`CLOCK_BOOTTIME`, where the platform has it), and tokio's.
///
/// A monotonic clock that stands still during a suspend would let a holder believe in a lock that the
/// servers gave away long ago. Tokio's clock is the other one so that tests with paused time see it move.
#[derive(Debug)]
pub(crate) struct Clock {
    boot: Duration,
    tokio: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { boot: since_boot(), tokio: Instant::now() }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(since_boot().saturating_sub(self.boot).max(self.tokio.elapsed()))
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Elsewhere tokio's clock is all there is.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn since_boot() -> Duration {
    Duration::ZERO
}
