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
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, IntoConnectionInfo,
    RedisConnectionInfo, RedisResult, aio::MultiplexedConnection,
};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::time::{Instant, sleep};
use url::Url;

use crate::{binary::server_binary, config::ServerConfig, janitor::Janitor, port::Port};

/// How long a server may take to come up. Generous: it takes 10 to 60 ms on an idle machine.
pub const READY_WITHIN: Duration = Duration::from_secs(30);

/// How long a control command may take.
const CONTROL_WITHIN: Duration = Duration::from_secs(5);

/// A server process on 127.0.0.1 with a port, a folder, a log and an AOF of its own.
///
/// It lives as long as this value, and dies with the process that started it, even when that one is killed. All
/// methods take `&self`, so that one task can hurt the server while others use it.
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

    /// The URL a client connects to, with the password if there is one: `redis://127.0.0.1:10500/`, or `rediss://`
    /// for a server with TLS.
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

/// Faults.
impl Server {
    /// Kills the process with SIGKILL and returns when it is gone. Does nothing when it is down already.
    pub fn kill(&self) {
        self.frozen.store(false, Relaxed);
        let Some(mut child) = self.process.lock().take() else { return };
        // SIGKILL is pending after this, so the janitor may forget the pid before it is free for others.
        let _ = child.kill();
        Janitor::get().forget(&child);
        child.wait().expect("the server is our child");
    }

    /// Stops the process with SIGSTOP and returns when it has stopped: the kernel still accepts connections for it,
    /// and nothing is answered.
    ///
    /// # Panics
    /// When the server is down.
    pub fn freeze(&self) {
        let pid = self.signal(Signal::STOP);
        self.frozen.store(true, Relaxed);
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), options).expect("the server is our child");
    }

    /// Lets a frozen process go on, with SIGCONT.
    ///
    /// # Panics
    /// When the server is down.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
        self.frozen.store(false, Relaxed);
    }

    /// Ends the process in an orderly way, with SIGTERM, and waits until it is gone.
    ///
    /// # Panics
    /// When it is still there after 30 seconds.
    pub async fn terminate(&self) {
        self.signal(Signal::TERM);
        let end = Instant::now() + READY_WITHIN;
        while self.exit_status().is_none() && self.is_running() {
            assert!(Instant::now() < end, "{self} ignores SIGTERM; its log:\n{}", self.log_tail());
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Kills the server if it runs, and starts it again on the same port with what its AOF holds.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn restart(&self) {
        self.kill();
        self.launch();
        self.wait_ready(READY_WITHIN).await;
    }

    /// Kills the server if it runs, and starts it again on the same port with no data at all.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn restart_empty(&self) {
        self.kill();
        fs::remove_dir_all(self.dir.join("data")).expect("the data folder can be removed");
        self.launch();
        self.wait_ready(READY_WITHIN).await;
    }

    /// Starts a killed server again on the same port and with its data, without waiting for it.
    ///
    /// # Panics
    /// When it is running.
    pub fn launch(&self) {
        let mut process = self.process.lock();
        assert!(process.is_none(), "{self} is running already");
        fs::create_dir_all(self.dir.join("data")).expect("the data folder can be created");
        let binary = server_binary();
        let conf = self.dir.join("redis.conf");
        let mut command = vec![binary.to_str().expect("a UTF-8 path"), conf.to_str().expect("a UTF-8 path")];
        if self.config.sentinel {
            command.push("--sentinel");
        }
        *process = Some(Janitor::get().spawn(&command, &self.dir.join("output")));
    }

    /// Waits until the server answers PING: it listens on all its ports, and has loaded its data.
    ///
    /// # Panics
    /// When it has not within `deadline`, or when the process ends; the message holds the log's tail.
    pub async fn wait_ready(&self, deadline: Duration) {
        if let Err(reason) = self.try_wait_ready(deadline).await {
            panic!("{self} {reason}; its log:\n{}", self.log_tail());
        }
    }

    fn signal(&self, signal: Signal) -> Pid {
        let process = self.process.lock();
        let child = process.as_ref().unwrap_or_else(|| panic!("{self} is down"));
        let pid = Pid::from_child(child);
        kill_process(pid, signal).expect("the server is our child");
        pid
    }

    /// How the process ended, when it has ended by itself since it was last asked.
    fn exit_status(&self) -> Option<ExitStatus> {
        let mut process = self.process.lock();
        let child = process.as_mut()?;
        let status = child.try_wait().expect("the server is our child")?;
        Janitor::get().forget(child);
        *process = None;
        Some(status)
    }
}

/// Control: commands of the test itself, over the unix socket, so that neither TLS nor a proxy is in the way.
impl Server {
    /// A new control connection with all rights.
    ///
    /// # Errors
    /// When the server is down or does not answer within 5 seconds.
    pub async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let mut settings = RedisConnectionInfo::default();
        if let Some(user) = self.config.peer_user() {
            settings = settings.set_username(user);
        }
        if let Some(password) = self.config.peer_password() {
            settings = settings.set_password(password);
        }
        let info =
            ConnectionAddr::Unix(self.unix_socket()).into_connection_info()?.set_redis_settings(settings);
        let timeouts = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONTROL_WITHIN))
            .set_response_timeout(Some(CONTROL_WITHIN));
        Client::open(info)?.get_multiplexed_async_connection_with_config(&timeouts).await
    }

    /// Runs one command on a control connection of its own.
    ///
    /// # Errors
    /// What the server answered, or why it did not.
    pub async fn try_command<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        command.query_async(&mut self.connect().await?).await
    }

    /// Runs one command on a control connection of its own.
    ///
    /// # Panics
    /// When it fails.
    pub async fn command<T: FromRedisValue>(&self, command: &Cmd) -> T {
        self.try_command(command).await.unwrap_or_else(|error| panic!("{self}: {error}"))
    }

    /// One field of INFO, e.g. `info("master_link_status")`; `None` when INFO has no such field.
    ///
    /// # Errors
    /// Why INFO failed.
    pub async fn info(&self, field: &str) -> RedisResult<Option<String>> {
        let text: String = self.try_command(redis::cmd("INFO").arg("everything")).await?;
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(value.map(|value| value.trim().to_owned()))
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
