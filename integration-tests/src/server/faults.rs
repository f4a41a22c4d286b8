//! What a test does to its server.

use std::{fs, process::ExitStatus, sync::atomic::Ordering::Relaxed, time::Duration};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::time::{Instant, sleep};

use crate::{READY_WITHIN, Server, binary::server_binary, janitor::Janitor};

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

    /// Stops the process with SIGSTOP and returns when it has stopped: the kernel still accepts connections
    /// for it, and nothing is answered.
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
        let mut command = if self.config.own_network { vec!["unshare", "--net"] } else { Vec::new() };
        command.extend([&binary, &conf].map(|path| path.to_str().expect("a UTF-8 path")));
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
    pub(super) fn exit_status(&self) -> Option<ExitStatus> {
        let mut process = self.process.lock();
        let child = process.as_mut()?;
        let status = child.try_wait().expect("the server is our child")?;
        Janitor::get().forget(child);
        *process = None;
        Some(status)
    }
}
