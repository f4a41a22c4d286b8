//! Where and with what a run took place.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, thread};

use crate::Outcome;

/// A run's surroundings, as pairs of name and text.
#[derive(Clone, Debug)]
pub struct Machine(pub Vec<(&'static str, String)>);

impl Machine {
    /// Looks around.
    ///
    /// # Errors
    /// When the system does not tell, or the server's program does not run.
    pub fn here(quick: bool) -> Outcome<Self> {
        let cores = thread::available_parallelism()?;
        let memory = first_value("/proc/meminfo", "MemTotal")?;
        let processor = first_value("/proc/cpuinfo", "model name").unwrap_or_else(|_| "unknown".to_owned());
        let server = integration_tests::server_binary();
        let version = output(Command::new(&server).arg("--version"))?;
        Ok(Self(vec![
            ("date", today()?),
            (
                "commit",
                output(Command::new("git").args(["describe", "--always", "--dirty"])).unwrap_or_default(),
            ),
            ("processor", format!("{processor}, {cores} cores")),
            ("memory", memory),
            ("kernel", fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned()),
            ("server", version),
            ("load before", load()?),
            (
                "runtime",
                format!(
                    "tokio, multi-threaded, {cores} workers; client and servers on one machine, over loopback"
                ),
            ),
            ("run", if quick { "quick" } else { "full" }.to_owned()),
        ]))
    }
}

/// Runnable processes over the last minute, five and fifteen.
fn load() -> Outcome<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

fn first_value(file: &str, name: &str) -> Outcome<String> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find(|line| line.starts_with(name)).ok_or("no such line")?;
    Ok(line.split_once(':').ok_or("a line without a colon")?.1.trim().to_owned())
}

fn output(command: &mut Command) -> Outcome<String> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() { Ok(text) } else { Err(format!("it ended with {}", output.status).into()) }
}

/// The date in UTC.
fn today() -> Outcome<String> {
    let days = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 86_400;
    let (year, month, day) = civil(days);
    Ok(format!("{year}-{month:02}-{day:02}"))
}

/// Year, month and day of a number of days after 1970-01-01, counted from the first of March of the year 0 so that a
/// leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    #[test]
    fn days_are_dates() {
        assert_eq!(super::civil(0), (1970, 1, 1));
        assert_eq!(super::civil(11_016), (2000, 2, 29));
        assert_eq!(super::civil(20_780), (2026, 11, 23));
    }
}
