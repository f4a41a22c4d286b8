//! How a server is configured.

use std::{fmt::Write, path::Path};

use redis::Cmd;

use crate::{Server, port::Port, tls::Certificates};

/// Settings of one server. Every server listens on a free port of 127.0.0.1 and on a unix socket in its own
/// folder, and appends every write to its AOF before it answers, so that a killed server forgets nothing it
/// acknowledged.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Password of the `default` user, also presented to a master. Default: none.
    pub password: Option<String>,
    /// Lines added to `redis.conf`, as written there, each a name and a value. Default: none.
    pub options: Vec<(String, String)>,
    /// Lines of an ACL file, e.g. `user ro on >pw ~app:* +@read`. A user for the tests' own control
    /// connection is added. Default: none, no ACL file.
    pub acl: Vec<String>,
    /// TLS instead of plain TCP, client certificates required. Default: none, plain TCP.
    pub tls: Option<Certificates>,
    /// Whether the server has a network of its own, without any connection to ours but [`Server::wire`]. Default: no.
    pub(crate) own_network: bool,
    /// Whether the program runs as a sentinel. Default: a data server.
    pub(crate) sentinel: bool,
}

/// The user that is added to an ACL file.
const CONTROL_USER: &str = "tests-control";
const CONTROL_PASSWORD: &str = "tests-control-password";

impl ServerConfig {
    /// Sets the password of the `default` user.
    pub fn with_password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Adds a line to `redis.conf`; the value is written as it stands, so empty strings and spaces need
    /// quotes there.
    pub fn with_option(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.options.push((name.into(), value.to_string()));
        self
    }

    /// Adds a line to the server's ACL file.
    pub fn with_acl(mut self, line: impl Into<String>) -> Self {
        self.acl.push(line.into());
        self
    }

    /// Serves TLS only, with client certificates required.
    pub fn with_tls(mut self, certificates: Certificates) -> Self {
        self.tls = Some(certificates);
        self
    }

    /// Listens on all addresses, and lets everybody in.
    pub fn with_open_doors(self) -> Self {
        self.with_option("bind", "0.0.0.0").with_option("protected-mode", "no")
    }

    /// Runs in a network of its own, reached by [`Server::wire`]; takes privileges, see
    /// [`may_create_networks`](crate::may_create_networks).
    pub fn with_own_network(mut self) -> Self {
        self.own_network = true;
        self.with_open_doors()
    }

    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// When no server program is found or the server does not come up; the message holds the log's tail.
    pub async fn start(self) -> Server {
        Server::start_with(self).await
    }

    /// The user as whom replicas, sentinels, MIGRATE and the tests' own control connection log in; `None` is
    /// the `default` user.
    pub(crate) fn peer_user(&self) -> Option<&str> {
        self.has_acl().then_some(CONTROL_USER)
    }

    /// The password that belongs to [`ServerConfig::peer_user`].
    pub(crate) fn peer_password(&self) -> Option<&str> {
        if self.has_acl() { Some(CONTROL_PASSWORD) } else { self.password.as_deref() }
    }

    /// Adds to MIGRATE how to log in at the node that takes the keys.
    pub(crate) fn authenticate_migrate(&self, migrate: &mut Cmd) {
        match (self.peer_user(), self.peer_password()) {
            (Some(user), Some(password)) => migrate.arg("AUTH2").arg(user).arg(password),
            (None, Some(password)) => migrate.arg("AUTH").arg(password),
            _ => migrate,
        };
    }

    pub(crate) fn has_acl(&self) -> bool {
        !self.acl.is_empty()
    }

    /// The text of `redis.conf` for a server living in `dir`.
    pub(crate) fn render(&self, dir: &Path, port: &Port) -> String {
        let path = |name: &str| format!("\"{}\"", dir.join(name).display());
        let mut text = String::new();
        let mut line =
            |name: &str, value: &str| writeln!(text, "{name} {value}").expect("writing to a String");
        line("bind", "127.0.0.1");
        line("dir", &path("data"));
        line("logfile", &path("log"));
        line("unixsocket", &path("redis.sock"));
        line(if self.tls.is_some() { "tls-port" } else { "port" }, &port.number().to_string());
        if self.tls.is_some() {
            line("port", "0");
        }
        if let Some(certificates) = &self.tls {
            certificates.options().iter().for_each(|(name, value)| line(name, value));
        }
        if let Some(password) = &self.password {
            line("requirepass", &format!("\"{password}\""));
        }
        if !self.sentinel {
            self.data_options(&path).iter().for_each(|(name, value)| line(name, value));
        }
        self.options.iter().for_each(|(name, value)| line(name, value));
        text
    }

    fn data_options(&self, path: &dyn Fn(&str) -> String) -> Vec<(&'static str, String)> {
        let mut options = vec![
            ("save", "\"\"".to_owned()),
            ("appendonly", "yes".to_owned()),
            // What is appended outlives the process. A sync would guard against a crash of the machine, and let a busy
            // disk keep the server from answering for seconds.
            ("appendfsync", "no".to_owned()),
            ("repl-diskless-sync-delay", "0".to_owned()),
            // Outside of the data folder: a node that restarts without its data is still the same node.
            ("cluster-config-file", path("nodes.conf")),
        ];
        options.extend(self.has_acl().then(|| ("aclfile", path("users.acl"))));
        options.extend(self.peer_user().map(|user| ("masteruser", user.to_owned())));
        options.extend(self.peer_password().map(|password| ("masterauth", format!("\"{password}\""))));
        options
    }

    /// The text of the ACL file.
    pub(crate) fn render_acl(&self) -> String {
        let control = format!("user {CONTROL_USER} on >{CONTROL_PASSWORD} ~* &* +@all");
        self.acl.iter().chain([&control]).map(|line| format!("{line}\n")).collect()
    }
}
