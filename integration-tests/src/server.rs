//! One real server process.

use std::{
    fmt, fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use url::Url;

use crate::{config::ServerConfig, janitor::Janitor, port::Port};

mod control;
mod faults;

/// How long a server may take to come up. Generous: it takes 10 to 60 ms on an idle machine.
pub const READY_WITHIN: Duration = Duration::from_secs(30);

/// A server process on 127.0.0.1 with a port, a folder, a log and an AOF of its own.
///
/// It lives as long as this value, and dies with the process that started it, even when that one is killed.
/// All methods take `&self`, so that one task can hurt the server while others use it.
pub struct Server {
    config: ServerConfig,
    port: Port,
    dir: PathBuf,
    process: Mutex<Option<Child>>,
    frozen: AtomicBool,
}

impl Server {
    /// Starts a server with the default settings and waits until it answers.
    ///
    /// # Panics
    /// When no server program is found or the server does not come up; the message holds the log's tail.
    pub async fn start() -> Self {
        ServerConfig::default().start().await
    }

    /// The URL a client connects to, with the password if there is one: `redis://127.0.0.1:10500/`, or
    /// `rediss://` for a server with TLS.
    pub fn url(&self) -> String {
        let scheme = if self.config.tls.is_some() { "rediss" } else { "redis" };
        let mut url = Url::parse(&format!("{scheme}://{}/", self.address())).expect("a well-formed URL");
        url.set_password(self.config.password.as_deref()).expect("this URL has a host");
        url.into()
    }

    /// The URL of the unix socket: `redis+unix:///path/redis.sock`, with the password if there is one.
    pub fn unix_url(&self) -> String {
        let mut url = Url::parse("redis+unix:///").expect("a well-formed URL");
        url.set_path(&self.unix_socket().to_string_lossy());
        if let Some(password) = &self.config.password {
            url.query_pairs_mut().append_pair("pass", password);
        }
        url.into()
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// The client port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The port of the cluster bus, 10,000 higher.
    pub fn bus_port(&self) -> u16 {
        self.port.bus()
    }

    /// The path of the unix socket every server listens on.
    pub fn unix_socket(&self) -> PathBuf {
        self.dir.join("redis.sock")
    }

    /// The server's own folder: `redis.conf`, `log`, `data/`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The process id, or `None` while the server is down.
    pub fn pid(&self) -> Option<u32> {
        self.exit_status();
        self.process.lock().as_ref().map(Child::id)
    }

    /// Whether the process exists; a frozen one does.
    pub fn is_running(&self) -> bool {
        self.pid().is_some()
    }

    /// Whether the process exists and is not frozen.
    pub fn is_responsive(&self) -> bool {
        self.is_running() && !self.frozen.load(Relaxed)
    }

    /// The last lines of the server's log and of what it printed.
    pub fn log_tail(&self) -> String {
        let tail = |name: &str| {
            let text = fs::read(self.dir.join(name)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(20)..].join("\n")
        };
        format!("{}\n{}", tail("log"), tail("output"))
    }
}

/// Starting.
impl Server {
    pub(crate) fn config(&self) -> &ServerConfig {
        &self.config
    }

    pub(crate) async fn start_with(config: ServerConfig) -> Self {
        loop {
            let server = Self::create(config.clone());
            server.launch();
            match server.try_wait_ready(READY_WITHIN).await {
                Ok(()) => return server,
                // Somebody who reserves nothing took the port in between: take another one.
                Err(_) if server.log_tail().contains("Address already in use") => {}
                Err(reason) => panic!("{server} {reason}; its log:\n{}", server.log_tail()),
            }
        }
    }

    fn create(config: ServerConfig) -> Self {
        let port = Port::reserve();
        let dir = Janitor::get().root().join(port.number().to_string());
        fs::create_dir(&dir).expect("the server's folder can be created");
        fs::write(dir.join("redis.conf"), config.render(&dir, &port)).expect("redis.conf can be written");
        if config.has_acl() {
            fs::write(dir.join("users.acl"), config.render_acl()).expect("users.acl can be written");
        }
        Self { config, port, dir, process: Mutex::new(None), frozen: AtomicBool::new(false) }
    }

    async fn try_wait_ready(&self, deadline: Duration) -> Result<(), String> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = self.exit_status() {
                return Err(format!("ended with {}", describe(status)));
            }
            let Err(seen) = self.try_command::<String>(&redis::cmd("PING")).await else { return Ok(()) };
            if Instant::now() >= end {
                return Err(format!("is not ready after {deadline:?}: {seen}"));
            }
            sleep(Duration::from_millis(2)).await;
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", if self.config.sentinel { "sentinel" } else { "server" }, self.address())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("port", &self.port()).field("dir", &self.dir).finish_non_exhaustive()
    }
}
