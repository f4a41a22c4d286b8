//! The processes below a command, and how they are ended together.

use xshell::{Shell, cmd};

use crate::Result;

/// Ends the process `root` and all below it that are in its group.
///
/// A process with a group of its own was given one so that it outlives the others: the janitors of the tests, which
/// then end the servers and remove their files.
///
/// Who is found is stopped before anybody else is looked for, so that nobody starts a process unseen.
pub(crate) fn end(root: u32) -> Result {
    let group = table()?.into_iter().find(|process| process.id == root).map(|process| process.group);
    let mut found = vec![root];
    let mut fresh = found.clone();
    while !fresh.is_empty() {
        signal("STOP", &fresh)?;
        let below = table()?.into_iter().filter(|process| {
            Some(process.group) == group && found.contains(&process.parent) && !found.contains(&process.id)
        });
        fresh = below.map(|process| process.id).collect();
        found.extend(&fresh);
    }
    signal("KILL", &found)
}

struct Process {
    id: u32,
    parent: u32,
    group: u32,
}

/// Whether there is such a process.
#[cfg(test)]
pub(crate) fn is_running(id: u32) -> bool {
    table().unwrap().iter().any(|process| process.id == id)
}

/// All processes that run.
fn table() -> Result<Vec<Process>> {
    match std::fs::read_dir("/proc/self") {
        // A small Linux has no `ps`.
        Ok(_) => of_proc(),
        Err(_) => of_ps(),
    }
}

fn of_proc() -> Result<Vec<Process>> {
    let ids = std::fs::read_dir("/proc")?.flatten().map(|entry| entry.file_name());
    // One that has ended meanwhile has nothing to read.
    let stats = ids.filter_map(|id| {
        let id: u32 = id.to_str()?.parse().ok()?;
        Some((id, std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?))
    });
    Ok(stats.filter_map(|(id, stat)| parse_stat(id, &stat)).collect())
}

/// Reads `123 (a name) S parent group ...`; the name may hold anything, parentheses too.
fn parse_stat(id: u32, stat: &str) -> Option<Process> {
    parse_fields(id, stat.rsplit_once(')')?.1)
}

fn of_ps() -> Result<Vec<Process>> {
    let shell = Shell::new()?;
    let answer = cmd!(shell, "ps -A -o pid=,stat=,ppid=,pgid=").quiet().read()?;
    let process = |line: &str| {
        let (id, fields) = line.trim().split_once(' ')?;
        parse_fields(id.parse().ok()?, fields)
    };
    Ok(answer.lines().filter_map(process).collect())
}

/// Reads `state parent group ...`; `None` for one that has ended and that nobody has waited for.
fn parse_fields(id: u32, fields: &str) -> Option<Process> {
    let mut fields = fields.split_whitespace();
    let is_running = !fields.next()?.starts_with('Z');
    let process = Process { id, parent: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? };
    is_running.then_some(process)
}

fn signal(name: &str, processes: &[u32]) -> Result {
    let ids: Vec<_> = processes.iter().map(ToString::to_string).collect();
    let shell = Shell::new()?;
    // It complains about processes that have just ended.
    Ok(cmd!(shell, "sh -c 'kill \"$@\"' sh -{name} {ids...}")
        .quiet()
        .ignore_status()
        .ignore_stderr()
        .run()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_no_obstacle() {
        let process = parse_stat(7, "7 (sh (a) b) S 3 2 1 0 -1 4194560 0").unwrap();
        assert_eq!((process.id, process.parent, process.group), (7, 3, 2));
    }

    #[test]
    fn one_that_nobody_has_waited_for_runs_no_more() {
        assert!(parse_stat(7, "7 (sh) Z 3 2 1").is_none());
    }

    #[test]
    fn this_process_is_found() {
        assert!(is_running(std::process::id()));
    }
}
