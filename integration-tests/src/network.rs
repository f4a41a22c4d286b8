//! A network of a server's own, and the wires that lead into it: a cut one is cut as a cable is, for the kernel of
//! both sides.

use std::{
    net::Ipv4Addr,
    process::{Command, Output},
};

use crate::Server;

/// Whether this process may create networks and wires; `Err` says why not.
///
/// # Errors
/// What the first attempt was answered.
pub fn may_create_networks() -> Result<(), String> {
    // Within a network that is gone with the command.
    run("unshare", &["--net", "ip", "link", "add", "probe0", "type", "veth", "peer", "name", "probe1"])
}

/// A wire between this machine and a server that has a network of its own. It is gone with this value, and with
/// the server's process.
#[derive(Debug)]
pub struct Wire {
    name: String,
    namespace: String,
    inside: Ipv4Addr,
    outside: Ipv4Addr,
}

impl Server {
    /// Lays a wire to this server, which was started `with_own_network`. Each wire of a server has a number below
    /// 4.
    ///
    /// # Panics
    /// When the server is down, or its wire cannot be laid.
    pub fn wire(&self, number: u8) -> Wire {
        let pid = self.pid().expect("a running server").to_string();
        let port = self.port();
        let [high, low] = port.to_be_bytes();
        let address = |host| Ipv4Addr::new(10, 212 + (low & 3) * 4 + number, high, (low & !3) + host);
        let wire = Wire {
            name: format!("sr{port}w{number}"),
            namespace: format!("--net=/proc/{pid}/ns/net"),
            inside: address(2),
            outside: address(1),
        };
        wire.lay(&pid);
        wire
    }
}

impl Wire {
    /// The server's address at its end of the wire.
    pub fn inside(&self) -> Ipv4Addr {
        self.inside
    }

    /// This machine's address at the other end.
    pub fn outside(&self) -> Ipv4Addr {
        self.outside
    }

    /// Cuts it: nothing passes, and no side is told.
    ///
    /// # Panics
    /// When the server is down.
    pub fn cut(&self) {
        self.within(&["ip", "link", "set", &self.name, "down"]);
    }

    fn lay(&self, pid: &str) {
        let near = self.near();
        let ends = ["type", "veth", "peer", "name", &self.name, "netns", pid];
        must("ip", &[&["link", "add", near.as_str()], ends.as_slice()].concat());
        must("ip", &["address", "add", &format!("{}/30", self.outside), "dev", &near]);
        must("ip", &["link", "set", &near, "up"]);
        self.within(&["ip", "address", "add", &format!("{}/30", self.inside), "dev", &self.name]);
        self.within(&["ip", "link", "set", &self.name, "up"]);
    }

    /// The name of this machine's end.
    fn near(&self) -> String {
        format!("{}x", self.name)
    }

    fn within(&self, command: &[&str]) {
        must("nsenter", &[&[self.namespace.as_str()], command].concat());
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // It is gone already when its server was killed a while ago.
        let _ = run("ip", &["link", "delete", &self.near()]);
    }
}

fn must(program: &str, arguments: &[&str]) {
    if let Err(reason) = run(program, arguments) {
        panic!("{reason}");
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{program} {}: {}", arguments.join(" "), said(&output))),
        Err(error) => Err(format!("{program}: {error}")),
    }
}
