//! Ports that no other test takes.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// Client ports are taken from here, and a cluster bus port is always 10,000 higher. Both ranges stay below
/// 32,768, where Linux begins to hand out ports to outgoing connections.
const FIRST: u16 = 10_500;
const COUNT: u16 = 10_000;
const BUS_OFFSET: u16 = 10_000;

/// A TCP port on 127.0.0.1, together with its cluster bus port, that is ours until this is dropped.
///
/// Binding a TCP port and releasing it for the server is a race between parallel tests. The reservation is a
/// UDP socket on the same number instead: no TCP server minds it, no second test gets it, and the kernel
/// gives it back when this process ends. It also holds while the server is down between a kill and a restart.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _reservation: UdpSocket,
}

impl Port {
    /// Reserves a free port.
    ///
    /// # Panics
    /// When none of the 10,000 is free.
    pub fn reserve() -> Self {
        let start = rand::random_range(0..COUNT);
        (0..COUNT)
            .find_map(|step| Self::try_reserve(FIRST + (start + step) % COUNT))
            .expect("a free port between 10500 and 20499")
    }

    /// The port number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The port of the cluster bus that belongs to it.
    pub fn bus(&self) -> u16 {
        self.number + BUS_OFFSET
    }

    fn try_reserve(number: u16) -> Option<Self> {
        let reservation = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        // The reservation only binds those who ask for one; this asks the rest of the machine.
        let _free = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        let _free_bus = TcpListener::bind((Ipv4Addr::LOCALHOST, number + BUS_OFFSET)).ok()?;
        Some(Self { number, _reservation: reservation })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_reserved_port_is_not_handed_out_twice() {
        let ports: Vec<Port> = (0..200).map(|_| Port::reserve()).collect();
        let numbers: HashSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), ports.len());
        assert!(Port::try_reserve(ports[0].number()).is_none());
    }

    #[test]
    fn a_dropped_port_is_free_again() {
        let number = Port::reserve().number();
        assert_eq!(Port::try_reserve(number).map(|port| port.number()), Some(number));
    }

    #[test]
    fn a_port_with_a_listener_is_not_handed_out() {
        let port = Port::reserve();
        let number = port.number();
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).unwrap();
        drop(port);
        assert!(Port::try_reserve(number).is_none());
    }
}
