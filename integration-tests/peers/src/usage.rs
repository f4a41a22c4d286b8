//! What processes use: processor time and memory, as Linux tells it.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::Outcome;

/// Processor time of this process so far, all threads.
pub fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Processor time of other processes so far, all of their threads.
///
/// # Errors
/// When a process is gone.
pub fn cpu_of(processes: &[u32]) -> Outcome<Duration> {
    let mut nanos = 0;
    for process in processes {
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            // A thread may end while its folder is read; the first field is time on a processor in nanoseconds.
            let Ok(line) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            nanos += line.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(nanos))
}

/// Memory of this process.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Bytes that are resident.
    pub resident: u64,
    /// The most there have been.
    pub peak: u64,
}

/// The memory of this process, now and at its peak.
///
/// # Errors
/// When the system does not tell.
pub fn memory() -> Outcome<Memory> {
    let status = fs::read_to_string("/proc/self/status")?;
    let read = |name: &str| -> Outcome<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line in status")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
    };
    Ok(Memory { resident: read("VmRSS:")?, peak: read("VmHWM:")? })
}
