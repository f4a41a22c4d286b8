//! Ends what `up` started.

use std::{thread::sleep, time::Duration};

use xshell::{Shell, cmd};

use crate::{Result, up::StateFile, workspace::Workspace};

/// Ends the process that holds the servers; they end with it, and their folders go.
pub(crate) fn run(workspace: &Workspace) -> Result {
    let state = StateFile::of(&workspace.metadata()?.target());
    let Some(running) = state.read()? else {
        println!("nothing is up");
        return Ok(());
    };
    let (shell, pid) = (Shell::new()?, running.pid.to_string());
    cmd!(shell, "sh -c 'kill \"$0\"' {pid}").quiet().run()?;
    for _ in 0..100 {
        if !running.is_alive() {
            println!("{} at {} is down", running.topology, running.url);
            return state.remove();
        }
        sleep(Duration::from_millis(50));
    }
    Err(format!("process {pid} does not end").into())
}
