//! Leaves servers running for a developer.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{Arguments, Result, server, step::Step, workspace::Workspace};

/// What holds the servers: a program of the integration tests.
const HOLDER: &str = "servers";

/// Starts a topology in the background, and prints its URL and its nodes.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result {
    let topology = arguments.operands.first().map_or("standalone", String::as_str);
    if !["standalone", "sentinel", "cluster"].contains(&topology) {
        return Err(format!("`{topology}` is none of standalone, sentinel, cluster").into());
    }
    let target = workspace.metadata()?.target();
    let state = StateFile::of(&target);
    if let Some(running) = state.read()? {
        return Err(format!(
            "{} is up already, at {}; end it with `cargo xtask down`",
            running.topology, running.url
        )
        .into());
    }
    let server = server::ensure(arguments.consent())?;
    let build = ["build", "--package", "integration-tests", "--bin", HOLDER];
    Step::cargo(workspace, "build", build).run()?;
    let running = start(&target, topology, &server)?;
    state.write(&running)?;
    println!("{}", running.url);
    // Not to where the URL goes, which may be a variable of a script.
    eprintln!("{}", hint(&running));
    Ok(())
}

/// What may be done with it.
fn hint(running: &Running) -> String {
    let example = match running.topology.as_str() {
        "standalone" => "quickstart",
        topology => topology,
    };
    let url = &running.url;
    format!("try: REDIS_URL='{url}' cargo run -p state-redis --example {example}; end it: cargo xtask down")
}

fn start(target: &Path, topology: &str, server: &Path) -> Result<Running> {
    let log = target.join("xtask-up.log");
    let mut process = Command::new(target.join("debug").join(HOLDER))
        .arg(topology)
        .env("REDIS_SERVER", server)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Not ours: who reads our errors through a pipe would wait for the end of it until the servers are down.
        .stderr(fs::File::create(&log)?)
        // Out of the terminal's group, so that a later Ctrl-C does not reach it.
        .process_group(0)
        .spawn()?;
    let lines = BufReader::new(process.stdout.take().expect("stdout was piped")).lines();
    let (mut url, mut folder) = (None, None);
    for line in lines {
        let line = line?;
        match line.strip_prefix("url ") {
            Some(found) => url = Some(found.to_owned()),
            None if line == "ready" => {
                let (url, folder) =
                    url.zip(folder).ok_or("the servers are ready, but named neither URL nor folder")?;
                return Ok(Running { pid: process.id(), topology: topology.to_owned(), url, folder });
            }
            None => {
                println!("{line}");
                folder = line.split_once(" folder ").map(|(_, folder)| PathBuf::from(folder));
            }
        }
    }
    let (status, words) = (process.wait()?, fs::read_to_string(&log).unwrap_or_default());
    Err(format!("the servers did not come up: {status}\n{}", words.trim_end()).into())
}

/// What is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) pid: u32,
    pub(crate) topology: String,
    pub(crate) url: String,
    /// The folder of one of the servers. Its name is unique, and it goes with the process that holds the
    /// servers.
    pub(crate) folder: PathBuf,
}

/// The file that remembers what is up, in the target folder.
pub(crate) struct StateFile(PathBuf);

impl StateFile {
    pub(crate) fn of(target: &Path) -> Self {
        Self(target.join("xtask-up.json"))
    }

    /// What is up; `None` also when the process that is remembered is gone, or is another one by now.
    pub(crate) fn read(&self) -> Result<Option<Running>> {
        let Ok(text) = fs::read_to_string(&self.0) else { return Ok(None) };
        let value: Value = serde_json::from_str(&text)?;
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let pid = value["pid"]
            .as_u64()
            .and_then(|pid| u32::try_from(pid).ok())
            .ok_or("no pid in the state file")?;
        let running =
            Running { pid, topology: text("topology"), url: text("url"), folder: text("folder").into() };
        Ok(if running.is_alive() { Some(running) } else { None })
    }

    fn write(&self, running: &Running) -> Result {
        let Running { pid, topology, url, folder } = running;
        let value = json!({ "pid": pid, "topology": topology, "url": url, "folder": folder });
        Ok(fs::write(&self.0, format!("{value:#}\n"))?)
    }

    pub(crate) fn remove(&self) -> Result {
        Ok(fs::remove_file(&self.0)?)
    }
}

impl Running {
    pub(crate) fn is_alive(&self) -> bool {
        self.folder.exists()
    }
}
